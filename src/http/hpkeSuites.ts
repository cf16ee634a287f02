import {
  AeadId,
  CipherSuite,
  DecapError,
  type AeadEncryptionContext,
  type AeadInterface,
  type KemInterface,
  type RecipientContextParams,
} from '@hpke/core';
import { DhkemX25519HkdfSha256 } from '@hpke/dhkem-x25519';
import { HmacHkdf } from '../../attestation/channel/hkdf.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sharedSecretOf } from '../../attestation/crypto/nodeHpke.ts';
import {
  agreementKey,
  GCM_IV_BYTES,
  GCM_KEY_BYTES,
  GCM_TAG_BYTES,
  openGcm,
  sealGcm,
} from '../../attestation/crypto/openssl.ts';

type Bytes = ArrayBufferLike | ArrayBufferView;

/** DHKEM(X25519, HKDF-SHA256) of the library, opening on OpenSSL. */
class OpensslX25519 extends DhkemX25519HkdfSha256 {
  // eslint-disable-next-line @typescript-eslint/require-await -- what is thrown inside is to be a rejection
  override async decap({ recipientKey, enc }: RecipientContextParams): Promise<ArrayBuffer> {
    const key = 'privateKey' in recipientKey ? recipientKey.privateKey : recipientKey;
    try {
      return owned(sharedSecretOf(agreementKey(key), bytesOf(enc)));
    } catch (error) {
      throw new DecapError(error);
    }
  }
}

/** AES-256-GCM of OpenSSL. */
class OpensslGcm implements AeadInterface {
  readonly id = AeadId.Aes256Gcm;
  readonly keySize = GCM_KEY_BYTES;
  readonly nonceSize = GCM_IV_BYTES;
  readonly tagSize = GCM_TAG_BYTES;

  createEncryptionContext(key: Bytes): AeadEncryptionContext {
    const raw = bytesOf(key);
    return {
      seal: (iv, data, aad) => Promise.resolve(sealGcm(raw, bytesOf(iv), bytesOf(data), bytesOf(aad)).buffer),
      // eslint-disable-next-line @typescript-eslint/require-await -- what is thrown inside is to be a rejection
      open: async (iv, data, aad) => owned(openGcm(raw, bytesOf(iv), bytesOf(data), bytesOf(aad))),
    };
  }
}

function bytesOf(bytes: Bytes): Uint8Array {
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/** Bytes as a buffer of their own: the library takes all of a buffer for its content. */
function owned(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}

function suiteOf(kem: KemInterface): CipherSuite {
  return new CipherSuite({ kem, kdf: new HmacHkdf(nodeCrypto), aead: new OpensslGcm() });
}

const classical = suiteOf(new OpensslX25519());

/** Suites of the library on OpenSSL, for what is opened with contexts of its own, such as Oblivious HTTP. */
export const nodeSuites = { x25519: (): CipherSuite => classical } as const;
