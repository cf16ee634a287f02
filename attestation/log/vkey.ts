import { concat, equalBytes, fromBase64, toBase64, utf8 } from '../bytes/bytes.ts';
import { ALG, keySpki } from '../cose/key.ts';
import { sha256With, type CryptoProvider, type Sha256 } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { isKeyName, type NoteVerifier } from './note.ts';

/** Signature types of C2SP signed-note that are verified here; both have Ed25519 keys. */
export const KEY_TYPE = { ed25519: 0x01, cosignature: 0x04 } as const;
export type KeyType = (typeof KEY_TYPE)[keyof typeof KEY_TYPE];

/** A verifier key: `<name>+<8 hex digits of the key id>+<base64(type || public key)>`. */
export interface Vkey {
  readonly name: string;
  readonly keyId: number;
  readonly type: KeyType;
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array;
}

const SHAPE = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/u;

/** Parses a vkey and checks its key id; a key of another type or length is refused as `UNSUPPORTED` or `MALFORMED`. */
export function parseVkey(text: string, sha256: Sha256): Vkey {
  const [, name, id, base64] = SHAPE.exec(text) ?? [];
  if (name === undefined || id === undefined || base64 === undefined || !isKeyName(name)) {
    throw new Refusal('MALFORMED', 'vkey is not `<name>+<key id>+<base64>`');
  }
  const bytes = fromBase64(base64);
  const type = Object.values(KEY_TYPE).find((known) => known === bytes[0]);
  if (type === undefined) throw new Refusal('UNSUPPORTED', `vkey of ${name} has an unknown type`);
  if (bytes.length !== 33) throw new Refusal('MALFORMED', `vkey of ${name} holds no Ed25519 key`);
  const vkey = makeVkey(sha256, name, bytes.subarray(1), type);
  if (vkey.keyId !== Number.parseInt(id, 16)) {
    throw new Refusal('MALFORMED', `vkey of ${name} has another key id than its key`);
  }
  return vkey;
}

/** The vkey of a raw Ed25519 public key. */
export function makeVkey(
  sha256: Sha256,
  name: string,
  publicKey: Uint8Array,
  type: KeyType = KEY_TYPE.ed25519,
): Vkey {
  if (publicKey.length !== 32) throw new Refusal('MALFORMED', 'an Ed25519 public key has 32 bytes');
  if (!isKeyName(name)) throw new Refusal('MALFORMED', 'a key name is empty or holds a space or `+`');
  return { name, keyId: keyIdOf(sha256, name, type, publicKey), type, publicKey };
}

/** First 4 bytes of SHA-256(name || 0x0a || type || public key), big-endian. */
export function keyIdOf(sha256: Sha256, name: string, type: number, publicKey: Uint8Array): number {
  const hash = sha256(concat(utf8(name), Uint8Array.of(0x0a, type), publicKey));
  return new DataView(hash.buffer, hash.byteOffset).getUint32(0);
}

export function encodeVkey(vkey: Vkey): string {
  const id = vkey.keyId.toString(16).padStart(8, '0');
  return `${vkey.name}+${id}+${toBase64(concat(Uint8Array.of(vkey.type), vkey.publicKey))}`;
}

/** Verifies plain Ed25519 signatures (type 0x01) of notes. */
export function ed25519Verifier(vkey: Vkey, crypto: CryptoProvider): NoteVerifier {
  if (vkey.type !== KEY_TYPE.ed25519) throw new TypeError('the vkey is of a cosigner');
  const spki = ed25519Spki(vkey.publicKey);
  return {
    name: vkey.name,
    keyId: vkey.keyId,
    verify: async (signedBytes, signature) =>
      signature.length === 64 && (await crypto.verify({ kind: 'ed25519' }, spki, signedBytes, signature)),
  };
}

/** DER SubjectPublicKeyInfo (RFC 8410) of a raw Ed25519 public key. */
export function ed25519Spki(publicKey: Uint8Array): Uint8Array {
  return keySpki({ alg: ALG.ed25519, x: publicKey });
}

/** Raw public key, 32 bytes, of an Ed25519 SubjectPublicKeyInfo. */
export function ed25519OfSpki(spki: Uint8Array): Uint8Array {
  const publicKey = spki.subarray(-32);
  if (spki.length === 0 || !equalBytes(ed25519Spki(publicKey), spki)) {
    throw new Refusal('MALFORMED', 'not the SubjectPublicKeyInfo of an Ed25519 key');
  }
  return publicKey;
}

/** The verifier of a log's own key, whose name is the log's origin. */
export function logVerifier(origin: string, publicKey: Uint8Array, crypto: CryptoProvider): NoteVerifier {
  return ed25519Verifier(makeVkey(sha256With(crypto), origin, publicKey), crypto);
}
