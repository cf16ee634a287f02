import { randomUUID } from 'node:crypto';
import type { CipherSuite } from '@hpke/core';
import { hpkeSuite, hybridSuite } from '../../attestation/channel/suites.ts';
import { ALG } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import {
  encodeKeyset,
  HPKE_SUITE,
  HYBRID_SUITE,
  keysetDigest,
  type HpkeKey,
  type HpkeSuite,
  type Keyset,
} from '../../attestation/keyset.ts';
import { generateSigningKey, type SigningKey } from './signing.ts';
import type { TlsIdentity } from './tls/identity.ts';

/** What the keys of any generation are made for. */
export interface GenerationOptions {
  /** Seconds since 1970 at which the keyset ends. */
  readonly notAfter: number;
  readonly software: Keyset['software'];
  readonly receiptAlgorithm: 'ES256' | 'Ed25519';
  /** The key of TLS; undefined where TLS does not end here. */
  readonly tls?: TlsIdentity | undefined;
}

export interface KeyringOptions extends GenerationOptions {
  /** Host name in the log's origin. */
  readonly host: string;
}

/**
 * The keys of one generation. Private halves live in this object and nowhere else: a host that reads them has broken
 * the memory protection that the evidence vouches for.
 */
export interface Keyring {
  readonly keyset: Keyset;
  /** Signs receipts and records. */
  readonly receipt: SigningKey;
  /** Signs checkpoints; the same in all generations. */
  readonly log: SigningKey;
  /** Signs COSE Receipts of the log. */
  readonly inclusion: SigningKey;
  /** Ed25519: signs receipts of ACI and nothing else; its own keyset names it, and a quote of its own vouches for that. */
  readonly aci: SigningKey;
  /** Opens requests sealed to the first HPKE entry of the keyset. */
  readonly hpke: CryptoKeyPair;
  /** Opens those sealed to its hybrid entry: ML-KEM-768 with X25519, for callers who fear that what is recorded now is read later. */
  readonly hybrid: CryptoKeyPair;
  readonly tls: TlsIdentity | undefined;
}

/** What stays the same in all generations of one instance. */
type Continued = Pick<Keyset, 'instance' | 'origin' | 'generation' | 'previous'>;

/** Makes the keys of a new instance, generation 0. */
export function generateKeyring(options: KeyringOptions): Promise<Keyring> {
  const hex = randomUUID().replaceAll('-', '');
  const continued = {
    instance: Buffer.from(hex, 'hex'),
    origin: `${options.host}/vouchsafe/${hex}`,
    generation: 0,
    previous: undefined,
  };
  return makeKeys(options, continued, generateSigningKey(ALG.ed25519));
}

/** Makes the keys of the generation after `former`: all of them new but the log key (DESIGN section 3). */
export function generateNextKeyring(former: Keyring, options: GenerationOptions): Promise<Keyring> {
  const { instance, origin, generation } = former.keyset;
  const previous = keysetDigest(encodeKeyset(former.keyset), nodeCrypto);
  return makeKeys(options, { instance, origin, generation: generation + 1, previous }, former.log);
}

async function makeKeys(options: GenerationOptions, continued: Continued, log: SigningKey): Promise<Keyring> {
  const { notAfter, software, tls } = options;
  const algorithm = options.receiptAlgorithm === 'ES256' ? ALG.es256 : ALG.ed25519;
  const receipt = generateSigningKey(algorithm);
  const inclusion = generateSigningKey(algorithm);
  const aci = generateSigningKey(ALG.ed25519);
  const classical = await generateHpkeKey(HPKE_SUITE, hpkeSuite());
  const hybrid = await generateHpkeKey(HYBRID_SUITE, await hybridSuite());
  const keyset: Keyset = {
    ...continued,
    receipt: receipt.publicKey,
    log: log.publicKey,
    inclusion: inclusion.publicKey,
    hpke: [classical.entry, hybrid.entry],
    tlsSpki: tls?.spki,
    notAfter,
    software,
  };
  return { keyset, receipt, log, inclusion, aci, hpke: classical.pair, hybrid: hybrid.pair, tls };
}

interface GeneratedHpkeKey {
  readonly pair: CryptoKeyPair;
  readonly entry: HpkeKey;
}

async function generateHpkeKey(ids: HpkeSuite, { kem }: CipherSuite): Promise<GeneratedHpkeKey> {
  const pair = await kem.generateKeyPair();
  const publicKey = new Uint8Array(await kem.serializePublicKey(pair.publicKey));
  return { pair, entry: { ...ids, publicKey } };
}

/**
 * Wipes a private key of HPKE. The library keeps it as 32 bytes in an object of JavaScript, that of X-Wing as the seed
 * of its two; one that WebCrypto or OpenSSL holds is wiped when its last reference is collected.
 */
export function wipeHpkeKey({ privateKey }: CryptoKeyPair): void {
  const { key } = privateKey as { readonly key?: unknown };
  if (key instanceof Uint8Array) key.fill(0);
}
