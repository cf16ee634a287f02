import { generateKeyPairSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { openEnvelope, PAYLOAD, publicKeyOf, signEnvelope } from '../../../../enclave/image/release/dsse.ts';
import { encodeFileLists, parseFileLists } from '../../../../enclave/image/release/fileLists.ts';
import { encodeManifest, FILES, parseManifest } from '../../../../enclave/image/release/manifest.ts';
import { parseProvenance, provenanceOf } from '../../../../enclave/image/release/provenance.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { mintImage } from './mintedImage.ts';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pinned = [publicKeyOf(privateKey)];

let [manifest, fileLists, provenance, envelope]: Uint8Array[] = [];

beforeAll(async () => {
  const minted = await mintImage({ models: 'weights' });
  manifest = encodeManifest(minted.manifest);
  fileLists = new Uint8Array(await readFile(join(minted.folder, FILES.fileLists)));
  provenance = provenanceOf(minted.manifest, 'urn:x');
  envelope = signEnvelope(PAYLOAD.manifest, manifest, privateKey);
});

/** What someone who may write the files of a release can hand in: changed, cut or arbitrary bytes. */
function damaged(genuine: Uint8Array): fc.Arbitrary<Uint8Array> {
  const change = fc.tuple(fc.nat(genuine.length - 1), fc.nat(255));
  const changed = fc.array(change, { minLength: 1, maxLength: 8 }).map((changes) => {
    const bytes = Uint8Array.from(genuine);
    for (const [offset, value] of changes) bytes[offset] = value;
    return bytes;
  });
  const cut = fc.nat(genuine.length).map((length) => genuine.slice(0, length));
  return fc.oneof(changed, cut, fc.uint8Array({ maxLength: 2000 }));
}

/** Gives the value, or undefined where it was refused with a code. */
async function readOrRefuse<Value>(read: () => Value | Promise<Value>): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ImageError) return undefined;
    throw error;
  }
}

describe('damaged documents', () => {
  test(
    'are refused with a code, or are another document in canonical form',
    async () => {
      const kinds = [
        [manifest!, (bytes: Uint8Array) => encodeManifest(parseManifest(bytes))],
        [fileLists!, (bytes: Uint8Array) => encodeFileLists(parseFileLists(bytes))],
        [provenance!, (bytes: Uint8Array) => (parseProvenance(bytes), bytes)],
      ] as const;
      for (const [genuine, again] of kinds) {
        const property = fc.asyncProperty(damaged(genuine), async (bytes) => {
          const encoded = await readOrRefuse(() => again(bytes));
          if (encoded) expect(Buffer.from(encoded)).toEqual(Buffer.from(bytes));
        });
        await fc.assert(property, propertyRuns(60));
      }
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'an envelope gives the payload that was signed, or nothing',
    async () => {
      const property = fc.asyncProperty(damaged(envelope!), async (bytes) => {
        const payload = await readOrRefuse(() => openEnvelope(bytes, PAYLOAD.manifest, pinned));
        if (payload) expect(Buffer.from(payload)).toEqual(Buffer.from(manifest!));
      });
      await fc.assert(property, propertyRuns(60));
    },
    PROPERTY_TIMEOUT,
  );
});
