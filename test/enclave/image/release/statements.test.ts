import { createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { toBase64, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../../attestation/json/canonical.ts';
import {
  keyId,
  openEnvelope,
  PAYLOAD,
  publicKeyOf,
  signEnvelope,
} from '../../../../enclave/image/release/dsse.ts';
import { encodeManifest, FILES, manifestDigest } from '../../../../enclave/image/release/manifest.ts';
import {
  openProvenance,
  parseProvenance,
  provenanceOf,
  unspokenFiles,
} from '../../../../enclave/image/release/provenance.ts';
import { readReleases, type Releases, signReleases } from '../../../../enclave/image/release/releases.ts';
import { signImage } from '../../../../enclave/image/release/signImage.ts';
import type { VerifyStep } from '../../../../enclave/image/release/verifyImage.ts';
import { verifyStatements } from '../../../../enclave/image/release/verifyStatements.ts';
import { type Minted, mintImage } from './mintedImage.ts';
import { refusalCode } from './refusalCode.ts';

const PAYLOAD_BYTES = utf8('{"a":1}');
const NOW = Date.parse('2026-06-01T00:00:00Z');

function mintKey(namedCurve = 'P-256'): KeyObject {
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

const key = mintKey();
const pinned = [publicKeyOf(key)];
const envelope = signEnvelope(PAYLOAD.manifest, PAYLOAD_BYTES, key);

type Json = Record<string, unknown>;
const changed = (change: (json: Json) => Json, from: Uint8Array = envelope): Uint8Array =>
  utf8(JSON.stringify(change(JSON.parse(Buffer.from(from).toString('utf8')) as Json)));

describe('a DSSE envelope', () => {
  test('gives the payload to whoever pins its key, and names the key', async () => {
    expect(await openEnvelope(envelope, PAYLOAD.manifest, [publicKeyOf(mintKey()), ...pinned])).toEqual(
      PAYLOAD_BYTES,
    );
    const { signatures } = JSON.parse(Buffer.from(envelope).toString('utf8')) as {
      signatures: { keyid: string }[];
    };
    expect(signatures.map(({ keyid }) => keyid)).toEqual([keyId(pinned[0]!)]);
  });

  test('is signed over its type and length as the protocol says, in DER', async () => {
    const type = PAYLOAD.manifest;
    const signed = Buffer.from(`DSSEv1 ${type.length} ${type} ${PAYLOAD_BYTES.length} {"a":1}`);
    const sig = toBase64(sign('sha256', signed, key));
    const made = utf8(
      JSON.stringify({ payloadType: type, payload: toBase64(PAYLOAD_BYTES), signatures: [{ sig }] }),
    );
    expect(await openEnvelope(made, type, pinned)).toEqual(PAYLOAD_BYTES);
  });

  test.each<[what: string, file: () => Uint8Array]>([
    ['another payload', () => changed((json) => ({ ...json, payload: toBase64(utf8('{"a":2}')) }))],
    ['another type', () => changed((json) => ({ ...json, payloadType: PAYLOAD.releases }))],
    ['no signature', () => changed((json) => ({ ...json, signatures: [] }))],
    ['a signature of another key', () => signEnvelope(PAYLOAD.manifest, PAYLOAD_BYTES, mintKey())],
    [
      'a signature for another type',
      () =>
        changed(
          (json) => ({ ...json, payloadType: PAYLOAD.manifest }),
          signEnvelope(PAYLOAD.releases, PAYLOAD_BYTES, key),
        ),
    ],
    ['a member more', () => changed((json) => ({ ...json, more: 1 }))],
    ['base64 that is none', () => changed((json) => ({ ...json, payload: '*' }))],
    [
      'a signature that is no DER',
      () => changed((json) => ({ ...json, signatures: [{ sig: toBase64(new Uint8Array(64)) }] })),
    ],
    ['what is no JSON', () => utf8('{')],
  ])('with %s is refused', async (_what, file) => {
    expect(await refusalCode(() => openEnvelope(file(), PAYLOAD.manifest, pinned))).toBe(
      'IMAGE_SIGNATURE_INVALID',
    );
  });

  test('a signature among others is enough', async () => {
    const both = changed((json) => ({
      ...json,
      signatures: [{ sig: 'AAAA' }, ...(json['signatures'] as Json[])],
    }));
    expect(await openEnvelope(both, PAYLOAD.manifest, pinned)).toEqual(PAYLOAD_BYTES);
  });

  test.each(['P-384', 'secp256k1'])('no key on %s signs', async (curve) => {
    expect(await refusalCode(() => signEnvelope(PAYLOAD.manifest, PAYLOAD_BYTES, mintKey(curve)))).toBe(
      'IMAGE_SIGNATURE_INVALID',
    );
    expect(await refusalCode(() => publicKeyOf(createPublicKey(mintKey(curve))))).toBe(
      'IMAGE_SIGNATURE_INVALID',
    );
  });
});

describe('a statement on releases', () => {
  const releases: Releases = {
    version: 'vouchsafe/image-releases/1',
    sequence: 3,
    issued: '2026-05-01T00:00:00Z',
    nextUpdate: '2026-07-01T00:00:00Z',
    releases: [
      {
        name: 'vouchsafe-1.0.0',
        manifest: 'ab'.repeat(32),
        validFrom: '2026-01-01T00:00:00Z',
        validUntil: '2027-01-01T00:00:00Z',
        withdrawn: null,
      },
    ],
  };
  const reading = { pinned, now: NOW, seen: 3 };

  test('is read by the key of the publisher', async () => {
    expect(await readReleases(signReleases(releases, key), reading)).toEqual(releases);
  });

  test.each<[what: string, changes: Partial<typeof reading>, code: string]>([
    ['signed by another key', { pinned: [publicKeyOf(mintKey())] }, 'IMAGE_SIGNATURE_INVALID'],
    ['older than one that was seen', { seen: 4 }, 'IMAGE_REFERENCE_REFUSED'],
    ['past its next update', { now: Date.parse('2026-07-01T00:00:00Z') }, 'IMAGE_REFERENCE_REFUSED'],
    ['of the future', { now: Date.parse('2026-04-30T23:59:59Z') }, 'IMAGE_REFERENCE_REFUSED'],
  ])('%s is refused', async (_what, changes, code) => {
    expect(
      await refusalCode(() => readReleases(signReleases(releases, key), { ...reading, ...changes })),
    ).toBe(code);
  });

  test.each<[what: string, change: Partial<Releases>]>([
    ['a time that there is not', { issued: '2026-13-01T00:00:00Z' }],
    ['a time in another zone', { issued: '2026-05-01T00:00:00+01:00' }],
    ['an end before its begin', { nextUpdate: '2026-05-01T00:00:00Z' }],
    ['a manifest twice', { releases: [releases.releases[0]!, releases.releases[0]!] }],
    [
      'an end of a release before its begin',
      { releases: [{ ...releases.releases[0]!, validUntil: '2025-01-01T00:00:00Z' }] },
    ],
  ])('with %s is not signed', async (_what, change) => {
    expect(await refusalCode(() => signReleases({ ...releases, ...change }, key))).toBe(
      'IMAGE_MANIFEST_INVALID',
    );
  });

  test('in another form than the canonical one is refused though it is signed', async () => {
    const signed = signEnvelope(PAYLOAD.releases, utf8(` ${canonicalJson(releases)}`), key);
    expect(await refusalCode(() => readReleases(signed, reading))).toBe('IMAGE_MANIFEST_INVALID');
  });
});

describe('statements beside an image', () => {
  let minted: Minted;
  const steps = async (keys: readonly Uint8Array[]): Promise<readonly VerifyStep[]> => {
    const found: VerifyStep[] = [];
    await verifyStatements(minted.folder, minted.manifest, keys, (step) => found.push(step));
    return found;
  };
  const results = async (keys: readonly Uint8Array[]) => (await steps(keys)).map(({ result }) => result);
  const replacing = async (name: string, content: Uint8Array, act: () => Promise<void>): Promise<void> => {
    const path = join(minted.folder, name);
    const before = await readFile(path);
    await writeFile(path, content);
    await act();
    await writeFile(path, before);
  };

  beforeAll(async () => {
    minted = await mintImage();
    await signImage(minted.folder, minted.manifest, 'https://builder.example/1', key);
  });

  test('are good by the pinned key; without one nothing is said of who wrote the manifest', async () => {
    expect(await results(pinned)).toEqual(['good', 'good']);
    expect(await results([])).toEqual(['skipped', 'good']);
    expect(await results([publicKeyOf(mintKey())])).toEqual(['bad', 'bad']);
  });

  test('the provenance names sources, inputs, and each file by its digest', async () => {
    const file = await readFile(join(minted.folder, FILES.provenance));
    const statement = parseProvenance(file);
    expect(Buffer.from(provenanceOf(minted.manifest, 'https://builder.example/1'))).toEqual(file);
    expect(await openProvenance(await readFile(join(minted.folder, FILES.signedProvenance)), pinned)).toEqual(
      statement,
    );
    expect(statement.subject[0]).toEqual({
      name: FILES.manifest,
      digest: { sha256: toHex(manifestDigest(minted.manifest)) },
    });
    const { resolvedDependencies } = statement.predicate.buildDefinition;
    expect(resolvedDependencies.map(({ uri }) => uri)).toContain('pkg:npm/%40scope/node-linux-x64@24.0.0');
    expect(resolvedDependencies[0]?.digest.gitCommit).toBe('ab'.repeat(20));
    expect(statement.predicate.runDetails.builder.id).toBe('https://builder.example/1');
  });

  test('a provenance of another image is refused', async () => {
    const other = (await mintImage({ program: 'another' })).manifest;
    const statement = provenanceOf(other, 'urn:x');
    expect(unspokenFiles(parseProvenance(statement), minted.manifest)).toContain('disk.raw');
    await replacing(FILES.provenance, statement, async () => {
      expect(await results([])).toEqual(['skipped', 'bad']);
    });
  });

  test('a signed manifest of another image is refused', async () => {
    const other = (await mintImage({ program: 'another' })).manifest;
    const signed = signEnvelope(PAYLOAD.manifest, encodeManifest(other), key);
    await replacing(FILES.signedManifest, signed, async () => {
      const [manifest] = await steps(pinned);
      expect(manifest?.detail).toMatch(/^IMAGE_MANIFEST_MISMATCH/);
    });
  });
});
