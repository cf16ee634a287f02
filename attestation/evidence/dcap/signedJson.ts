import { fromHex, fromUtf8 } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';

/** Bodies seen have up to 7 KiB; platforms with more levels have a multiple of it. */
const MAX_BODY_BYTES = 128 * 1024;
const SIGNATURE = /^[0-9a-f]{128}$/i;
const SCHEME = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = [0x7b, 0x5b];
const CLOSE = [0x7d, 0x5d];
const SPACE = [0x20, 0x09, 0x0a, 0x0d];
const COMMA = 0x2c;

export type SignedMember = 'tcbInfo' | 'enclaveIdentity';

/** A response of Intel's service, taken apart: nothing in it is trusted until `verifySignedJson` passes. */
export interface SignedObject {
  /** The inner object as received, brace to brace: what is signed. */
  readonly signed: Uint8Array;
  /** Decoded from `signed` and from nothing else. */
  readonly value: unknown;
  /** r || s, big endian. */
  readonly signature: Uint8Array;
}

/**
 * Takes `{"<member>":{…},"signature":"<hex>"}` apart: strict JSON, these two members in either order and no other,
 * names written without escapes. The inner object is found, never written again: another spelling of the same value
 * is not what Intel signed.
 */
export function parseSignedJson(body: Uint8Array, member: SignedMember): SignedObject {
  if (body.length > MAX_BODY_BYTES) {
    throw new Refusal('MALFORMED', `${member}: ${body.length} bytes exceed ${MAX_BODY_BYTES}`);
  }
  parseJson(body, member);
  const members = scanMembers(body, member);
  const signed = members.get(member);
  const signature = members.get('signature');
  if (!signed || !signature || members.size !== 2) {
    const seen = [...members.keys()].map((name) => JSON.stringify(name.slice(0, 40))).join(', ');
    throw new Refusal('MALFORMED', `expected members ${member} and signature, found ${seen || 'none'}`);
  }
  if (signed[0] !== OPEN[0]) throw new Refusal('MALFORMED', `${member} is no object`);
  const hex = fromUtf8(signature).slice(1, -1);
  if (signature[0] !== QUOTE || !SIGNATURE.test(hex)) {
    throw new Refusal('MALFORMED', `the signature of ${member} is not 128 hex digits`);
  }
  return { signed, value: parseJson(signed, member), signature: fromHex(hex.toLowerCase()) };
}

/** Verifies ECDSA P-256 with SHA-256 over the inner object as received. The key must be vouched for by the caller. */
export async function verifySignedJson(
  { signed, signature }: SignedObject,
  spki: Uint8Array,
  crypto: CryptoProvider,
  what: string,
): Promise<void> {
  if (!(await crypto.verify(SCHEME, spki, signed, signature))) {
    throw new Refusal(
      'COLLATERAL_SIGNATURE_INVALID',
      `the signature over ${what} does not verify under its TCB signing certificate`,
    );
  }
}

/** Members of the outermost object by their raw names, values as received. The text is known to be JSON. */
function scanMembers(text: Uint8Array, what: string): ReadonlyMap<string, Uint8Array> {
  const members = new Map<string, Uint8Array>();
  let position = skipSpace(text, 0);
  if (text[position] !== OPEN[0]) throw new Refusal('MALFORMED', `${what}: the body is no object`);
  position = skipSpace(text, position + 1);
  while (text[position] === QUOTE) {
    const nameEnd = endOfString(text, position);
    const name = fromUtf8(text.subarray(position + 1, nameEnd - 1));
    const start = skipSpace(text, skipSpace(text, nameEnd) + 1);
    const end = endOfValue(text, start);
    members.set(name, text.subarray(start, end));
    position = skipSpace(text, end);
    if (text[position] === COMMA) position = skipSpace(text, position + 1);
  }
  return members;
}

function skipSpace(text: Uint8Array, position: number): number {
  let next = position;
  while (SPACE.includes(text[next] ?? 0)) next++;
  return next;
}

/** Position after the closing quote of the string that opens at `start`. */
function endOfString(text: Uint8Array, start: number): number {
  let next = start + 1;
  while (next < text.length && text[next] !== QUOTE) next += text[next] === BACKSLASH ? 2 : 1;
  return next + 1;
}

/** Position after the value that starts at `start`. Between strings, only brackets and commas matter. */
function endOfValue(text: Uint8Array, start: number): number {
  let depth = 0;
  let next = start;
  while (next < text.length) {
    const byte = text[next] ?? 0;
    if (depth === 0 && next > start && (byte === COMMA || CLOSE.includes(byte) || SPACE.includes(byte)))
      break;
    if (byte === QUOTE) {
      next = endOfString(text, next);
    } else {
      if (OPEN.includes(byte)) depth++;
      if (CLOSE.includes(byte)) depth--;
      next++;
    }
    if (depth === 0 && (byte === QUOTE || CLOSE.includes(byte))) break;
  }
  return next;
}
