import { concat, fromBase64, fromUtf8, toBase64, utf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { HASH_LENGTH } from '../../attestation/log/merkle.ts';

/** Most lines of a consistency proof (C2SP tlog-witness, add-checkpoint). */
export const MAX_PROOF_LINES = 63;
/** Of a 409 answer that names the size that the witness recorded. */
export const SIZE_TYPE = 'text/x.tlog.size';

/** Body of an add-checkpoint request (C2SP tlog-witness v1.0.0). */
export interface AddCheckpoint {
  /** Size of the checkpoint that the witness cosigned last, as the log believes. */
  readonly oldSize: number;
  /** Consistency proof from there. */
  readonly path: readonly Uint8Array[];
  /** Signed note. */
  readonly checkpoint: Uint8Array;
}

export function encodeAddCheckpoint({ oldSize, path, checkpoint }: AddCheckpoint): Uint8Array {
  if (path.length > MAX_PROOF_LINES) throw new TypeError(`a proof of ${path.length} hashes is too long`);
  const lines = [`old ${oldSize}`, ...path.map(toBase64), '', ''];
  return concat(utf8(lines.join('\n')), checkpoint);
}

/** Parses a request; the checkpoint stays bytes. Whoever reaches the witness may have written it. */
export function parseAddCheckpoint(body: Uint8Array): AddCheckpoint {
  const text = fromUtf8(body);
  const end = text.indexOf('\n\n');
  if (end < 0) throw malformed('no empty line stands before the checkpoint');
  const [old = '', ...proof] = text.slice(0, end).split('\n');
  if (proof.length > MAX_PROOF_LINES) throw malformed(`more than ${MAX_PROOF_LINES} proof lines`);
  const [, size] = /^old (.*)$/.exec(old) ?? [];
  if (size === undefined) throw malformed('the first line does not name the old size');
  return { oldSize: parseSize(size), path: proof.map(parseHash), checkpoint: utf8(text.slice(end + 2)) };
}

/** A decimal number without leading zeros, up to 2^53-1. */
export function parseSize(text: string): number {
  const size = Number(text);
  if (/^(?:0|[1-9][0-9]{0,15})$/.test(text) && Number.isSafeInteger(size)) return size;
  throw malformed('a size is no decimal number up to 2^53-1');
}

function parseHash(line: string): Uint8Array {
  const hash = fromBase64(line);
  if (hash.length !== HASH_LENGTH) throw malformed('a proof line is not 32 bytes in base64');
  return hash;
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `add-checkpoint: ${detail}`);
}
