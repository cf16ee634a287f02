import { prepareSeal, type SealedBody } from '../../attestation/channel/hpke.ts';
import { chooseSuite, type WantedSuite } from '../../attestation/channel/suites.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { HpkeKey } from '../../attestation/keyset.ts';
import { ClientError } from './errors.ts';

type Prepared = ReturnType<typeof prepareSeal>;

/**
 * Seals requests to accepted evidence. The keys of the next one are agreed on while the answer to one is awaited, for
 * that takes longer than the rest.
 */
export class Sealer {
  readonly #suite: WantedSuite;
  #ahead: { readonly document: EvidenceDocument; readonly prepared: Prepared } | undefined;

  constructor(suite: WantedSuite) {
    this.#suite = suite;
  }

  /** Throws `SUITE_UNAVAILABLE` where the keyset has no key of the suite. */
  async seal(document: EvidenceDocument, plaintext: Uint8Array): Promise<SealedBody> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const prepared = ahead?.document === document ? ahead.prepared : prepareSeal(this.#keyOf(document));
    return (await prepared)(plaintext);
  }

  /** Agrees on the keys of the next request. */
  prepare(document: EvidenceDocument): void {
    if (this.#ahead?.document === document) return;
    const prepared = prepareSeal(this.#keyOf(document));
    // Whoever seals with it hears why it failed.
    prepared.catch(() => undefined);
    this.#ahead = { document, prepared };
  }

  /** From the keyset of accepted evidence, and from nowhere else. */
  #keyOf({ keyset }: EvidenceDocument): HpkeKey {
    try {
      return chooseSuite(keyset, this.#suite);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new ClientError('SUITE_UNAVAILABLE', error.message, { cause: error });
    }
  }
}
