import type { FindingList } from './findings.ts';
import type { DocumentFacts } from './documentFacts.ts';
import type { DocumentMark } from './evidenceLine.ts';
import type { ListedInstance } from './instanceFiles.ts';
import type { Workers } from './workers.ts';
import { NOT_JUDGED } from '../../attestation/verdict/verdict.ts';
import type { AuditFindingCode, Severity } from './findings.ts';

/** A thread spends 0.2 s on reading the modules of the appraisal: as much as it takes for 50 documents. */
const FEW_DOCUMENTS = 128;

export interface DocumentPass {
  readonly listed: ListedInstance;
  readonly workers: Workers;
  readonly marks: readonly DocumentMark[];
  /** Judged time of each, milliseconds since 1970. */
  readonly timeOf: (mark: DocumentMark) => number;
  readonly findings: FindingList;
  readonly onDocument: () => void;
}

/** Appraises every document under the policy, with the collateral that was kept with it, a few at a time. */
export async function passDocuments(pass: DocumentPass): Promise<ReadonlyMap<number, DocumentFacts>> {
  const facts = new Map<number, DocumentFacts>();
  const ahead: Promise<DocumentFacts>[] = [];
  const take = async (): Promise<void> => {
    const found = await ahead.shift();
    if (!found) return;
    facts.set(found.seq, found);
    report(found, pass.findings);
    pass.onDocument();
  };
  for (const mark of pass.marks) {
    if (ahead.length >= pass.workers.width) await take();
    const running = appraise(pass, mark);
    running.catch(() => undefined);
    ahead.push(running);
  }
  while (ahead.length > 0) await take();
  return facts;
}

async function appraise(
  { listed, marks, timeOf, workers }: DocumentPass,
  mark: DocumentMark,
): Promise<DocumentFacts> {
  const { files } = listed;
  const encoded = (await files.read(`evidence/${mark.seq}.cbor`)) ?? new Uint8Array(0);
  const named = await files.read(`evidence/${mark.seq}.collateral`);
  const digest = named && Buffer.from(named).toString('latin1').trim();
  const collateral =
    digest === undefined || !/^[0-9a-f]{64}$/.test(digest)
      ? undefined
      : await files.read(`collateral/${digest}.cbor`);
  const task = { kind: 'document', seq: mark.seq, encoded, collateral, now: timeOf(mark) } as const;
  const facts = await (marks.length <= FEW_DOCUMENTS ? workers.runHere(task) : workers.run(task));
  if (facts.kind !== 'document') throw new TypeError('a worker answered another task');
  return facts;
}

function report({ failures, seq }: DocumentFacts, findings: FindingList): void {
  for (const { code, id, reason, subject } of failures) {
    const severity: Severity = (NOT_JUDGED as readonly string[]).includes(code) ? 'missing' : 'fail';
    const detail = `${subject}: ${id}: ${reason}`;
    findings.add({ check: 'evidence.appraisal', code: code as AuditFindingCode, severity, seq, detail });
  }
}
