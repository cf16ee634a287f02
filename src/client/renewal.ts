import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { ClientError } from './errors.ts';
import type { Trust } from './trust.ts';

export interface RenewalParts {
  /** Asks for evidence with a fresh nonce and judges it; throws a `ClientError` unless it is accepted. */
  readonly appraise: () => Promise<Trust>;
  /** Nothing is sealed to evidence that is older, milliseconds. */
  readonly maxAgeMs: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** From this part of its life on, evidence is renewed while it is still used. */
const EARLY = 0.8;
/** Nothing is sealed to keys that end sooner: the request takes its time, and clocks differ. */
const BEFORE_END_MS = 60_000;
/** A renewal ahead of time that failed is tried again after this long. */
const RETRY_MS = 30_000;
/** What another attempt cannot make good: the service was seen, and it is not what the policy takes. */
const FINAL: readonly string[] = ['EVIDENCE_REFUSED', 'TLS_REFUSED'];

/**
 * Keeps the evidence of a session young. All who need it renewed share one renewal. Once a renewal was refused, every
 * later request fails with the same error, and nothing is sent.
 */
export class Renewal {
  readonly #parts: RenewalParts;
  /** Everything that was accepted in this session. */
  readonly #accepted = new WeakSet<Trust['document']>();
  #trust: Trust;
  #pending: Promise<Trust> | undefined;
  #refused: ClientError | undefined;
  #drifted = false;
  #notBefore = 0;

  constructor(trust: Trust, parts: RenewalParts) {
    this.#trust = trust;
    this.#accepted.add(trust.document);
    this.#parts = parts;
  }

  /** The newest accepted evidence, however old. */
  get trust(): Trust {
    return this.#trust;
  }

  /** Whether this session accepted the document. */
  hasAccepted(document: Trust['document']): boolean {
    return this.#accepted.has(document);
  }

  /** Evidence to seal to; renewed where it is at its end. Throws where that fails. */
  async current(): Promise<Trust> {
    if (this.#refused) throw this.#refused;
    const trust = this.#trust;
    if (this.#drifted || this.#isSpent(trust, 1)) return this.renew(trust);
    if (this.#isSpent(trust, EARLY) && this.#parts.now() >= this.#notBefore) {
      this.#notBefore = this.#parts.now() + RETRY_MS;
      // Whoever comes when it is spent hears why it failed.
      this.renew(trust).catch(() => undefined);
    }
    return trust;
  }

  /** Newer evidence than this, which may be there already. Throws a `ClientError` unless it is accepted. */
  async renew(stale: Trust): Promise<Trust> {
    if (this.#refused) throw this.#refused;
    if (stale !== this.#trust) return this.#trust;
    this.#pending ??= this.#appraise().finally(() => (this.#pending = undefined));
    return this.#pending;
  }

  /** The service is no longer what this evidence says: nothing more is sealed to it. */
  drift(seen: Trust): void {
    if (seen === this.#trust) this.#drifted = true;
  }

  async #appraise(): Promise<Trust> {
    try {
      const trust = await this.#parts.appraise();
      this.#trust = trust;
      this.#accepted.add(trust.document);
      this.#drifted = false;
      return trust;
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      if (FINAL.includes(error.code)) this.#refused = error;
      if (error.status === undefined) throw error;
      // The status is that of a request for evidence: none of the caller's was sent.
      const message = `the evidence was not renewed: ${error.message}`;
      throw new ClientError(error.code, message, { cause: error });
    }
  }

  /** Whether evidence has lived this part of its life. Where the clock went back, nobody knows its age. */
  #isSpent({ askedAt, document }: Trust, part: number): boolean {
    const { maxAgeMs, now } = this.#parts;
    const end = Math.min(askedAt + maxAgeMs, document.keyset.notAfter * 1000 - BEFORE_END_MS);
    const time = now();
    return time < askedAt || time >= askedAt + part * (end - askedAt);
  }
}

/** Whether two documents vouch for the same keys. */
export function sameKeys(one: Trust, other: Trust): boolean {
  return equalBytes(one.document.statement.keysetDigest, other.document.statement.keysetDigest);
}
