import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Vouching } from '../../receipts/vouching.ts';
import type { Admission } from '../admission.ts';
import type { ServedLog } from '../servedLog.ts';
import { Activity, type CountedAnswer } from './activity.ts';
import { type Sample, Series, type SeriesPage } from './series.ts';

/** Time between two samples. */
export const SAMPLE_SECONDS = 5;
/** One hour: about 100 kB. */
const SAMPLES = 720;
const MINUTE_SAMPLES = 60 / SAMPLE_SECONDS;
/** Evidence documents that are remembered. */
const DOCUMENTS = 60;

export interface MonitorParts {
  readonly vouching: Pick<Vouching, 'hasHead' | 'head' | 'collectedAt' | 'uncovered'>;
  readonly engine: Pick<Engine, 'health'>;
  readonly admission: Pick<Admission, 'inside' | 'waiting'>;
  readonly log: Pick<ServedLog, 'publishedSize'>;
  /** Whether a route answers inference: the others say nothing of what callers wait for. */
  readonly isInference: (route: string) => boolean;
  readonly now: () => number;
}

/** An evidence document as it was seen. Times are milliseconds since 1970. */
export interface SeenDocument {
  readonly seq: number;
  readonly digest: string;
  readonly collectedAt: number;
  readonly logSize: number;
}

/**
 * Watches the service for its operator: what happened in the last hour, in samples, and the last evidence documents
 * and checkpoint. It has no names and no content, and its memory is bounded. Documents between two looks are not seen.
 */
export class Monitor {
  readonly #parts: MonitorParts;
  readonly #activity = new Activity();
  readonly #series = new Series(SAMPLES);
  readonly #documents: SeenDocument[] = [];
  readonly #timer: NodeJS.Timeout;
  #checkpoint: { readonly size: number; readonly at: number } | undefined;
  #sampledAt = performance.now();

  constructor(parts: MonitorParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => {
      this.sample();
    }, SAMPLE_SECONDS * 1000);
    this.#timer.unref();
    this.look();
  }

  countRequest(route: string, status: number, seconds: number): void {
    if (this.#parts.isInference(route)) this.#activity.countRequest(status, seconds);
  }

  countAnswer(answer: CountedAnswer): void {
    this.#activity.countAnswer(answer);
  }

  /** Ends the span since the last sample. */
  sample(): void {
    const { vouching, engine, admission, now } = this.#parts;
    const at = performance.now();
    const rates = this.#activity.take((at - this.#sampledAt) / 1000);
    this.#sampledAt = at;
    const { inside, waiting } = admission;
    const { pending } = engine.health();
    this.#series.add({ ...rates, at: now(), inside, waiting, pending, uncovered: vouching.uncovered });
    this.look();
  }

  /** Samples from the number `from` on. */
  page(from: number): SeriesPage {
    return this.#series.page(from);
  }

  /** Rates of the last minute, per second. */
  get lastMinute(): { readonly requests: number; readonly failures: number } {
    const samples = this.#series.newest(MINUTE_SAMPLES);
    const mean = (read: (sample: Sample) => number): number =>
      samples.reduce((sum, sample) => sum + read(sample), 0) / Math.max(1, samples.length);
    return { requests: mean(({ requests }) => requests), failures: mean(({ failures }) => failures) };
  }

  /** The last evidence documents, oldest first. */
  get documents(): readonly SeenDocument[] {
    return this.#documents;
  }

  /** When the newest checkpoint was first seen; undefined while there is none. */
  get checkpointAt(): number | undefined {
    return this.#checkpoint?.at;
  }

  /** Notes the newest document and checkpoint. */
  look(): void {
    const { vouching, log, now } = this.#parts;
    const size = log.publishedSize;
    if (size > 0 && size !== this.#checkpoint?.size) this.#checkpoint = { size, at: now() };
    if (!vouching.hasHead) return;
    const { seq, digest, logSize } = vouching.head;
    if (this.#documents.at(-1)?.seq === seq) return;
    this.#documents.push({ seq, digest: toHex(digest), collectedAt: vouching.collectedAt, logSize });
    if (this.#documents.length > DOCUMENTS) this.#documents.shift();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
