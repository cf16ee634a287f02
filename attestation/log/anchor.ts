import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asLabel, asTuple } from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';
import { MAX_NOTE_BYTES } from './note.ts';

const LABEL = 'vouchsafe/anchor/1';
/** Timestamp authorities that one service asks are few. */
export const MAX_TOKENS = 16;
/** Tokens with the chain of a public authority are of 5 to 8 kB. */
export const MAX_TOKEN_BYTES = 64 * 1024;
const MAX_ANCHOR_BYTES = MAX_NOTE_BYTES + MAX_TOKENS * (MAX_TOKEN_BYTES + 8) + 64;

/** What outsiders said of one head of a log. Nothing of it is verified: whoever stores it can withhold a part. */
export interface LogAnchor {
  /** Signed checkpoint note with the cosignature lines of witnesses. */
  readonly note: Uint8Array;
  /** RFC 3161 TimeStampTokens (DER), each over the note's text: the bytes that the log signed. */
  readonly tokens: readonly Uint8Array[];
}

/** The file `anchors/<size>.cbor`: `dc(["vouchsafe/anchor/1", note, [token, ...]])`. */
export function encodeAnchor(anchor: LogAnchor): Uint8Array {
  return encodeDc([LABEL, ...anchorItems(anchor)]);
}

/** Parses an anchor; note and tokens stay bytes. */
export function parseAnchor(bytes: Uint8Array): LogAnchor {
  const decoded = decodeDc(bytes, { maxDepth: 4, maxBytes: MAX_ANCHOR_BYTES });
  const [label, note, tokens] = asTuple(decoded, 'anchor', 3);
  asLabel(label, 'anchor label', LABEL);
  return readAnchorItems(note, tokens);
}

/** Note and tokens, as anchors and bundles hold them. Throws `TypeError` for what could not be read again. */
export function anchorItems({ note, tokens }: LogAnchor): readonly [Uint8Array, readonly Uint8Array[]] {
  const fits = tokens.length <= MAX_TOKENS && tokens.every(({ length }) => length <= MAX_TOKEN_BYTES);
  if (!fits || note.length > MAX_NOTE_BYTES)
    throw new TypeError('not an anchor: too many or too large parts');
  return [note, tokens];
}

export function readAnchorItems(note: Dc | undefined, tokens: Dc | undefined): LogAnchor {
  const list = asArray(tokens, 'timestamp tokens');
  if (list.length > MAX_TOKENS) throw new Refusal('MALFORMED', `more than ${MAX_TOKENS} timestamp tokens`);
  return {
    note: bounded(asBytes(note, 'anchor note'), MAX_NOTE_BYTES, 'anchor note'),
    tokens: list.map((token) =>
      bounded(asBytes(token, 'timestamp token'), MAX_TOKEN_BYTES, 'timestamp token'),
    ),
  };
}

function bounded(bytes: Uint8Array, limit: number, what: string): Uint8Array {
  if (bytes.length <= limit) return bytes;
  throw new Refusal('MALFORMED', `${what} of ${bytes.length} bytes exceeds ${limit}`);
}
