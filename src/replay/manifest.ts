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
const BATCHING = 'decoder_batching';
/** Steps of always so many rows: that many sequences, and no fewer than the trial at load has. */
const ROWS_OF = /^rows-of-([1-9]\d{0,3})$/;
const LEAST_ROWS = 4;
/** Most sequences that the service can be set to. */
const MAX_SEQUENCES = 1024;
const USUAL_SEQUENCES = [4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024] as const;

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

/** Settings of a service that its manifests state and its receipts do not. */
export interface ManifestSettings {
  readonly threads: number;
  /** Undefined where the rows of a step are no part of the manifest. */
  readonly sequences: number | undefined;
}

/** What is certain of the settings; the rest is looked for. */
export interface KnownSettings {
  readonly threads?: number | undefined;
  readonly sequences?: number | undefined;
}

/**
 * The settings with which the manifest would have this digest; undefined where none of those that are tried gives it.
 * The receipt states the digest alone, and a machine with other cores takes another number of threads by itself. Every
 * number of each is tried with the other as it is, and every number of threads with usual numbers of sequences.
 */
export function settingsOf(
  loaded: ModelManifest,
  digest: Uint8Array,
  known: KnownSettings = {},
): ManifestSettings | undefined {
  const batching = ROWS_OF.exec(loaded.options.get(BATCHING) ?? '');
  const sequences = batching ? Number(batching[1]) : undefined;
  const threads = Number(loaded.options.get(THREADS));
  const own: ManifestSettings = { threads, sequences };
  const manyThreads = known.threads === undefined ? numbers(1, MAX_THREADS) : [threads];
  const fixed = sequences === undefined || known.sequences !== undefined;
  const candidates: readonly ManifestSettings[] = [
    ...manyThreads.map((count) => ({ ...own, threads: count })),
    ...(fixed ? [] : numbers(LEAST_ROWS, MAX_SEQUENCES).map((count) => ({ ...own, sequences: count }))),
    ...(fixed ? [] : USUAL_SEQUENCES).flatMap((rows) =>
      manyThreads.map((count) => ({ threads: count, sequences: rows })),
    ),
  ];
  return candidates.find((settings) =>
    equalBytes(manifestDigest(encodeManifest(withSettings(loaded, settings))), digest),
  );
}

function withSettings(manifest: ModelManifest, { threads, sequences }: ManifestSettings): ModelManifest {
  const options = new Map(manifest.options).set(THREADS, String(threads));
  if (sequences !== undefined) options.set(BATCHING, `rows-of-${sequences}`);
  return { ...manifest, options };
}

const numbers = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);
