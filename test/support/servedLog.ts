import { concat, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { encodeBundle, parseTilePath, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import type { FormerServedLog, FormerServedLogs, ServedLog } from '../../src/http/servedLog.ts';
import type { MemoryLog } from './memoryLog.ts';

const sha256 = sha256With(nodeCrypto);

export const NO_LOGS: FormerServedLogs = { logs: [], open: () => Promise.resolve(undefined) };

/** The log in memory of an instance that is gone. */
export function serveFormerLog(log: MemoryLog, origin: string): FormerServedLog {
  const served = serveMemoryLog(log, origin);
  const last = log.documents.length - 1;
  return Object.assign(served, { size: log.size, evidenceHead: last < 0 ? undefined : { seq: last } });
}

/** The log in memory as HTTP serves it. Tiles are computed from all entries, by the definition alone. */
export function serveMemoryLog(log: MemoryLog, origin: string): ServedLog {
  return {
    origin,
    get checkpoint() {
      return log.checkpoints.at(-1);
    },
    get publishedSize() {
      const note = log.checkpoints.at(-1);
      return note ? parseCheckpoint(parseNote(note).text).size : 0;
    },
    tile: (path) => Promise.resolve(tileOf(log.entries, path)),
    inclusionProof: (index, size) => log.inclusionProof(index, size),
    consistencyProof: (size1, size2) => log.consistencyProof(size1, size2),
    readEvidence: (seq) => log.readEvidence(seq),
    extras: () => Promise.resolve([...attached(log).keys()]),
    readExtra: (path) => Promise.resolve(attached(log).get(path)),
  };
}

/** Collateral and anchors by their paths. */
function attached({ anchors, collateral }: MemoryLog): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const [seq, bytes] of collateral.entries()) {
    const digest = toHex(sha256(bytes));
    files.set(`evidence/${seq}.collateral`, utf8(`${digest}\n`)).set(`collateral/${digest}.cbor`, bytes);
  }
  for (const [size, bytes] of anchors) files.set(`anchors/${size}.cbor`, bytes);
  return files;
}

function tileOf(entries: readonly Uint8Array[], path: string): Uint8Array | undefined {
  const { level, index, width } = parseTilePath(path);
  const span = level === 'entries' ? 1 : TILE_WIDTH ** level;
  const first = index * TILE_WIDTH;
  if ((first + width) * span > entries.length) return undefined;
  if (level === 'entries') return encodeBundle(entries.slice(first, first + width));
  const hashes = Array.from({ length: width }, (_, i) =>
    rootOf(
      sha256,
      entries.slice((first + i) * span, (first + i + 1) * span).map((entry) => leafHash(sha256, entry)),
    ),
  );
  return concat(...hashes);
}
