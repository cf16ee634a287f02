import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import {
  asArray,
  asCount,
  asFixedBytes,
  asLabel,
  asMap,
  asText,
  asTuple,
} from '../../attestation/cbor/shape.ts';
import { encodeManifest, manifestDigest, type ModelManifest } from '../models/manifest.ts';

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
const THREADS = 'intra_op_threads';
/** Most threads that the service can be set to. */
const MAX_THREADS = 1024;

/** One line of a manifest that is not the same; undefined where one of the two has no such line. */
export interface ManifestDifference {
  /** Such as `file onnx/model.onnx`, `engine version` or `option intra_op_threads`. */
  readonly name: string;
  readonly recorded: string | undefined;
  readonly loaded: string | undefined;
}

export function parseManifest(encoded: Uint8Array): ModelManifest {
  const [label, files, engine, options] = asTuple(
    decodeDc(encoded, { maxDepth: 8, maxBytes: MAX_MANIFEST_BYTES }),
    'manifest',
    4,
  );
  asLabel(label, 'manifest label', 'vouchsafe/manifest/1');
  const [name, version, build] = asTuple(engine, 'manifest engine', 3);
  return {
    files: asArray(files, 'manifest files').map((line) => {
      const [path, size, sha256] = asTuple(line, 'manifest file', 3);
      return {
        path: asText(path, 'path'),
        size: asCount(size, 'size'),
        sha256: asFixedBytes(sha256, 'file digest', 32),
      };
    }),
    engine: {
      name: asText(name, 'engine name'),
      version: asText(version, 'engine version'),
      build: asFixedBytes(build, 'engine build', 32),
    },
    options: new Map(
      [...asMap(options, 'manifest options')].map(([key, value]) => [
        asText(key, 'option name'),
        asText(value, 'option value'),
      ]),
    ),
  };
}

/** The lines of two manifests that differ, files first. */
export function compareManifests(
  recorded: ModelManifest,
  loaded: ModelManifest,
): readonly ManifestDifference[] {
  const [before, now] = [linesOf(recorded), linesOf(loaded)];
  return [...new Set([...before.keys(), ...now.keys()])]
    .filter((name) => before.get(name) !== now.get(name))
    .map((name) => ({ name, recorded: before.get(name), loaded: now.get(name) }));
}

function linesOf({ files, engine, options }: ModelManifest): ReadonlyMap<string, string> {
  return new Map([
    ...files.map(({ path, size, sha256 }) => [`file ${path}`, `${size} bytes, ${toHex(sha256)}`] as const),
    ['engine name', engine.name],
    ['engine version', engine.version],
    ['engine build', toHex(engine.build)],
    ...[...options].map(([name, value]) => [`option ${name}`, value] as const),
  ]);
}

/**
 * The number of threads with which the manifest would have this digest; undefined where no number gives it. The
 * receipt states the digest alone, and a machine with other cores takes another number by itself.
 */
export function threadsOf(loaded: ModelManifest, digest: Uint8Array): number | undefined {
  for (let threads = 1; threads <= MAX_THREADS; threads++) {
    const options = new Map(loaded.options).set(THREADS, String(threads));
    if (equalBytes(manifestDigest(encodeManifest({ ...loaded, options })), digest)) return threads;
  }
  return undefined;
}
