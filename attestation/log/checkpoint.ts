import { equalBytes, fromBase64, toBase64 } from '../bytes/bytes.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { emptyRoot, HASH_LENGTH } from './merkle.ts';
import { parseNote, verifyNote, type Note } from './note.ts';
import { logVerifier } from './vkey.ts';

/** The body of a C2SP tlog-checkpoint: the head of a log. */
export interface CheckpointBody {
  readonly origin: string;
  readonly size: number;
  /** RFC 9162 root over the first `size` entries, 32 bytes. */
  readonly root: Uint8Array;
  /** Further lines, without newlines; opaque. */
  readonly extensions: readonly string[];
}

declare const verified: unique symbol;

/** A checkpoint that the log's own key signed. */
export interface VerifiedCheckpoint extends CheckpointBody {
  readonly [verified]: true;
  /** For the cosignatures beside the log's signature. */
  readonly note: Note;
}

const SIZE = /^(?:0|[1-9][0-9]{0,15})$/;

/** Parses the text of a checkpoint note: origin, size, root and extension lines, none of them empty. */
export function parseCheckpoint(text: string): CheckpointBody {
  const [origin, size, root, ...extensions] = text.split('\n');
  // The text ends in a newline, so the last piece is empty.
  if (extensions.pop() !== '' || !origin || size === undefined || root === undefined) {
    throw malformed('origin, size and root are not three lines');
  }
  if (extensions.includes('')) throw malformed('an extension line is empty');
  return { origin, size: parseSize(size), root: parseRoot(root), extensions };
}

function parseSize(text: string): number {
  const size = Number(text);
  if (!SIZE.test(text) || !Number.isSafeInteger(size)) {
    throw malformed('the size is no decimal number up to 2^53-1 without leading zeros');
  }
  return size;
}

function parseRoot(text: string): Uint8Array {
  const root = fromBase64(text);
  if (root.length !== HASH_LENGTH) throw malformed('the root is not 32 bytes');
  return root;
}

/** The text that the log signs. */
export function encodeCheckpoint({ origin, size, root, extensions }: CheckpointBody): string {
  const text = [origin, String(size), toBase64(root), ...extensions, ''].join('\n');
  parseCheckpoint(text);
  return text;
}

/**
 * Verifies a signed checkpoint of the log `origin`, whose note key has the origin as name. Refuses another log as
 * `CHECKPOINT_MISMATCH` and a bad or missing signature as `SIGNATURE_INVALID`. One valid checkpoint does not show
 * that the log gave everyone the same one: that is what witnesses are for.
 */
export async function verifyCheckpoint(
  bytes: Uint8Array,
  origin: string,
  publicKey: Uint8Array,
  crypto: CryptoProvider,
): Promise<VerifiedCheckpoint> {
  const note = parseNote(bytes);
  const body = parseCheckpoint(note.text);
  if (body.origin !== origin) {
    throw new Refusal('CHECKPOINT_MISMATCH', `the checkpoint is of the log ${body.origin}`);
  }
  if (body.size === 0 && !equalBytes(body.root, emptyRoot(sha256With(crypto)))) {
    throw new Refusal('CHECKPOINT_MISMATCH', 'the checkpoint of an empty log has another root');
  }
  await verifyNote(note, [logVerifier(origin, publicKey, crypto)]);
  return { ...body, note } as unknown as VerifiedCheckpoint;
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `checkpoint: ${detail}`);
}
