import type { Keyset } from '../../attestation/keyset.ts';
import {
  generateKeyring,
  generateNextKeyring,
  type GenerationOptions,
  type Keyring,
  type KeyringOptions,
  wipeHpkeKey,
} from './keyring.ts';
import type { TlsIdentity } from './tls/identity.ts';

/** Part of a generation's life after which the next one is due: what fails then is tried again for the rest of it. */
const DUE_AFTER = 0.8;
/** How long the keys of a former generation still open requests and sign inclusion (ms): 10 minutes. */
const OVERLAP_MS = 600_000;

export interface KeysetLineOptions extends Omit<KeyringOptions, 'notAfter' | 'tls'> {
  /** Life of a generation, seconds. */
  readonly lifetimeSeconds: number;
  /** Makes the key of TLS of a generation that ends then (seconds since 1970), or gives that of the operator. */
  readonly tls?: ((notAfter: number) => Promise<TlsIdentity>) | undefined;
  /** Told of each generation after the first, when it is in use. */
  readonly onEnter?: ((keyset: Keyset) => void) | undefined;
  /** Milliseconds; 10 minutes by default. */
  readonly overlapMs?: number | undefined;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * The generations of keys of one instance. At most three exist at once: one in use, the former one, whose keys still
 * open what was sealed to them for a while, and the next one, until evidence vouches for it.
 */
export class KeysetLine {
  readonly #options: KeysetLineOptions;
  #current: Keyring;
  #former: Keyring | undefined;
  #next: Keyring | undefined;
  #retiring: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: KeysetLineOptions, first: Keyring) {
    this.#options = options;
    this.#current = first;
  }

  /** Makes the keys of generation 0. */
  static async start(options: KeysetLineOptions): Promise<KeysetLine> {
    const generation = await generationOptions(options);
    return new KeysetLine(options, await generateKeyring({ ...generation, host: options.host }));
  }

  /** The generation in use. */
  get current(): Keyring {
    return this.#current;
  }

  get keyset(): Keyset {
    return this.#current.keyset;
  }

  /** The key of TLS of the generation in use. Throws where TLS does not end here. */
  get tls(): TlsIdentity {
    const { tls } = this.#current;
    if (!tls) throw new Error('TLS does not end here');
    return tls;
  }

  /** Private keys of X25519 that open sealed requests, the newest first. */
  get hpkeKeys(): readonly CryptoKey[] {
    return this.#opening.map(({ hpke }) => hpke.privateKey);
  }

  /** Those of the hybrid suite, of the same generations in the same order. */
  get hybridKeys(): readonly CryptoKey[] {
    return this.#opening.map(({ hybrid }) => hybrid.privateKey);
  }

  /** When the next generation is due, milliseconds since 1970. */
  get dueAt(): number {
    const rest = (1 - DUE_AFTER) * this.#options.lifetimeSeconds;
    return (this.#current.keyset.notAfter - rest) * 1000;
  }

  /** Makes the keys of the next generation. They are in use from `enter` on; until then the former ones are. */
  async next(): Promise<Keyring> {
    const next = await generateNextKeyring(this.#current, await generationOptions(this.#options));
    if (this.#closed) throw new Error('the keys of this instance were dropped');
    if (this.#next) dropKeys(this.#next, this.#current);
    this.#next = next;
    return next;
  }

  /**
   * Evidence vouches for the keys that `next` made last: they are in use. A generation that is still in its overlap
   * gives way to the one that is followed now.
   */
  enter(): void {
    const next = this.#next;
    if (!next) throw new Error('there is no next generation of keys');
    this.#next = undefined;
    this.#retire();
    const former = this.#current;
    this.#current = next;
    this.#former = former;
    former.receipt.drop();
    this.#retiring = setTimeout(() => {
      this.#retire();
    }, this.#options.overlapMs ?? OVERLAP_MS);
    this.#retiring.unref();
    this.#options.onEnter?.(next.keyset);
  }

  /** Drops all keys: the instance is at its end. */
  close(): void {
    this.#closed = true;
    this.#retire();
    if (this.#next) dropKeys(this.#next, this.#current);
    this.#next = undefined;
    dropKeys(this.#current, undefined);
    this.#current.log.drop();
  }

  /** The generations that open requests. */
  get #opening(): readonly Keyring[] {
    if (this.#closed) return [];
    return this.#former ? [this.#current, this.#former] : [this.#current];
  }

  #retire(): void {
    clearTimeout(this.#retiring);
    if (this.#former) dropKeys(this.#former, this.#current);
    this.#former = undefined;
  }
}

async function generationOptions(options: KeysetLineOptions): Promise<GenerationOptions> {
  const { software, receiptAlgorithm } = options;
  const notAfter = Math.floor(options.now() / 1000) + options.lifetimeSeconds;
  return { software, receiptAlgorithm, notAfter, tls: await options.tls?.(notAfter) };
}

/** All but the log key, and the TLS key where another generation has it, too: an operator's stays. */
function dropKeys({ receipt, inclusion, aci, hpke, hybrid, tls }: Keyring, kept: Keyring | undefined): void {
  receipt.drop();
  inclusion.drop();
  aci.drop();
  wipeHpkeKey(hpke);
  wipeHpkeKey(hybrid);
  if (tls !== kept?.tls) tls?.drop();
}
