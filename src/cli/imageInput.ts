import { createPublicKey } from 'node:crypto';
import { join } from 'node:path';
import { openEnvelope, PAYLOAD, publicKeyOf } from '../../enclave/image/release/dsse.ts';
import { FILES, type ImageManifest, parseManifest } from '../../enclave/image/release/manifest.ts';
import { CliError, EXIT } from './exit.ts';
import { isFolder, readInput } from './files.ts';

/** Largest manifest in an envelope, bytes. */
const MAX_BYTES = 8 * 1024 * 1024;

/** Keys that the caller trusts, each from a file in PEM: SubjectPublicKeyInfo in DER. */
export async function readPinnedKeys(paths: readonly string[]): Promise<readonly Uint8Array[]> {
  return Promise.all(paths.map(readPinnedKey));
}

async function readPinnedKey(path: string): Promise<Uint8Array> {
  const pem = Buffer.from(await readInput(path));
  try {
    // A private key would be read as well: who pins a key has the public half only.
    if (pem.includes('PRIVATE KEY')) throw new TypeError('a private key');
    return publicKeyOf(createPublicKey(pem));
  } catch {
    const advice = 'Give the public key of the publisher, on P-256, in PEM.';
    throw new CliError(EXIT.unreadable, `${path} holds no public key that can be used`, advice);
  }
}

/**
 * The manifest of an output folder, or one that was named. With pinned keys it is the signed one, and one of them has to
 * have signed it: beside a folder's manifest stands its envelope.
 */
export async function readImageManifest(path: string, pinned: readonly Uint8Array[]): Promise<ImageManifest> {
  const inFolder = pinned.length > 0 ? FILES.signedManifest : FILES.manifest;
  const file = (await isFolder(path)) ? join(path, inFolder) : path;
  const bytes = await readInput(file, MAX_BYTES);
  return parseManifest(pinned.length > 0 ? await openEnvelope(bytes, PAYLOAD.manifest, pinned) : bytes);
}
