import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { auditExport } from '../audit/audit.ts';
import type { AuditReport } from '../audit/report.ts';
import type { ArchiveSource } from '../export/source.ts';
import {
  algorithmEndsOf,
  asCliError,
  auditContext,
  openTarget,
  revocationsOf,
  signaturesOf,
  workersOf,
  type AuditFlags,
} from './auditOptions.ts';
import { printAudit } from './auditText.ts';
import { EXIT_HELP, newCommand, repeated } from './command.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { addJudgingOptions } from './judging.ts';
import { ByteProgress } from './byteProgress.ts';
import { stderr, stdout } from './terminal.ts';
import { packageVersion } from './version.ts';

const EXAMPLES = [
  ['an export, offline, as an auditor has it', 'vouchsafe audit export.tar --policy policy.json'],
  [
    'with a report to print, and every signature verified',
    'vouchsafe audit export.tar --signatures all --html report.html',
  ],
  ['which receipts a later advisory touches', 'vouchsafe audit export.tar --revocations advisory.json'],
  ['one page about one receipt', 'vouchsafe audit export.tar --receipt 9f05… --html receipt.html'],
  ['a large one that may be stopped and goes on', 'vouchsafe audit export.tar --resume audit.state'],
  [
    'years later, when a hash is weak: do its renewals come in time?',
    'vouchsafe audit export.tar --algorithm-end sha256=2040-01-01',
  ],
  ['the log of a running service', 'vouchsafe audit https://inference.example --key auditor.key'],
] as const;

export function auditCommand(): Command {
  const command = newCommand('audit', 'Verify everything in an export, offline', EXAMPLES)
    .argument(
      '<target>',
      'tar file or folder of `archive export`, a data folder, or the address of a service',
    )
    .option(
      '--at <time>',
      'judge all documents for this time, ISO 8601 (default: when outsiders saw them, else now)',
    );
  return addJudgingOptions(command)
    .option(
      '--signatures <which>',
      '`covered` leaves out those of receipts in trees that hardware reports commit to, and says so; `all` verifies each',
      'covered',
    )
    .option('--revocations <file>', 'name the receipts that what became known later touches')
    .option(
      '--algorithm-end <name=date>',
      'a hash or kind of key that is broken since then, for the timestamps of renewals; again for more',
      repeated,
    )
    .option(
      '--workers <n>',
      'threads that work, this one among them (default: one for each core; 0 starts no other)',
    )
    .option('--resume <file>', 'keep in this file how far the audit is, and go on from there')
    .option('--html <file>', 'write a report that needs nothing else, to read and to print')
    .option('--receipt <id>', 'with --html: one page about this receipt, by its id in hex')
    .option('--key <file>', 'API key of an auditor, for a service')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', EXIT_HELP)
    .action(async (target: string, flags: AuditFlags) => {
      try {
        await runAudit(target, flags);
      } catch (error) {
        throw asCliError(error);
      }
    });
}

async function runAudit(target: string, flags: AuditFlags): Promise<void> {
  if (flags.receipt !== undefined && flags.html === undefined) {
    throw new CliError(EXIT.misuse, '--receipt needs --html FILE');
  }
  const context = await auditContext(flags);
  const revocations = await revocationsOf(flags);
  const [signatures, workers] = [signaturesOf(flags), workersOf(flags)];
  const source = await openTarget(target, flags);
  const bar = new ByteProgress(stderr, 'Auditing');
  try {
    const report = await auditExport(
      source,
      {
        name: target,
        context,
        atGivenTime: flags.at !== undefined,
        signatures,
        revocations,
        algorithmEnds: algorithmEndsOf(flags),
        workers,
        stateFile: flags.resume,
        software: packageVersion(),
      },
      bar,
    );
    bar.end();
    if (flags.html !== undefined) await writePage(flags.html, report, flags.receipt, source);
    if (flags.json) stdout.json(report);
    else printAudit(stdout, report);
    process.exitCode = exitOfDecision(report.decision);
  } finally {
    bar.end();
    await source.close();
  }
}

async function writePage(
  path: string,
  report: AuditReport,
  receipt: string | undefined,
  source: ArchiveSource,
): Promise<void> {
  const page = await pageOf(report, receipt, source);
  try {
    await writeFile(path, page);
  } catch (error) {
    throw new CliError(
      EXIT.misuse,
      `--html: ${path} cannot be written: ${(error as NodeJS.ErrnoException).code ?? ''}`,
    );
  }
}

/** Its modules are loaded when a page is asked for. */
async function pageOf(
  report: AuditReport,
  receipt: string | undefined,
  source: ArchiveSource,
): Promise<string> {
  if (receipt === undefined) return (await import('../audit/html/htmlReport.ts')).htmlReport(report);
  const { findReceipt } = await import('../audit/receiptSearch.ts');
  const { receiptPage } = await import('../audit/html/receiptPage.ts');
  return receiptPage(report, await findReceipt(source, receipt));
}
