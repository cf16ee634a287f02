import { randomUUID } from 'node:crypto';
import { hpkeSuite } from '../../attestation/channel/hpke.ts';
import { ALG } from '../../attestation/cose/key.ts';
import { HPKE_SUITE, type Keyset } from '../../attestation/keyset.ts';
import { generateSigningKey, type SigningKey } from './signing.ts';

export interface KeyringOptions {
  /** Host name in the log's origin. */
  readonly host: string;
  /** Seconds since 1970 at which the keyset ends. */
  readonly notAfter: number;
  readonly software: Keyset['software'];
  readonly receiptAlgorithm: 'ES256' | 'Ed25519';
}

/**
 * The keys of one instance. Private halves live in this object and nowhere else: a host that reads them has broken
 * the memory protection that the evidence vouches for.
 */
export interface Keyring {
  readonly keyset: Keyset;
  /** Signs receipts and records. */
  readonly receipt: SigningKey;
  /** Signs checkpoints. */
  readonly log: SigningKey;
  /** Signs COSE Receipts of the log. */
  readonly inclusion: SigningKey;
  /** Opens requests sealed to the keyset. */
  readonly hpke: CryptoKeyPair;
}

/** Makes the keys of a new instance, generation 0. */
export async function generateKeyring(options: KeyringOptions): Promise<Keyring> {
  const algorithm = options.receiptAlgorithm === 'ES256' ? ALG.es256 : ALG.ed25519;
  const receipt = generateSigningKey(algorithm);
  const log = generateSigningKey(ALG.ed25519);
  const inclusion = generateSigningKey(algorithm);
  const suite = hpkeSuite();
  const hpke = await suite.kem.generateKeyPair();
  const publicKey = new Uint8Array(await suite.kem.serializePublicKey(hpke.publicKey));
  const hex = randomUUID().replaceAll('-', '');
  const keyset: Keyset = {
    instance: Buffer.from(hex, 'hex'),
    generation: 0,
    previous: undefined,
    receipt: receipt.publicKey,
    log: log.publicKey,
    origin: `${options.host}/vouchsafe/${hex}`,
    inclusion: inclusion.publicKey,
    hpke: [{ ...HPKE_SUITE, publicKey }],
    tlsSpki: undefined,
    notAfter: options.notAfter,
    software: options.software,
  };
  return { keyset, receipt, log, inclusion, hpke };
}
