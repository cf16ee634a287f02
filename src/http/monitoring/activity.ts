import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Outcome } from '../../../attestation/receipt/claims.ts';

/** What is counted of one answer that has a receipt. */
export interface CountedAnswer {
  readonly model: { readonly id: string };
  readonly outcome: Outcome;
  /** Counts such as `prompt_tokens`. */
  readonly usage: ReadonlyMap<string, number>;
}

/** What happened in one span, each a number per second unless it says otherwise. */
export interface ActivityRates {
  /** Answered inference requests. */
  readonly requests: number;
  /** Of these, those with a status of 500 and above. */
  readonly failures: number;
  /** Milliseconds from the head of an inference request to the end of its answer; null where there was none. */
  readonly p50: number | null;
  readonly p99: number | null;
  readonly receipts: number;
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** A histogram counts whole microseconds, up to an hour, to three digits. */
const LATENCY = { lowest: 1, highest: 3_600_000_000, figures: 3 } as const;

/** Counts what happens between two samples. Constant memory, whatever happens. */
export class Activity {
  readonly #latency: RecordableHistogram = createHistogram(LATENCY);
  #requests = 0;
  #failures = 0;
  #receipts = 0;
  #promptTokens = 0;
  #completionTokens = 0;

  countRequest(status: number, seconds: number): void {
    this.#requests++;
    if (status >= 500) this.#failures++;
    this.#latency.record(Math.min(Math.max(1, Math.round(seconds * 1e6)), LATENCY.highest));
  }

  countAnswer({ usage }: CountedAnswer): void {
    this.#receipts++;
    this.#promptTokens += usage.get('prompt_tokens') ?? 0;
    this.#completionTokens += usage.get('completion_tokens') ?? 0;
  }

  /** What happened since the last call, `seconds` ago; counting begins anew. */
  take(seconds: number): ActivityRates {
    const perSecond = (count: number): number => (seconds > 0 ? rounded(count / seconds) : 0);
    const percentile = (part: number): number | null =>
      this.#requests > 0 ? rounded(this.#latency.percentile(part) / 1000) : null;
    const rates = {
      requests: perSecond(this.#requests),
      failures: perSecond(this.#failures),
      p50: percentile(50),
      p99: percentile(99),
      receipts: perSecond(this.#receipts),
      promptTokens: perSecond(this.#promptTokens),
      completionTokens: perSecond(this.#completionTokens),
    };
    this.#requests = this.#failures = this.#receipts = 0;
    this.#promptTokens = this.#completionTokens = 0;
    this.#latency.reset();
    return rates;
  }
}

function rounded(value: number): number {
  return Math.round(value * 1000) / 1000;
}
