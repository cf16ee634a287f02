import { concat, utf8 } from '../bytes/bytes.ts';
import { ByteReader } from '../bytes/reader.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { parseCheckpoint } from './checkpoint.ts';
import { verifyNote, type Note, type NoteVerifier } from './note.ts';
import { ed25519Spki, KEY_TYPE, type Vkey } from './vkey.ts';

/** What a witness states: at `time` it had seen this checkpoint and none that contradicts it. */
export interface Cosignature {
  readonly name: string;
  /** Seconds since 1970, by the witness's clock. */
  readonly time: number;
}

declare const verified: unique symbol;
export type VerifiedCosignature = Cosignature & { readonly [verified]: true };

interface TimedSignature {
  readonly time: number;
  readonly signature: Uint8Array;
}

/** Reads a C2SP tlog-cosignature of Ed25519: 8-byte big-endian seconds, then the signature, 72 bytes in all. */
function parseTimed(bytes: Uint8Array): TimedSignature {
  const reader = new ByteReader(bytes, 'cosignature');
  const time = Number(reader.u64be());
  const signature = reader.take(64);
  reader.end();
  if (!Number.isSafeInteger(time)) throw new Refusal('MALFORMED', 'cosignature: its time is out of range');
  return { time, signature };
}

/** The bytes that an Ed25519 cosigner signs. They do not name the cosigner: one key must serve one witness. */
export function cosignedBytes(time: number, checkpoint: Uint8Array): Uint8Array {
  return concat(utf8(`cosignature/v1\ntime ${time}\n`), checkpoint);
}

/** Verifies timestamped Ed25519 cosignatures (type 0x04). */
export function cosignatureVerifier(vkey: Vkey, crypto: CryptoProvider): NoteVerifier {
  if (vkey.type !== KEY_TYPE.cosignature) throw new TypeError('the vkey is not of a cosigner');
  const spki = ed25519Spki(vkey.publicKey);
  return {
    name: vkey.name,
    keyId: vkey.keyId,
    verify: (signedBytes, bytes) => {
      const { time, signature } = parseTimed(bytes);
      return crypto.verify({ kind: 'ed25519' }, spki, cosignedBytes(time, signedBytes), signature);
    },
  };
}

/**
 * The cosignature of one witness on a checkpoint note; refuses as `SIGNATURE_INVALID` where the witness did not sign
 * or its signature fails. Its time is the earliest of several by the same key.
 */
export async function verifyCosignature(
  note: Note,
  vkey: Vkey,
  crypto: CryptoProvider,
): Promise<VerifiedCosignature> {
  parseCheckpoint(note.text);
  await verifyNote(note, [cosignatureVerifier(vkey, crypto)]);
  const times = note.signatures
    .filter(({ name, keyId }) => name === vkey.name && keyId === vkey.keyId)
    .map(({ signature }) => parseTimed(signature).time);
  return { name: vkey.name, time: Math.min(...times) } as VerifiedCosignature;
}
