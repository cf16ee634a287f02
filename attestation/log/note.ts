import { concat, fromBase64, fromUtf8, toBase64, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';

/** Bounds of a note that an attacker may have written, as the Go implementation has them. */
export const MAX_NOTE_BYTES = 1_000_000;
export const MAX_SIGNATURES = 100;

/** One signature line, `— <name> <base64(key id || signature)>`. */
export interface NoteSignature {
  readonly name: string;
  /** First 4 bytes of the key's hash, big-endian. A hint: who made the key chose it. */
  readonly keyId: number;
  readonly signature: Uint8Array;
}

/** A C2SP signed note, read and not verified. */
export interface Note {
  /** Ends in a newline. */
  readonly text: string;
  /** The bytes that every signature covers: the text, without the blank line. */
  readonly signedBytes: Uint8Array;
  readonly signatures: readonly NoteSignature[];
}

/** Checks the signatures of one known key. */
export interface NoteVerifier {
  readonly name: string;
  readonly keyId: number;
  verify(signedBytes: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

declare const verified: unique symbol;

export interface VerifiedNote extends Note {
  readonly [verified]: true;
  /** The known keys that signed; at least one. */
  readonly signers: readonly NoteVerifier[];
}

/** Parses a note (C2SP signed-note v1.0.0): bounded, UTF-8, no control characters, 1 to 100 signature lines. */
export function parseNote(bytes: Uint8Array): Note {
  if (bytes.length > MAX_NOTE_BYTES) throw malformed(`${bytes.length} bytes exceed ${MAX_NOTE_BYTES}`);
  const whole = fromUtf8(bytes);
  if (hasControl(whole)) throw malformed('it holds a control character');
  const split = whole.lastIndexOf('\n\n');
  if (split < 0) throw malformed('no blank line ends the text');
  const text = whole.slice(0, split + 1);
  return { text, signedBytes: utf8(text), signatures: parseSignatures(whole.slice(split + 2)) };
}

function parseSignatures(block: string): readonly NoteSignature[] {
  if (!block.endsWith('\n')) throw malformed('no newline ends the signatures');
  const lines = block.slice(0, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw malformed(`it has more than ${MAX_SIGNATURES} signatures`);
  return lines.map(parseSignature);
}

/** Parses one line without its newline. */
export function parseSignature(line: string): NoteSignature {
  const [dash, name, base64, ...rest] = line.split(' ');
  if (dash !== '—' || name === undefined || base64 === undefined || rest.length > 0 || !isKeyName(name)) {
    throw malformed('a signature line is not `— <name> <base64>`');
  }
  const bytes = fromBase64(base64);
  if (bytes.length < 5) throw malformed('a signature is too short');
  const keyId = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return { name, keyId, signature: bytes.subarray(4) };
}

/** A key name is not empty and holds neither spaces nor `+`. */
export function isKeyName(name: string): boolean {
  return /^[^\s+]+$/u.test(name) && !hasControl(name);
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 && unit !== 0x0a) return true;
  }
  return false;
}

/**
 * Verifies the signatures of known keys. Signatures of unknown (name, key id) are ignored; a known key whose
 * signature fails, and a note that no known key signed, are refused as `SIGNATURE_INVALID`.
 */
export async function verifyNote(note: Note, known: readonly NoteVerifier[]): Promise<VerifiedNote> {
  const signers = new Set<NoteVerifier>();
  for (const { name, keyId, signature } of note.signatures) {
    const verifier = known.find((key) => key.name === name && key.keyId === keyId);
    if (!verifier) continue;
    if (!(await verifier.verify(note.signedBytes, signature))) {
      throw new Refusal('SIGNATURE_INVALID', `the note's signature by ${name} does not verify`);
    }
    signers.add(verifier);
  }
  if (signers.size === 0) throw new Refusal('SIGNATURE_INVALID', 'no known key signed the note');
  return { ...note, signers: [...signers] } as unknown as VerifiedNote;
}

/** Text (which ends in a newline), blank line, signature lines. Throws `TypeError` for what no note can hold. */
export function formatNote(text: string, signatures: readonly NoteSignature[]): Uint8Array {
  if (!text.endsWith('\n') || hasControl(text)) throw new TypeError('not the text of a note');
  return utf8(`${text}\n${signatures.map(formatSignature).join('')}`);
}

function formatSignature({ name, keyId, signature }: NoteSignature): string {
  if (!isKeyName(name)) throw new TypeError('not a key name');
  const id = new Uint8Array(4);
  new DataView(id.buffer).setUint32(0, keyId);
  return `— ${name} ${toBase64(concat(id, signature))}\n`;
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `signed note: ${detail}`);
}
