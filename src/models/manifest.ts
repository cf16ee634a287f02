import { createHash } from 'node:crypto';
import { compareBytes, utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';

/** One file as it was loaded. */
export interface ManifestFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: Uint8Array;
}

/** The runtime that the files were handed to. */
export interface ManifestEngine {
  readonly name: string;
  readonly version: string;
  /** SHA-256 of the shared library that is loaded. */
  readonly build: Uint8Array;
}

export interface ModelManifest {
  readonly files: readonly ManifestFile[];
  readonly engine: ManifestEngine;
  /** Settings of the runtime that may change an output. */
  readonly options: ReadonlyMap<string, string>;
}

/** The line of one file, hashed from the memory that it was loaded into. */
export function manifestFile(path: string, bytes: Uint8Array): ManifestFile {
  return { path, size: bytes.length, sha256: sha256(bytes) };
}

/**
 * `dc(["vouchsafe/manifest/1", [[path, size, sha256], ...], [name, version, build], options])`, files sorted by the
 * bytes of their paths. Two files of one path would give one path two contents: that is misuse.
 */
export function encodeManifest(manifest: ModelManifest): Uint8Array {
  const lines = manifest.files.map((file) => ({ key: utf8(file.path), file }));
  lines.sort((a, b) => compareBytes(a.key, b.key));
  if (new Set(manifest.files.map((file) => file.path)).size !== lines.length) {
    throw new TypeError('a manifest names a path twice');
  }
  const { name, version, build } = manifest.engine;
  return encodeDc([
    'vouchsafe/manifest/1',
    lines.map(({ file }) => [file.path, file.size, file.sha256]),
    [name, version, build],
    manifest.options,
  ]);
}

/** SHA-256 of an encoded manifest: the identity of a model. */
export function manifestDigest(encoded: Uint8Array): Uint8Array {
  return sha256(encoded);
}

/** One update of the hash; Node refuses 2 GiB and more at once. */
const HASH_CHUNK = 0x400_0000;

function sha256(bytes: Uint8Array): Uint8Array {
  const hash = createHash('sha256');
  for (let offset = 0; offset < bytes.length; offset += HASH_CHUNK) {
    hash.update(bytes.subarray(offset, offset + HASH_CHUNK));
  }
  return new Uint8Array(hash.digest());
}
