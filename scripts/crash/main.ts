// npm run crash -- [--kills N] [--service-kills N] [--seed N]: kill -9 at many moments, then a look at what is left.
// A killed process leaves the page cache alone: what a power cut leaves is the tests' torn tails, not this.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { crashOnce, killMoments, type KillMoment } from './crash.ts';
import { crashService } from './service.ts';

const MOST_ACKNOWLEDGED = 1500;
const LONGEST_SERVICE_MS = 1500;

const program = new Command('npm run crash --')
  .description('Kills a log writer and the whole service under load; nothing acknowledged may be lost.')
  .option('--kills <n>', 'kills of a writer of the log alone', '50')
  .option('--service-kills <n>', 'kills of the service under HTTP load', '10')
  .option('--seed <n>', 'the same seed kills at the same moments', '1')
  .addHelpText('after', '\nExample:\n  npm run crash -- --kills 200 --seed 7')
  .parse();
const { kills, serviceKills, seed } = readOptions();

const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-crash-'));
console.log(`${kills} kills of a writer, ${serviceKills} of the service, seed ${seed}, in ${folder}`);
const passed = (await crashWriters()) + (await crashServices());
console.log(`${passed} passed, ${kills + serviceKills - passed} failed, 0 skipped`);
if (passed === kills + serviceKills) await rm(folder, { recursive: true });
else process.exitCode = 1;

function readOptions(): { readonly kills: number; readonly serviceKills: number; readonly seed: number } {
  const given = program.opts<Record<'kills' | 'serviceKills' | 'seed', string>>();
  const numbers = {
    kills: Number(given.kills),
    serviceKills: Number(given.serviceKills),
    seed: Number(given.seed),
  };
  if (!Object.values(numbers).every((number) => Number.isSafeInteger(number) && number >= 0)) {
    program.error('the options take whole numbers');
  }
  return numbers;
}

async function crashWriters(): Promise<number> {
  let good = 0;
  for (const [i, moment] of killMoments(seed, kills, MOST_ACKNOWLEDGED).entries()) {
    if (await attempt(`writer ${i + 1} of ${kills}`, () => crashWriter(moment))) good++;
  }
  return good;
}

async function crashWriter(moment: KillMoment): Promise<string> {
  const { acknowledged, size, cutBytes } = await crashOnce(join(folder, 'writers'), moment);
  return `${acknowledged} acknowledged, ${size} found, ${cutBytes} torn bytes cut`;
}

/** Each start finds the log of the one before, and its `open` record must name it. */
async function crashServices(): Promise<number> {
  let good = 0;
  let former: string | undefined;
  for (const [i, moment] of killMoments(seed, serviceKills, LONGEST_SERVICE_MS).entries()) {
    const passed = await attempt(`service ${i + 1} of ${serviceKills}`, async () => {
      const outcome = await crashService(join(folder, 'service'), moment.acknowledged);
      if (outcome.predecessor !== former) throw new Error('the open record names another predecessor');
      former = outcome.origin;
      return `${outcome.acknowledged} acknowledged, ${outcome.size} entries found`;
    });
    if (passed) good++;
  }
  return good;
}

async function attempt(name: string, crash: () => Promise<string>): Promise<boolean> {
  try {
    console.log(`${name} passed: ${await crash()}`);
    return true;
  } catch (error) {
    console.log(`${name} FAILED: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}
