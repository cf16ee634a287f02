import { Gauge, Histogram, type Registry } from 'prom-client';
import type { KeeperStatus } from '../collateral/keeper.ts';
import type { Vouching } from '../receipts/vouching.ts';

/** A device report takes from a few milliseconds to a minute, where a host throttles. */
const COLLECTION_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface EvidenceMetricsParts {
  readonly vouching: Pick<Vouching, 'watchEvidence' | 'stopReason'>;
  readonly collateralStatus?: (() => KeeperStatus) | undefined;
}

/** What evidence costs, how old what vendors say about it is, and why nothing is signed. */
export function registerEvidenceMetrics(registry: Registry, parts: EvidenceMetricsParts): void {
  const { vouching, collateralStatus } = parts;
  const collection = new Histogram({
    name: 'vouchsafe_evidence_collection_seconds',
    help: 'How long the hardware took for the evidence of one document; part is cpu or devices.',
    labelNames: ['part'],
    buckets: COLLECTION_SECONDS,
    registers: [registry],
  });
  const selfCheck = new Histogram({
    name: 'vouchsafe_self_check_seconds',
    help: 'How long the service took to verify one document of its own.',
    buckets: COLLECTION_SECONDS,
    registers: [registry],
  });
  vouching.watchEvidence(({ cpuMs, devicesMs, selfCheckMs }) => {
    collection.observe({ part: 'cpu' }, cpuMs / 1000);
    collection.observe({ part: 'devices' }, devicesMs / 1000);
    if (selfCheckMs !== undefined) selfCheck.observe(selfCheckMs / 1000);
  });
  new Gauge({
    name: 'vouchsafe_stopped',
    help: '1 for the code that keeps the service from signing; refusal is what its own verifier says.',
    labelNames: ['code', 'refusal'],
    registers: [registry],
    collect() {
      this.reset();
      const { stopReason: stop } = vouching;
      if (stop) this.set({ code: stop.code, refusal: stop.refusal ?? '' }, 1);
    },
  });
  if (collateralStatus) registerCollateral(registry, collateralStatus);
}

function registerCollateral(registry: Registry, status: () => KeeperStatus): void {
  const byKind = (name: string, help: string, read: (status: KeeperStatus) => ReadonlyMap<string, number>) =>
    new Gauge({
      name: `vouchsafe_collateral_${name}`,
      help,
      labelNames: ['kind'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [kind, value] of read(status())) this.set({ kind }, value);
      },
    });
  byKind(
    'age_seconds',
    'Age of the oldest statement of a kind; NaN where one is not there.',
    ({ statements }) => {
      const ages = new Map<string, number>();
      for (const { kind, ageMs = Number.NaN } of statements) {
        ages.set(kind, Math.max(ages.get(kind) ?? 0, ageMs / 1000));
      }
      return ages;
    },
  );
  byKind('failing', 'Statements of a kind that their vendor does not renew.', ({ statements }) => {
    const failing = new Map<string, number>();
    for (const { kind, failing: why } of statements)
      failing.set(kind, (failing.get(kind) ?? 0) + (why ? 1 : 0));
    return failing;
  });
}
