import type { KemInterface } from '@hpke/core';
import { concat, utf8 } from '../../attestation/bytes/bytes.ts';
import {
  KEY_LABEL,
  NONCE_LABEL,
  type HpkeRuntime,
  type Receiving,
  type ResponseKeys,
} from '../../attestation/channel/runtime.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { HPKE_SUITE, HYBRID_SUITE, type HpkeSuite } from '../../attestation/keyset.ts';
import {
  agree,
  agreementKey,
  GCM_IV_BYTES,
  GCM_KEY_BYTES,
  openGcm,
  sealGcm,
  type AgreementKey,
} from './openssl.ts';

const SECRET_BYTES = 32;
const MODE_BASE = Uint8Array.of(0);
const NOTHING = new Uint8Array(0);
const VERSION = utf8('HPKE-v1');

/** A request is opened in some twenty hashes; the library goes through as many promises for each. */
const hmacSha256 = (key: Uint8Array, data: Uint8Array): Uint8Array => nodeCrypto.hmacSha256(key, data);
/** RFC 5869 section 2.2: no salt is one of zeros. */
const NO_SALT = new Uint8Array(SECRET_BYTES);

/** `LabeledExtract` and `LabeledExpand` of RFC 9180 section 4, for one suite id. */
class LabeledHkdf {
  readonly #prefix: Uint8Array;

  constructor(suiteId: Uint8Array) {
    this.#prefix = concat(VERSION, suiteId);
  }

  extract(salt: Uint8Array, label: Uint8Array, ikm: Uint8Array): Uint8Array {
    return hmacSha256(salt, concat(this.#prefix, label, ikm));
  }

  /** At most 32 bytes: one block. */
  expand(prk: Uint8Array, label: Uint8Array, info: Uint8Array, length: number): Uint8Array {
    const labeled = concat(Uint8Array.of(length >> 8, length & 0xff), this.#prefix, label, info);
    return expandOnce(prk, labeled, length);
  }
}

/** HKDF-Expand (RFC 5869 section 2.3) to one block at the most. */
function expandOnce(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (length > SECRET_BYTES) throw new RangeError('one block of HKDF-SHA256 has 32 bytes');
  return hmacSha256(prk, concat(info, Uint8Array.of(1))).subarray(0, length);
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

const DHKEM = new LabeledHkdf(concat(utf8('KEM'), uint16(HPKE_SUITE.kem)));
const [EAE_PRK, SHARED_SECRET] = [utf8('eae_prk'), utf8('shared_secret')];

/** `Decap` of DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1. */
export function sharedSecretOf(key: AgreementKey, enc: Uint8Array): Uint8Array {
  const prk = DHKEM.extract(NO_SALT, EAE_PRK, agree(key, enc));
  return DHKEM.expand(prk, SHARED_SECRET, concat(enc, key.publicKey), SECRET_BYTES);
}

const LABEL = {
  pskId: utf8('psk_id_hash'),
  info: utf8('info_hash'),
  secret: utf8('secret'),
  key: utf8('key'),
  nonce: utf8('base_nonce'),
  exporter: utf8('exp'),
  exported: utf8('sec'),
} as const;

/** Base mode of one suite (RFC 9180 sections 5.1 and 5.2), receiving. */
class BaseMode {
  readonly #hkdf: LabeledHkdf;
  /** `key_schedule_context` of each `info`: there are as many as forms of bodies. */
  readonly #contexts = new Map<Uint8Array, Uint8Array>();

  constructor({ kem, kdf, aead }: HpkeSuite) {
    this.#hkdf = new LabeledHkdf(concat(utf8('HPKE'), uint16(kem), uint16(kdf), uint16(aead)));
  }

  receive(sharedSecret: Uint8Array, info: Uint8Array): Received {
    const hkdf = this.#hkdf;
    const context = this.#contextOf(info);
    const secret = hkdf.extract(sharedSecret, LABEL.secret, NOTHING);
    return new Received(hkdf, {
      key: hkdf.expand(secret, LABEL.key, context, GCM_KEY_BYTES),
      nonce: hkdf.expand(secret, LABEL.nonce, context, GCM_IV_BYTES),
      exporter: hkdf.expand(secret, LABEL.exporter, context, SECRET_BYTES),
    });
  }

  #contextOf(info: Uint8Array): Uint8Array {
    const known = this.#contexts.get(info);
    if (known) return known;
    const pskId = this.#hkdf.extract(NO_SALT, LABEL.pskId, NOTHING);
    const made = concat(MODE_BASE, pskId, this.#hkdf.extract(NO_SALT, LABEL.info, info));
    if (this.#contexts.size < MAX_CONTEXTS) this.#contexts.set(info, made);
    return made;
  }
}

const MAX_CONTEXTS = 8;

interface Secrets {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly exporter: Uint8Array;
}

/** One context. */
class Received implements Receiving {
  readonly #hkdf: LabeledHkdf;
  readonly #secrets: Secrets;
  #sequence = 0;

  constructor(hkdf: LabeledHkdf, secrets: Secrets) {
    this.#hkdf = hkdf;
    this.#secrets = secrets;
  }

  open(ciphertext: Uint8Array, aad?: Uint8Array): Uint8Array {
    const { key, nonce } = this.#secrets;
    const iv = Buffer.from(nonce);
    // The number is far below 2^32: one body has 4,096 frames at the most.
    iv.writeUInt32BE((iv.readUInt32BE(GCM_IV_BYTES - 4) ^ this.#sequence) >>> 0, GCM_IV_BYTES - 4);
    const opened = openGcm(key, iv, ciphertext, aad);
    this.#sequence++;
    return opened;
  }

  export(context: Uint8Array, length: number): Uint8Array {
    return this.#hkdf.expand(this.#secrets.exporter, LABEL.exported, context, length);
  }
}

function responseKeys(salt: Uint8Array, secret: Uint8Array): ResponseKeys {
  const prk = hmacSha256(salt, secret);
  const key = expandOnce(prk, KEY_LABEL, GCM_KEY_BYTES);
  return {
    iv: expandOnce(prk, NONCE_LABEL, GCM_IV_BYTES),
    seal: (nonce, plaintext) => sealGcm(key, nonce, plaintext),
    open: (nonce, ciphertext) => openGcm(key, nonce, ciphertext),
  };
}

const classical = new BaseMode(HPKE_SUITE);
const hybrid = new BaseMode(HYBRID_SUITE);
let xWing: Promise<KemInterface> | undefined;

/** ML-KEM is loaded with the first request that needs it. */
async function loadXWing(): Promise<KemInterface> {
  const { XWing } = await import('@hpke/hybridkem-x-wing');
  return new XWing();
}

/** Receiving on OpenSSL, for requests whose KEM is X25519. */
export const nodeRuntime = {
  receive: (privateKey, enc, info) => classical.receive(sharedSecretOf(agreementKey(privateKey), enc), info),
  responseKeys,
} as const satisfies HpkeRuntime;

/** The same for X-Wing, whose ML-KEM is the library's. */
export const hybridNodeRuntime: HpkeRuntime = {
  receive: async (recipientKey, enc, info) => {
    const kem = await (xWing ??= loadXWing());
    return hybrid.receive(new Uint8Array(await kem.decap({ recipientKey, enc })), info);
  },
  responseKeys,
};
