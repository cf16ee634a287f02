import type { KemInterface } from '@hpke/core';
import { concat, utf8 } from '../bytes/bytes.ts';
import {
  KEY_LABEL,
  NONCE_LABEL,
  type HpkeRuntime,
  type HpkeSender,
  type Receiving,
  type ResponseKeys,
  type Sending,
} from '../channel/runtime.ts';
import { Refusal } from '../errors.ts';
import { HPKE_SUITE, HYBRID_SUITE, isSuite, type HpkeSuite } from '../keyset.ts';
import {
  agree,
  agreementKey,
  GCM_IV_BYTES,
  GCM_KEY_BYTES,
  generateAgreementKey,
  hmacSha256,
  openGcm,
  sealGcm,
  type AgreementKey,
} from './openssl.ts';

const SECRET_BYTES = 32;
const MODE_BASE = Uint8Array.of(0);
const NOTHING = new Uint8Array(0);
const VERSION = utf8('HPKE-v1');

/** RFC 5869 section 2.2: no salt is one of zeros. */
const NO_SALT = new Uint8Array(SECRET_BYTES);

/** Number of the one block (RFC 5869 section 2.3). */
const FIRST_BLOCK = Uint8Array.of(1);

/**
 * `LabeledExtract` and `LabeledExpand` of RFC 9180 section 4, for one suite id. A request takes some twenty hashes; the
 * library goes through as many promises for each.
 */
class LabeledHkdf {
  readonly #prefix: Uint8Array;

  constructor(suiteId: Uint8Array) {
    this.#prefix = concat(VERSION, suiteId);
  }

