import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { passEntries, WantedSizes } from './entryPass.ts';
import { EntryReader } from './entryReader.ts';
import { judgedEntries, type EvidenceLine } from './evidenceLine.ts';
import { FindingList } from './findings.ts';
import type { InstanceAudit } from './instanceAudit.ts';
import { startProgress } from './progress.ts';
import type { DocumentReport } from './report.ts';

/**
 * Which receipts an accepted hardware report covers (DESIGN section 6). Those that only a refused one would have
 * covered have their signatures verified now; the size up to which receipts are covered is returned.
 */
export async function coverReceipts(
  audit: InstanceAudit,
  documents: readonly DocumentReport[],
  head: { readonly size: number } | undefined,
  { lastSize, line, size }: { readonly line: EvidenceLine; readonly size: number; readonly lastSize: number },
): Promise<number> {
  const { progress } = audit;
  const covered = documents
    .filter(
      ({ facts, logRoot, logSize }) => facts.decision === 'accepted' && progress.rootAt[logSize] === logRoot,
    )
    .reduce((most, { logSize }) => Math.max(most, logSize), 0);
  checkContinuity(audit, documents);
  const before = Math.min(lastSize, head?.size ?? 0);
  if (audit.signatures === 'covered' && covered < before) await verifyRest(audit, line, covered, size);
  findUncovered(audit, documents, covered, head);
  return covered;
}

/** Documents of one line are of one chip and one set of devices, else a later one says nothing about an earlier one. */
function checkContinuity({ findings }: InstanceAudit, documents: readonly DocumentReport[]): void {
  let before: DocumentReport | undefined;
  for (const document of documents) {
    const { facts, seq } = document;
    const same = !before || machineOf(before) === machineOf(document);
    if (!same && facts.machine !== undefined && before?.facts.machine !== undefined) {
      const detail = `document ${seq} is of another machine or set of devices than ${before.seq}`;
      findings.add({ check: 'evidence.line', code: 'CHECKPOINT_MISMATCH', severity: 'fail', seq, detail });
    }
    if (facts.machine !== undefined) before = document;
  }
}

function machineOf({ facts: { devices, machine } }: DocumentReport): string {
  return [machine, ...devices.map(({ serial }) => serial)].join(' ');
}

async function verifyRest(
  audit: InstanceAudit,
  line: EvidenceLine,
  from: number,
  size: number,
): Promise<void> {
  const { findings, listed, progress, workers } = audit;
  const firstBundle = Math.floor(from / TILE_WIDTH);
  const again = { ...startProgress(), bundles: firstBundle };
  const second = new FindingList(listed.files.instance);
  await passEntries({
    listed,
    workers,
    progress: again,
    findings: second,
    reader: new EntryReader(line, audit.span?.entries),
    size,
    sizes: new WantedSizes([]),
    verifyFrom: from,
    onBundles: audit.onBundles,
  });
  // All else was found in the first pass.
  for (const finding of second.listed.filter(({ check }) => check === 'receipts.signatures'))
    findings.add(finding);
  progress.signatures += again.signatures;
}

function findUncovered(
  { context, findings, progress, span }: InstanceAudit,
  documents: readonly DocumentReport[],
  covered: number,
  head: { readonly size: number } | undefined,
): void {
  const required = context.policy.coverage === 'required';
  const judged = judgedEntries(span?.entries);
  // What follows the span is there to date its last document: which documents cover it is not in the export.
  const last = Math.min(
    Math.max(-1, ...documents.map(({ cited }) => cited?.last ?? -1)),
    (judged?.to ?? Infinity) - 1,
  );
  const firstCited = documents.find(({ cited }) => cited !== undefined && cited.last >= covered)?.cited;
  const first = Math.max(covered, firstCited?.first ?? covered);
  if (firstCited && first <= last) {
    const detail = `receipts from ${first} to ${last} have no later accepted hardware report`;
    const severity = required ? 'fail' : 'warning';
    findings.add({
      check: 'receipts.coverage',
      code: 'RECEIPTS_UNCOVERED',
      severity,
      index: first,
      last,
      detail,
    });
  }
  if (head && progress.entries > head.size) {
    const detail = `${progress.entries - head.size} entries stand behind the checkpoint of ${head.size}`;
    findings.add({
      check: 'log.checkpoint',
      code: 'TAIL_UNSIGNED',
      severity: 'note',
      index: head.size,
      detail,
    });
  }
}
