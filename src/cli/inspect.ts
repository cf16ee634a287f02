import type { Command } from 'commander';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { parseDeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { parseAttestation } from '../client/attestation.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { deviceSection, documentSections, snpSections, type Section } from './inspectEvidence.ts';
import { bundleSections, checkpointSection, receiptSections, recordSection } from './inspectReceipt.ts';
import { KIND_NAMES, kindOf, type MaterialKind } from './material.ts';
import { printable, stdout, wrap } from './terminal.ts';

const EXAMPLES = [
  ['what a bundle says', 'vouchsafe inspect bundle.cbor'],
  ['one value, for a script', "vouchsafe inspect bundle.cbor --json | jq '.sections[0]'"],
] as const;

export function inspectCommand(): Command {
  return newCommand('inspect', 'Show what a file says. Nothing is verified', EXAMPLES)
    .argument(
      '<file>',
      'bundle, attestation answer, evidence document, receipt, record, checkpoint or raw report',
    )
    .option('--json', 'print the values as JSON')
    .action(runInspect);
}

async function runInspect(path: string, { json = false }: { readonly json?: boolean }): Promise<void> {
  const bytes = await readInput(path);
  const kind = kindOf(bytes);
  const sections = sectionsOf(kind, bytes, path);
  if (json) stdout.json({ kind, verified: false, sections: sections.map(toJson) });
  else print(kind, path, sections);
}

function toJson({ title, rows }: Section) {
  return { title, ...Object.fromEntries(rows) };
}

function print(kind: MaterialKind, path: string, sections: readonly Section[]): void {
  const { c } = stdout;
  stdout.line(c.bold(`${KIND_NAMES[kind]} ${printable(path)}`));
  stdout.line(c.yellow('What the file says of itself: nothing here is verified.'));
  for (const { title, rows } of sections) {
    stdout.line();
    stdout.line(c.bold(printable(title)));
    const names = Math.max(...rows.map(([name]) => name.length));
    for (const [name, value] of rows) printRow(name.padEnd(names), value);
  }
}

function printRow(name: string, value: string): void {
  const { c, columns } = stdout;
  const [first = '', ...rest] = wrap(value, columns - name.length - 4);
  stdout.line(`  ${c.dim(printable(name))}  ${first}`);
  for (const line of rest) stdout.line(`${' '.repeat(name.length + 4)}${line}`);
}

function sectionsOf(kind: MaterialKind, bytes: Uint8Array, path: string): readonly Section[] {
  switch (kind) {
    case 'bundle':
      return bundleSections(parseBundle(bytes));
    case 'attestation': {
      const { document, answers } = parseAttestation(bytes);
      return [
        { title: 'answer', rows: [['answers nonce', answers]] },
        ...documentSections(parseDocument(document)),
      ];
    }
    case 'document':
      return documentSections(parseDocument(bytes));
    case 'receipt':
      return receiptSections(bytes);
    case 'record':
      return [recordSection(bytes)];
    case 'checkpoint':
      return [checkpointSection(bytes)];
    case 'snp-report':
      return snpSections(parseSnpReport(bytes));
    case 'device-report':
      return [deviceSection(parseEitherKind(bytes), 'device')];
    case 'policy':
      return [{ title: 'policy', rows: [['text', fromUtf8(bytes).replaceAll(/\s+/g, ' ')]] }];
    case 'unknown':
      throw new CliError(EXIT.unreadable, `${path} is no file that is known here`);
  }
}

/** A report does not say whether it is of a GPU or of a switch. */
function parseEitherKind(bytes: Uint8Array) {
  try {
    return parseDeviceReport(bytes, 'gpu');
  } catch (notGpu) {
    try {
      return parseDeviceReport(bytes, 'switch');
    } catch {
      throw notGpu;
    }
  }
}