  extract(salt: Uint8Array, label: Uint8Array, ikm: Uint8Array): Uint8Array {
    return hmacSha256(salt, this.#prefix, label, ikm);
  }

  /** At most 32 bytes: one block. */
  expand(prk: Uint8Array, label: Uint8Array, info: Uint8Array, length: number): Uint8Array {
    return expandOnce(prk, length, uint16(length), this.#prefix, label, info);
  }
}

/** HKDF-Expand (RFC 5869 section 2.3) to one block at the most, with the info in parts. */
function expandOnce(prk: Uint8Array, length: number, ...info: readonly Uint8Array[]): Uint8Array {
  if (length > SECRET_BYTES) throw new RangeError('one block of HKDF-SHA256 has 32 bytes');
  return hmacSha256(prk, ...info, FIRST_BLOCK).subarray(0, length);
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

const DHKEM = new LabeledHkdf(concat(utf8('KEM'), uint16(HPKE_SUITE.kem)));
const [EAE_PRK, SHARED_SECRET] = [utf8('eae_prk'), utf8('shared_secret')];

/** `Decap` of DHKEM(X25519, HKDF-SHA256), RFC 9180 section 4.1. */
export function sharedSecretOf(key: AgreementKey, enc: Uint8Array): Uint8Array {
  return extractAndExpand(agree(key, enc), enc, key.publicKey);
}

/** `Encap` of the same: the public half of the ephemeral key is `enc`. */
function sharedSecretFor(recipient: Uint8Array, ephemeral: AgreementKey): Uint8Array {
  return extractAndExpand(agree(ephemeral, recipient), ephemeral.publicKey, recipient);
}

function extractAndExpand(dh: Uint8Array, enc: Uint8Array, recipient: Uint8Array): Uint8Array {
  const prk = DHKEM.extract(NO_SALT, EAE_PRK, dh);
  return DHKEM.expand(prk, SHARED_SECRET, concat(enc, recipient), SECRET_BYTES);
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

/** Base mode of one suite (RFC 9180 sections 5.1 and 5.2). */
class BaseMode {
  readonly #hkdf: LabeledHkdf;
  /** `key_schedule_context` of each `info`: there are as many as forms of bodies. */
  readonly #contexts = new Map<Uint8Array, Uint8Array>();

  constructor({ kem, kdf, aead }: HpkeSuite) {
    this.#hkdf = new LabeledHkdf(concat(utf8('HPKE'), uint16(kem), uint16(kdf), uint16(aead)));
  }

  contextOf(sharedSecret: Uint8Array, info: Uint8Array): Context {
    const hkdf = this.#hkdf;
    const context = this.#scheduleContextOf(info);
    const secret = hkdf.extract(sharedSecret, LABEL.secret, NOTHING);
    return new Context(hkdf, {
      key: hkdf.expand(secret, LABEL.key, context, GCM_KEY_BYTES),
      nonce: hkdf.expand(secret, LABEL.nonce, context, GCM_IV_BYTES),
      exporter: hkdf.expand(secret, LABEL.exporter, context, SECRET_BYTES),
    });
  }

  #scheduleContextOf(info: Uint8Array): Uint8Array {
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

/** One context, of a receiver or of a sender: it opens or seals, and never both. */
class Context implements Receiving {
  readonly #hkdf: LabeledHkdf;
  readonly #secrets: Secrets;
  #sequence = 0;

  constructor(hkdf: LabeledHkdf, secrets: Secrets) {
    this.#hkdf = hkdf;
    this.#secrets = secrets;
  }

  open(ciphertext: Uint8Array, aad?: Uint8Array): Uint8Array {
    const opened = openGcm(this.#secrets.key, this.#nonce(), ciphertext, aad);
    this.#sequence++;
    return opened;
  }

  seal(plaintext: Uint8Array, aad?: Uint8Array): Uint8Array {
    const sealed = sealGcm(this.#secrets.key, this.#nonce(), plaintext, aad);
    this.#sequence++;
    return sealed;
  }

  #nonce(): Buffer {
    const iv = Buffer.from(this.#secrets.nonce);
    // The number is far below 2^32: one body has 4,096 frames at the most.
    iv.writeUInt32BE((iv.readUInt32BE(GCM_IV_BYTES - 4) ^ this.#sequence) >>> 0, GCM_IV_BYTES - 4);
    return iv;
  }

  export(context: Uint8Array, length: number): Uint8Array {
    return this.#hkdf.expand(this.#secrets.exporter, LABEL.exported, context, length);
  }
}

function responseKeys(salt: Uint8Array, secret: Uint8Array): ResponseKeys {
  const prk = hmacSha256(salt, secret);
  const key = expandOnce(prk, GCM_KEY_BYTES, KEY_LABEL);
  return {
    iv: expandOnce(prk, GCM_IV_BYTES, NONCE_LABEL),
    seal: (nonce, plaintext) => sealGcm(key, nonce, plaintext),
    open: (nonce, ciphertext) => openGcm(key, nonce, ciphertext),
  };
}

const classical = new BaseMode(HPKE_SUITE);
const hybrid = new BaseMode(HYBRID_SUITE);
let xWing: Promise<KemInterface> | undefined;

/** ML-KEM is loaded with the first request that needs it. */
async function xWingKem(): Promise<KemInterface> {
  xWing ??= import('@hpke/hybridkem-x-wing').then(({ XWing }) => new XWing());
  return xWing;
}

/** Receiving on OpenSSL, for requests whose KEM is X25519. */
export const nodeRuntime = {
  receive: (privateKey, enc, info) =>
    classical.contextOf(sharedSecretOf(agreementKey(privateKey), enc), info),
  responseKeys,
} as const satisfies HpkeRuntime;

/** The same for X-Wing, whose ML-KEM is the library's. */
export const hybridNodeRuntime: HpkeRuntime = {
  receive: async (recipientKey, enc, info) => {
    const kem = await xWingKem();
    return hybrid.contextOf(new Uint8Array(await kem.decap({ recipientKey, enc })), info);
  },
  responseKeys,
};

/** One context of a sender, under an X25519 key that is used for this alone. */
export function sendUnder(ephemeral: AgreementKey, recipient: Uint8Array, info: Uint8Array): NodeSending {
  const context = classical.contextOf(sharedSecretFor(recipient, ephemeral), info);
  return sendingOf(ephemeral.publicKey, context);
}

/** What it computes, it computes at once. */
interface NodeSending extends Sending {
  seal(plaintext: Uint8Array, aad?: Uint8Array): Uint8Array;
  export(context: Uint8Array, length: number): Uint8Array;
}

function sendingOf(enc: Uint8Array, context: Context): NodeSending {
  return {
    enc,
    seal: (plaintext, aad) => context.seal(plaintext, aad),
    export: (label, length) => context.export(label, length),
  };
}

async function sendHybrid(publicKey: Uint8Array, info: Uint8Array): Promise<Sending> {
  const kem = await xWingKem();
  const recipientPublicKey = await kem.deserializePublicKey(publicKey);
  const { sharedSecret, enc } = await kem.encap({ recipientPublicKey });
  return sendingOf(new Uint8Array(enc), hybrid.contextOf(new Uint8Array(sharedSecret), info));
}

/** Sending on OpenSSL; of X-Wing the ML-KEM is the library's. */
export const nodeSender: HpkeSender = {
  send: (key, info) => {
    if (isSuite(key, HPKE_SUITE)) return sendUnder(generateAgreementKey(), key.publicKey, info);
    if (isSuite(key, HYBRID_SUITE)) return sendHybrid(key.publicKey, info);
    throw new Refusal('UNSUPPORTED', 'the HPKE key is of no suite known here');
  },
  responseKeys,
};
