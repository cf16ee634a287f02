import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Engine } from '../engine/engine.ts';
import type { Vouching } from '../receipts/vouching.ts';
import type { KeeperStatus } from '../collateral/keeper.ts';
import type { Admission } from './admission.ts';
import { registerEvidenceMetrics } from './evidenceMetrics.ts';
import type { CountedAnswer } from './monitoring/activity.ts';
import type { Monitor } from './monitoring/monitor.ts';
import type { ServiceState } from './monitoring/state.ts';
import { registerStateMetrics } from './monitoring/stateMetrics.ts';

/** How often the event loop is asked for its delay: what is measured is this longer. */
const DELAY_RESOLUTION_MS = 10;
const LATENCY_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface MetricsParts {
  readonly engine: Engine;
  readonly vouching: Vouching;
  readonly admission: Admission;
  readonly collateralStatus?: (() => KeeperStatus) | undefined;
  /** Counts for the console what is counted here, and ends with this. */
  readonly monitor: Pick<Monitor, 'countRequest' | 'countAnswer' | 'close'>;
  readonly now: () => number;
}

/** What operators measure. Labels are routes, statuses and served models, never anything else of a request. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #latency: Histogram<'route'>;
  readonly #receipts: Counter;
  readonly #answers: Counter<'model' | 'outcome'>;
  readonly #tokens: Counter<'kind'>;
  readonly #monitor: MetricsParts['monitor'];
  readonly #delay: IntervalHistogram;

  constructor(parts: MetricsParts) {
    const registers = [this.#registry];
    this.#requests = new Counter({
      name: 'vouchsafe_requests_total',
      help: 'Answered requests.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#latency = new Histogram({
      name: 'vouchsafe_request_seconds',
      help: 'Time from the head of a request to the end of its answer.',
      labelNames: ['route'],
      buckets: LATENCY_SECONDS,
      registers,
    });
    this.#receipts = new Counter({
      name: 'vouchsafe_receipts_issued_total',
      help: 'Receipts that are durable in the log.',
      registers,
    });
    this.#answers = new Counter({
      name: 'vouchsafe_answers_total',
      help: 'Answers that have a receipt, by model and how they ended.',
      labelNames: ['model', 'outcome'],
      registers,
    });
    this.#tokens = new Counter({
      name: 'vouchsafe_tokens_total',
      help: 'Tokens of answers that have a receipt; kind is prompt or completion.',
      labelNames: ['kind'],
      registers,
    });
    this.#monitor = parts.monitor;
    this.#delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
    this.#delay.enable();
    this.#observe(parts);
    registerEvidenceMetrics(this.#registry, parts);
  }

  /** `text/plain` of Prometheus. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  render(): Promise<string> {
    return this.#registry.metrics();
  }

  countRequest(route: string, status: number, seconds: number): void {
    this.#requests.inc({ route, status });
    this.#latency.observe({ route }, seconds);
    this.#monitor.countRequest(route, status, seconds);
  }

  /** An answer whose receipt is durable. */
  countAnswer(answer: CountedAnswer): void {
    const { model, outcome, usage } = answer;
    this.#receipts.inc();
    this.#answers.inc({ model: model.id, outcome });
    this.#tokens.inc({ kind: 'prompt' }, usage.get('prompt_tokens') ?? 0);
    this.#tokens.inc({ kind: 'completion' }, usage.get('completion_tokens') ?? 0);
    this.#monitor.countAnswer(answer);
  }

  /** Measures the figures of the console, too. Call it once. */
  observeState(read: () => ServiceState): void {
    registerStateMetrics(this.#registry, read);
  }

  close(): void {
    this.#delay.disable();
    this.#monitor.close();
  }

  /** Values that are read when somebody asks. */
  #observe({ engine, vouching, admission, now }: MetricsParts): void {
    this.#gauge('receipts_uncovered', 'Receipts that no document covers yet.', () => vouching.uncovered);
    this.#gauge('evidence_sequence', 'Number of the newest evidence document.', () =>
      vouching.hasHead ? vouching.head.seq : Number.NaN,
    );
    this.#gauge(
      'evidence_age_seconds',
      'Age of the newest evidence document; NaN while there is none.',
      () => (vouching.hasHead ? (now() - vouching.collectedAt) / 1000 : Number.NaN),
    );
    this.#observeAnchoring(vouching, now);
    this.#gauge('signing_stopped', 'Whether nothing is signed; readiness says why.', () =>
      vouching.stopReason ? 1 : 0,
    );
    this.#gauge('log_entries', 'Durable entries of the log.', () => vouching.log.durableSize);
    this.#gauge('engine_restarts', 'Restarts of the engine process.', () => engine.health().restarts);
    this.#gauge(
      'engine_pending',
      'Requests that the engine has not answered.',
      () => engine.health().pending,
    );
    this.#gauge('requests_inside', 'Requests that have a place.', () => admission.inside);
    this.#gauge('event_loop_delay_seconds', 'Mean delay of the event loop since last asked.', () =>
      this.#late(this.#delay.mean),
    );
    this.#gauge('event_loop_delay_p99_seconds', 'What 99 % of the delays since last asked are below.', () => {
      const late = this.#late(this.#delay.percentile(99));
      this.#delay.reset();
      return late;
    });
  }

  /** Without witnesses and authorities there is nothing to measure. */
  #observeAnchoring({ anchoring }: Vouching, now: () => number): void {
    if (!anchoring.isConfigured) return;
    const ageOf = (time: number | undefined, none: number) =>
      time === undefined ? none : (now() - time) / 1000;
    this.#gauge('anchor_age_seconds', 'Age of the newest anchored head; NaN while there is none.', () =>
      ageOf(anchoring.newest?.at, Number.NaN),
    );
    this.#gauge(
      'anchor_entries',
      'Entries under the newest anchored head.',
      () => anchoring.newest?.size ?? 0,
    );
    this.#gauge(
      'anchor_pending_seconds',
      'How long a head waits for a witness or an authority; 0 where none does.',
      () => ageOf(anchoring.pendingSince, 0),
    );
    this.#gauge(
      'anchor_failing',
      'Witnesses and authorities that do not confirm.',
      () => anchoring.failing.size,
    );
  }

  /** Seconds beyond the time between two questions. */
  #late(nanoseconds: number): number {
    const late = nanoseconds / 1e9 - DELAY_RESOLUTION_MS / 1e3;
    return Number.isFinite(late) ? Math.max(0, late) : 0;
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `vouchsafe_${name}`,
      help,
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }
}
