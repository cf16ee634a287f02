import {
  constants,
  createCipheriv,
  createPublicKey,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach } from '@jest/globals';

const open: (() => void)[] = [];
afterEach(() => {
  for (const close of open.splice(0)) close();
});

/** Address of a server that ends with the test. */
export async function serve(handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  open.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A definite length, or one that ends with end-of-contents octets. */
type Form = 'definite' | 'indefinite';

function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  const { length } = content;
  if (length < 128) return Buffer.concat([Uint8Array.of(tag, length), content]);
  return Buffer.concat([Uint8Array.of(tag, 0x82, length >> 8, length & 255), content]);
}

function constructed(form: Form, tag: number, ...contents: readonly Uint8Array[]): Buffer {
  if (form === 'definite') return tlv(tag, ...contents);
  return Buffer.concat([Uint8Array.of(tag, 0x80), ...contents, Uint8Array.of(0, 0)]);
}

const oid = (hex: string): Buffer => tlv(0x06, Buffer.from(hex, 'hex'));
const SHA256 = tlv(0x30, oid('608648016503040201'), tlv(0x05));

export interface EnvelopeChanges {
  readonly form?: Form;
  readonly hash?: Buffer;
  readonly contentKey?: Uint8Array;
  readonly cipherOid?: string;
  readonly recipients?: number;
  readonly attributes?: boolean;
}

/** CMS EnvelopedData in the form that KMS has: indefinite lengths, the content in one piece of a constructed string. */
export function envelope(plaintext: Uint8Array, publicKey: KeyObject, changes: EnvelopeChanges = {}): Buffer {
  const { form = 'indefinite', hash = SHA256, contentKey = randomBytes(32), recipients = 1 } = changes;
  const iv = randomBytes(16);
  const cipher = createCipheriv(
    'aes-256-cbc',
    Buffer.concat([contentKey, randomBytes(32)]).subarray(0, 32),
    iv,
  );
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  const wrapped = encryptOaep(publicKey, contentKey);
  const oaep = tlv(
    0x30,
    oid('2a864886f70d010107'),
    tlv(0x30, tlv(0xa0, hash), tlv(0xa1, tlv(0x30, oid('2a864886f70d010108'), hash))),
  );
  const recipient = tlv(
    0x30,
    tlv(0x02, Uint8Array.of(2)),
    tlv(0x80, randomBytes(32)),
    oaep,
    tlv(0x04, wrapped),
  );
  const content = constructed(
    form,
    0x30,
    oid('2a864886f70d010701'),
    tlv(0x30, oid(changes.cipherOid ?? '60864801650304012a'), tlv(0x04, iv)),
    form === 'definite' ? tlv(0x80, ciphertext) : constructed(form, 0xa0, tlv(0x04, ciphertext)),
  );
  const attributes = changes.attributes ? [tlv(0xa1)] : [];
  const enveloped = constructed(
    form,
    0x30,
    tlv(0x02, Uint8Array.of(2)),
    tlv(0x31, ...Array.from({ length: recipients }, () => recipient)),
    content,
    ...attributes,
  );
  return constructed(form, 0x30, oid('2a864886f70d010703'), constructed(form, 0xa0, enveloped));
}

export function toPublicKey(spki: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
}

/** A flattened JWE with RSA-OAEP-256 and A256GCM (RFC 7516 section 7.2.2). */
export function makeJwe(
  plaintext: Uint8Array,
  publicKey: KeyObject,
  { header = { alg: 'RSA-OAEP-256', enc: 'A256GCM' }, aad }: { header?: object; aad?: string } = {},
): Record<string, string> {
  const [contentKey, iv] = [randomBytes(32), randomBytes(12)];
  const text = Buffer.from(JSON.stringify(header)).toString('base64url');
  const cipher = createCipheriv('aes-256-gcm', contentKey, iv);
  cipher.setAAD(Buffer.from(aad === undefined ? text : `${text}.${aad}`));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return {
    protected: text,
    encrypted_key: encryptOaep(publicKey, contentKey).toString('base64url'),
    ...(aad !== undefined && { aad }),
    iv: iv.toString('base64url'),
    ciphertext: ciphertext.toString('base64url'),
    tag: cipher.getAuthTag().toString('base64url'),
  };
}

export function encryptOaep(publicKey: KeyObject, data: Uint8Array): Buffer {
  return publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
    data,
  );
}

/** CKM_RSA_AES_KEY_WRAP with SHA-256: an AES key under RSA-OAEP, and the material under RFC 5649. */
export function wrapKeyMaterial(publicKey: KeyObject, material: Uint8Array): Buffer {
  const aesKey = randomBytes(32);
  const cipher = createCipheriv('id-aes256-wrap-pad', aesKey, Buffer.from('a65959a6', 'hex'));
  return Buffer.concat([encryptOaep(publicKey, aesKey), cipher.update(material), cipher.final()]);
}

/** Text of a JWS whose signature nobody checks. */
export function unsignedJws(payload: unknown): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'RS256' })}.${part(payload)}.${randomBytes(16).toString('base64url')}`;
}
