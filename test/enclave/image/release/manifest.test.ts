import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { canonicalJson } from '../../../../attestation/json/canonical.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { parseFileLists } from '../../../../enclave/image/release/fileLists.ts';
import {
  encodeManifest,
  FILES,
  manifestDigest,
  outputOf,
  parseManifest,
} from '../../../../enclave/image/release/manifest.ts';
import { gptEvent } from '../../../../enclave/predict/boot/gpt.ts';
import { predictPcrs } from '../../../../enclave/predict/boot/pcrs.ts';
import { measureUki } from '../../../../enclave/predict/boot/uki.ts';
import { errorOf } from '../../../support/refusal.ts';
import { type Minted, mintImage } from './mintedImage.ts';

let minted: Minted;
const read = (name: string): Promise<Uint8Array> => readFile(join(minted.folder, name));

beforeAll(async () => {
  minted = await mintImage({ models: 'weights' });
});

describe('the manifest of an image', () => {
  test('is the file that was written, in its one form, and its digest is that of the file', async () => {
    const file = await read(FILES.manifest);
    expect(parseManifest(file)).toEqual(minted.manifest);
    expect(Buffer.from(encodeManifest(minted.manifest))).toEqual(file);
    expect(toHex(manifestDigest(minted.manifest))).toBe(createHash('sha256').update(file).digest('hex'));
  });

  test('is the same for the same inputs, wherever they were built', async () => {
    expect((await mintImage({ models: 'weights' })).manifest).toEqual(minted.manifest);
  });

  test('names each file by its digest', async () => {
    const { outputs } = minted.manifest;
    expect(outputs.map(({ role }) => role)).toEqual([
      'disk', 'uki', 'kernel', 'initrd', 'cmdline', 'root', 'rootTree', 'models', 'modelsTree', 'fileLists', 'sbom',
    ]); // prettier-ignore
    for (const { file, bytes, sha256 } of outputs) {
      const content = await read(file);
      expect([content.length, createHash('sha256').update(content).digest('hex')]).toEqual([bytes, sha256]);
    }
  });

  test('has the PCRs that the predictor computes, zeros where nothing may be added, and says what is not predicted', async () => {
    const uki = measureUki(await read('vouchsafe.efi'), 'systemd-257', 'sha256', nodeCrypto);
    const gpt = gptEvent((await read('disk.raw')).subarray(0, 34 * 512));
    const [prediction] = minted.manifest.predictions;
    expect(prediction?.profile).toEqual({ platform: 'tpm', bank: 'sha256', boot: 'disk' });
    const values = new Map(prediction?.values.map(({ member, value }) => [member, value]));
    for (const [pcr, value] of predictPcrs({ kind: 'uki', uki, gpt }, 'sha256', nodeCrypto)) {
      expect(values.get(`tpm.pcrs.sha256.${pcr}`)).toBe(toHex(value));
    }
    for (const pcr of [12, 13]) expect(values.get(`tpm.pcrs.sha256.${pcr}`)).toBe('00'.repeat(32));
    expect(prediction?.unpredicted.map(({ what }) => what)).toEqual(['PCR 0', 'PCR 1', 'PCR 7']);
  });

  test('predicts both banks, and TDX for both ways to boot, without any firmware', () => {
    const profiles = minted.manifest.predictions.map(({ profile }) => `${profile.platform} ${profile.boot}`);
    expect(profiles).toEqual(['tpm disk', 'tpm disk', 'tpm direct', 'tdx disk', 'tdx direct']);
    const members = minted.manifest.predictions.flatMap(({ values }) => values.map(({ member }) => member));
    expect(members).not.toContain('tdx.mrTd');
    expect(members.filter((member) => member === 'tdx.rtmr1')).toHaveLength(2);
  });

  test('is followed by the list of files of each layer', async () => {
    const lists = parseFileLists(await read(FILES.fileLists));
    expect(lists.root.map(({ path }) => path)).toEqual(['usr', 'usr/bin', 'usr/bin/node', 'usr/bin/nodejs']);
    expect(lists.root.at(-1)).toEqual({ path: 'usr/bin/nodejs', target: 'node' });
    expect(lists.initrd).toEqual([
      { path: 'init', mode: 0o755, bytes: 4, sha256: createHash('sha256').update('init').digest('hex') },
    ]);
    expect(outputOf(minted.manifest, 'fileLists')?.file).toBe(FILES.fileLists);
  });
});

describe('parseManifest refuses', () => {
  type Json = Record<string, unknown>;
  const refusal = (file: Uint8Array) => errorOf(ImageError, () => parseManifest(file))?.code ?? 'accepted';
  const changed = (change: (manifest: Json) => Json): Uint8Array =>
    utf8(canonicalJson(change(JSON.parse(JSON.stringify(minted.manifest)) as Json)));

  test.each<[what: string, change: (manifest: Json) => Json]>([
    ['a member more', (manifest) => ({ ...manifest, more: 1 })],
    ['another version', (manifest) => ({ ...manifest, version: 'vouchsafe/image/2' })],
    [
      'a member less',
      (manifest) => Object.fromEntries(Object.entries(manifest).filter(([name]) => name !== 'parts')),
    ],
    [
      'a file outside of the folder',
      (manifest) => ({
        ...manifest,
        outputs: [{ role: 'uki', file: '../uki', bytes: 1, sha256: '00'.repeat(32) }],
      }),
    ],
    [
      'a role twice',
      (manifest) => ({
        ...manifest,
        outputs: [
          ...(manifest['outputs'] as Json[]),
          { role: 'uki', file: 'other', bytes: 1, sha256: '00'.repeat(32) },
        ],
      }),
    ],
    ['a digest that is none', (manifest) => ({ ...manifest, source: { commit: null, tree: '00' } })],
    ['a name that is none', (manifest) => ({ ...manifest, release: { name: 'Two words', version: '1' } })],
  ])('%s', (_what, change) => {
    expect(refusal(changed(change))).toBe('IMAGE_MANIFEST_INVALID');
  });

  test.each<[what: string, change: (text: string) => string]>([
    ['white space', (text) => `${text}\n`],
    ['another order', (text) => text.replace(/^\{(.*),("version":"[^"]*")\}$/s, '{$2,$1}')],
    ['a name twice', (text) => text.replace('{', '{"version":"vouchsafe/image/1",')],
    ['what is no JSON', (text) => text.slice(1)],
  ])('%s', (_what, change) => {
    const text = Buffer.from(encodeManifest(minted.manifest)).toString('utf8');
    expect(change(text)).not.toBe(text);
    expect(refusal(utf8(change(text)))).toBe('IMAGE_MANIFEST_INVALID');
  });
});
