import type { Command } from 'commander';
import { describeCollateral } from '../collateral/describe.ts';
import { fetchCommand } from './collateralFetch.ts';
import { readCollateral } from './collateralInput.ts';
import { statementJson, statementSection } from './collateralText.ts';
import { newCommand } from './command.ts';
import { timeOf } from './exchangeFiles.ts';
import { printSection } from './sectionText.ts';
import { printable, stdout } from './terminal.ts';

const EXAMPLES = [
  [
    'fetch what a bundle needs, then judge it with no network',
    'vouchsafe collateral fetch bundle.cbor --out bundle.collateral && vouchsafe verify bundle.cbor --collateral bundle.collateral',
  ],
  ['what a file holds, and until when it is in date', 'vouchsafe collateral show bundle.collateral'],
] as const;

export function collateralCommand(): Command {
  const show = newCommand('show', 'Show what a file holds of vendors’ statements. Nothing is verified')
    .argument(
      '<file...>',
      'file of `collateral fetch`, bundle, attestation answer, or statements as vendors send them',
    )
    .option('--at <time>', 'tell what is in date at this time, ISO 8601 (default: now)')
    .option('--json', 'print as JSON')
    .action(runShow);
  return newCommand('collateral', 'Fetch and show what vendors say about evidence', EXAMPLES)
    .addCommand(fetchCommand())
    .addCommand(show);
}

interface ShowFlags {
  readonly at?: string;
  readonly json?: boolean;
}

async function runShow(paths: readonly string[], { at, json = false }: ShowFlags): Promise<void> {
  const now = timeOf(at);
  const statements = describeCollateral(await readCollateral(paths));
  if (json) {
    const judgedFor = new Date(now).toISOString();
    stdout.json({
      verified: false,
      at: judgedFor,
      statements: statements.map((each) => statementJson(each, now)),
    });
    return;
  }
  const { c } = stdout;
  stdout.line(c.bold(`collateral ${paths.map(printable).join(' ')}`));
  stdout.line(c.yellow('What the statements say of themselves: nothing here is verified.'));
  if (statements.length === 0) stdout.line('There are none.');
  for (const statement of statements) printSection(stdout, statementSection(statement, now));
}
