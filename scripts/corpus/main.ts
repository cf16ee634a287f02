// npm run corpus -- DIR: judges every case below the folder and says where our verifier disagrees with it.
import { statSync } from 'node:fs';
import process from 'node:process';
import { Command } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import { judgeGpuCase } from './gpu/judge.ts';
import { gpuLines, gpuRowOf, type GpuRow } from './gpu/report.ts';
import { judgeCase, type Judgement } from './judge.ts';
import { judgeLaunchCase } from './launch/judge.ts';
import { type LaunchRow, launchLines, launchRowOf } from './launch/report.ts';
import { findCases, isGpuCase, isLaunchCase, loadCase, loadGpuCase, loadLaunchCase } from './load.ts';

const program = new Command('npm run corpus --')
  .description('Judges every case of attestation evidence below a folder. Exit 1 where one disagrees.')
  .argument('<folder>', 'folder of cases, each with a case.json')
  .option('--portable', 'judge with WebCrypto instead of node:crypto')
  .option('--json', 'print one JSON document')
  .addHelpText(
    'after',
    '\nExamples:\n  npm run corpus -- ../shared/evidence/cpu\n  npm run corpus -- --portable ../shared/evidence/gpu\n  npm run corpus -- ../shared/evidence/launch',
  )
  .parse();
const [folder = ''] = program.args;
const options = program.opts<{ portable?: boolean; json?: boolean }>();
if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) program.error(`${folder} is no folder`);

const crypto = options.portable ? portableCrypto : nodeCrypto;
const rows: AnyRow[] = [];
for (const path of findCases(folder)) {
  const judged = await judge(path);
  if (!options.json) judged.forEach(print);
  rows.push(...judged);
}
const counted = rows.filter(({ got }) => got !== 'not evidence' && got !== 'not computable');
const agreeing = counted.filter(({ agrees }) => agrees).length;
if (options.json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
else process.stdout.write(`agree ${agreeing} of ${counted.length}\n`);
process.exitCode = agreeing === counted.length && counted.length > 0 ? 0 : 1;

type AnyRow = Row | GpuRow | LaunchRow;

/** One line of the answer: a case at one of its instants. */
interface Row {
  readonly id: string;
  readonly at: string | null;
  /** Null where the case could not be read. */
  readonly expected: { readonly verdict: string; readonly reasons: readonly string[] } | null;
  readonly got: 'accept' | 'refuse' | 'error';
  readonly codes: readonly string[];
  readonly reason: string | null;
  readonly agrees: boolean;
}

/** A case that cannot be read, or that breaks a judge, agrees with nothing; the others are judged all the same. */
async function judge(path: string): Promise<readonly AnyRow[]> {
  try {
    if (isGpuCase(folder, path)) {
      return (await judgeGpuCase(loadGpuCase(folder, path), crypto)).map(gpuRowOf);
    }
    if (isLaunchCase(folder, path))
      return [launchRowOf(judgeLaunchCase(loadLaunchCase(folder, path), crypto))];
    return (await judgeCase(loadCase(folder, path), crypto)).map(rowOf);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [{ id: path, at: null, expected: null, got: 'error', codes: [], reason, agrees: false }];
  }
}

function rowOf({ id, expectation, outcome, agrees }: Judgement): Row {
  const { at, verdict, reasons } = expectation;
  return {
    id,
    at: at === undefined ? null : new Date(at).toISOString(),
    expected: { verdict, reasons },
    got: outcome.codes.length === 0 ? 'accept' : 'refuse',
    codes: [...new Set(outcome.codes)],
    reason: outcome.reason ?? null,
    agrees,
  };
}

function print(row: AnyRow): void {
  if ('variant' in row || 'compared' in row) {
    const lines = 'variant' in row ? gpuLines(row) : launchLines(row);
    process.stdout.write(`${lines.join('\n')}\n`);
    return;
  }
  const { id, at, expected, got, codes, reason, agrees } = row;
  const instant = at === null ? '' : ` at ${at.slice(0, 16)}Z`;
  const wanted = expected ? [expected.verdict, expected.reasons.join(' or ')].filter(Boolean).join(' ') : '–';
  const verdict = agrees ? 'agree    ' : 'DISAGREE ';
  process.stdout.write(`${verdict} ${id}${instant}: expected ${wanted}; got ${[got, ...codes].join(' ')}\n`);
  if (!agrees && reason !== null) process.stdout.write(`          ${reason}\n`);
}
