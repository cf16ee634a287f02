import { prepareSeal, type SealedBody } from '../../attestation/channel/hpke.ts';
import type { HpkeSender } from '../../attestation/channel/runtime.ts';
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
  readonly #sender: HpkeSender | undefined;
  #ahead: { readonly document: EvidenceDocument; readonly prepared: Prepared } | undefined;

  /** On WebCrypto, unless the runtime has something quicker. */
  constructor(suite: WantedSuite, sender?: HpkeSender) {
    this.#suite = suite;
    this.#sender = sender;
  }

  /** Throws `SUITE_UNAVAILABLE` where the keyset has no key of the suite. */
  async seal(document: EvidenceDocument, plaintext: Uint8Array): Promise<SealedBody> {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    const prepared = ahead?.document === document ? ahead.prepared : this.#agree(document);
    return (await prepared)(plaintext);
  }

  /** Agrees on the keys of the next request, once what is being sent went out: that comes first on this thread. */
  prepare(document: EvidenceDocument): void {
    setTimeout(() => {
      this.#prepareNow(document);
    }, 0);
  }

  #prepareNow(document: EvidenceDocument): void {
    if (this.#ahead?.document === document) return;
    const prepared = this.#agree(document);
    // Whoever seals with it hears why it failed.
    prepared.catch(() => undefined);
    this.#ahead = { document, prepared };
  }

  async #agree(document: EvidenceDocument): Prepared {
    return prepareSeal(this.#keyOf(document), this.#sender);
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
