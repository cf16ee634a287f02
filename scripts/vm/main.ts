/**
 * `npm run vm`: makes an image twice, boots it in an emulated machine with a software TPM, judges it as a client would,
 * and tries what a host could change. See README.md.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { InputsUnavailable } from './builds.ts';
import { findEmulator } from './emulator.ts';
import { tableOf } from './report.ts';
import { runScenarios } from './scenarios.ts';

const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'vouchsafe', 'image');

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cache: { type: 'string', default: CACHE },
      work: { type: 'string' },
      json: { type: 'string' },
      offline: { type: 'boolean', default: false },
      timeout: { type: 'string', default: '240' },
    },
  });
  const emulator = findEmulator();
  if ('missing' in emulator) return skip(`this machine has no ${emulator.missing.join(', ')}`);
  const work = resolve(values.work ?? (await mkdtemp(join(tmpdir(), 'vouchsafe-vm-'))));
  await mkdir(work, { recursive: true });
  try {
    const rows = await runScenarios({
      emulator,
      work,
      cache: resolve(values.cache),
      offline: values.offline,
      timeoutMs: Number(values.timeout) * 1000,
      say: (line) => process.stderr.write(`${line}\n`),
    });
    for (const line of tableOf(rows)) process.stdout.write(`${line}\n`);
    if (values.json !== undefined)
      await writeFile(values.json, `${JSON.stringify({ rows }, undefined, 2)}\n`);
    const wrong = rows.filter(({ isRight }) => !isRight).length;
    process.stdout.write(`${rows.length - wrong} of ${rows.length} as expected\n`);
    return wrong === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof InputsUnavailable) return skip(error.message);
    throw error;
  } finally {
    if (values.work === undefined) await rm(work, { recursive: true, force: true });
  }
}

function skip(why: string): number {
  process.stdout.write(`skipped: ${why}\n`);
  return 0;
}

process.exitCode = await main();
