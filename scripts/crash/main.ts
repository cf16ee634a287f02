// npm run crash [-- KILLS [SEED]]: kills a log writer under load at many moments and checks what is left.
// A killed process leaves the page cache alone: what a power cut leaves is the tests' torn tails, not this.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { crashOnce, killMoments, type KillMoment } from './crash.ts';

const DEFAULT_KILLS = 50;
const MOST_ACKNOWLEDGED = 1500;

async function attempt(instances: string, moment: KillMoment, number: string): Promise<boolean> {
  try {
    const { acknowledged, size, cutBytes } = await crashOnce(instances, moment);
    console.log(`${number} passed: ${acknowledged} acknowledged, ${size} found, ${cutBytes} torn bytes cut`);
    return true;
  } catch (error) {
    console.log(`${number} FAILED: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

const [kills = DEFAULT_KILLS, seed = 1] = process.argv.slice(2).map(Number);
if (!Number.isSafeInteger(kills) || kills < 1 || !Number.isSafeInteger(seed)) {
  throw new Error('Usage: npm run crash -- [KILLS [SEED]]');
}
const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-crash-'));
console.log(`${kills} kills with seed ${seed} in ${folder}`);
let passed = 0;
for (const [i, moment] of killMoments(seed, kills, MOST_ACKNOWLEDGED).entries()) {
  if (await attempt(join(folder, 'instances'), moment, `${i + 1} of ${kills}`)) passed++;
}
console.log(`${passed} passed, ${kills - passed} failed, 0 skipped`);
if (passed === kills) await rm(folder, { recursive: true });
else process.exitCode = 1;
