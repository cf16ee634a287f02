import { upperOf } from './anchors.ts';
import type { DocumentReport, InstanceReport, KnownBad } from './report.ts';
import type { RevocationEntry, Revocations } from './revocations.ts';

/** Names the receipts that became suspect later. The first answer, «valid then», stays as it is. */
export function findKnownBad(
  { entries }: Revocations,
  reports: readonly InstanceReport[],
): readonly KnownBad[] {
  let later = -1;
  return entries.flatMap((entry, number) => {
    if (entry.kind === 'tcb') later++;
    const judgement = later;
    return reports.flatMap((report) =>
      rangesOf(entry, judgement, report)
        .flatMap((range) => datedRanges(range, report, Date.parse(entry.since)))
        .map((range) => ({
          entry: number,
          kind: entry.kind,
          what: range.what,
          since: entry.since,
          reason: entry.reason,
          instance: report.instance,
          first: range.first,
          last: range.last,
          receipts: range.receipts,
          when: range.when,
        })),
    );
  });
}

interface Range {
  readonly first: number;
  readonly last: number;
  readonly receipts: number;
  readonly what: string;
}

function rangesOf(entry: RevocationEntry, judgement: number, report: InstanceReport): readonly Range[] {
  if (entry.kind === 'model') {
    return report.watched
      .filter(({ manifest }) => manifest === entry.manifest)
      .map(({ from, to }) => ({
        first: from,
        last: to - 1,
        receipts: to - from,
        what: `manifest ${entry.manifest}`,
      }));
  }
  const touched = report.documents.flatMap((document): Range[] => {
    const what = touches(entry, judgement, document);
    return what !== undefined && document.cited ? [{ ...document.cited, what }] : [];
  });
  return joined(touched);
}

/** What of the document the entry names; undefined where it does not. */
function touches(entry: RevocationEntry, judgement: number, { facts }: DocumentReport): string | undefined {
  switch (entry.kind) {
    case 'cpu':
      return facts.machine === entry.id ? `CPU ${entry.id}` : undefined;
    case 'device':
      return deviceNamed(
        entry,
        facts.devices.map(({ serial }) => serial),
      );
    case 'vbios':
      return facts.devices.some(({ firmware }) => firmware === entry.version)
        ? `VBIOS ${entry.version}`
        : undefined;
    case 'driver':
      return facts.devices.some(({ driver }) => driver === entry.version)
        ? `driver ${entry.version}`
        : undefined;
    case 'receipt-key':
      return facts.receiptKey === entry.thumbprint ? `receipt key ${entry.thumbprint}` : undefined;
    case 'log-key':
      return facts.logKey === entry.thumbprint ? `log key ${entry.thumbprint}` : undefined;
    case 'tcb':
      return facts.later[judgement];
    case 'model':
      return undefined;
  }
}

function deviceNamed(
  { serial, ueid }: Extract<RevocationEntry, { kind: 'device' }>,
  serials: readonly string[],
): string | undefined {
  const found = serials.find(
    (own) => own === serial || (ueid !== undefined && BigInt(`0x${own}`) === BigInt(ueid)),
  );
  return found && `device ${found}`;
}

/** Epochs that follow each other are one range: between them stand records alone. */
function joined(ranges: readonly Range[]): readonly Range[] {
  const all: Range[] = [];
  for (const range of ranges) {
    const last = all.at(-1);
    if (last?.what === range.what) {
      all[all.length - 1] = { ...last, last: range.last, receipts: last.receipts + range.receipts };
    } else all.push(range);
  }
  return all;
}

type DatedRange = Range & Pick<KnownBad, 'when'>;

/**
 * Compared with the time that outsiders vouch for: receipts below the last anchor that is older than the date were
 * there before it. Their numbers are exact at the borders of a range, and shared out by place within it.
 */
function datedRanges(range: Range, report: InstanceReport, since: number): readonly DatedRange[] {
  const before = report.anchors
    .filter(({ time }) => time < since)
    .reduce((most, { size }) => Math.max(most, size), 0);
  if (before > range.last) return [{ ...range, when: 'before' }];
  const rest = upperOf(report.anchors, Math.max(range.first, before)) ? 'after' : 'unknown';
  if (before <= range.first) return [{ ...range, when: rest }];
  const share = Math.round((range.receipts * (before - range.first)) / (range.last + 1 - range.first));
  return [
    { ...range, last: before - 1, receipts: share, when: 'before' },
    { ...range, first: before, receipts: range.receipts - share, when: rest },
  ];
}
