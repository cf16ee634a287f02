// npm run crash -- [--kills N] [--service-kills N] [--object-kills N] [--outages N] [--full-disks N] [--archive-kills N]
// [--seed N]: kill -9 at many moments, an object store that refuses for a while, a disk that is full and a PostgreSQL that
// is stopped and started again, then a look at what is left.
// A killed process leaves the page cache alone: what a power cut leaves is the tests' torn tails, not this.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { archiveAttempts, crashArchives } from './archive.ts';
import { crashOnce, type KillMoment, killMoments, onDisk } from './crash.ts';
import { canMount, fillDisks } from './fullDisk.ts';
import { type Mood, type ObjectStoreServer, startObjectStoreServer } from './objectStoreServer.ts';
import { hasPostgres } from './postgresServer.ts';
import { crashService } from './service.ts';

const MOST_ACKNOWLEDGED = 1500;
const MOST_ACKNOWLEDGED_IN_OBJECTS = 700;
const LONGEST_SERVICE_MS = 1500;
/** How the object store fails, one after another. */
const FAILURES: readonly Mood[] = ['refuses', 'hangs up', 'forgets', 'denies'];

const program = new Command('npm run crash --')
  .description(
    'Kills a log writer and the whole service under load, lets the object store and PostgreSQL fail and the disk fill up; nothing acknowledged may be lost.',
  )
  .option('--kills <n>', 'kills of a writer of the log alone', '50')
  .option('--service-kills <n>', 'kills of the service under HTTP load', '10')
  .option('--object-kills <n>', 'kills of a writer into an object store', '10')
  .option('--outages <n>', 'failures of the object store under a writer', '8')
  .option('--full-disks <n>', 'disks that are full for a while under a writer', '4')
  .option('--archive-kills <n>', 'kills of the service with its archive in PostgreSQL, which fails, too', '9')
  .option('--seed <n>', 'the same seed kills at the same moments', '1')
  .addHelpText('after', '\nExample:\n  npm run crash -- --kills 200 --seed 7')
  .parse();
const { kills, serviceKills, objectKills, outages, fullDisks, archiveKills, seed } = readOptions();

const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-crash-'));
const disks = canMount() ? fullDisks : 0;
const archives = hasPostgres ? archiveKills : 0;
const total = kills + serviceKills + objectKills + outages + disks + archiveAttempts(archives);
const skipped = fullDisks - disks + archiveKills - archives;
console.log(
  `${kills} kills of a writer, ${objectKills} into an object store, ${outages} failures of that, ${fullDisks} full disks, ` +
    `${serviceKills} kills of the service, ${archiveKills} with its archive in PostgreSQL, seed ${seed}, in ${folder}`,
);
if (disks < fullDisks) console.log('full disks skipped: no small file system can be mounted here');
if (archives < archiveKills) console.log('kills with an archive skipped: no PostgreSQL');
const passed =
  (await crashWriters()) +
  (await crashInObjects()) +
  (await fillDisks(join(folder, 'full'), disks, seed, attempt)) +
  (await crashServices()) +
  (await crashArchives(join(folder, 'archive'), archives, seed, attempt));
const failed = total - passed;
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
if (failed === 0) await rm(folder, { recursive: true });
else process.exitCode = 1;

type Name = 'kills' | 'serviceKills' | 'objectKills' | 'outages' | 'fullDisks' | 'archiveKills' | 'seed';

function readOptions(): Readonly<Record<Name, number>> {
  const given = program.opts<Record<Name, string>>();
  const numbers = {
    kills: Number(given.kills),
    serviceKills: Number(given.serviceKills),
    objectKills: Number(given.objectKills),
    outages: Number(given.outages),
    fullDisks: Number(given.fullDisks),
    archiveKills: Number(given.archiveKills),
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
  const { acknowledged, size, cutBytes } = await crashOnce(onDisk(join(folder, 'writers')), moment);
  return `${acknowledged} acknowledged, ${size} found, ${cutBytes} torn bytes cut`;
}

/** Kills and failures of the store, with and without conditional writes in turn. */
async function crashInObjects(): Promise<number> {
  let good = 0;
  for (const conditional of [true, false]) {
    const directory = join(folder, conditional ? 'conditional' : 'unconditional');
    await mkdir(directory);
    const server = await startObjectStoreServer(directory, { conditional, forgetful: true });
    const share = (count: number): number => (conditional ? Math.ceil(count / 2) : Math.floor(count / 2));
    const from = conditional ? 0 : 1;
    good += await crashInto(server, share(objectKills), from);
    good += await failUnder(server, share(outages), from);
    await server.close();
  }
  return good;
}

async function crashInto({ settings }: ObjectStoreServer, count: number, from: number): Promise<number> {
  let good = 0;
  const data = { directory: folder, logStorage: 'object-store' } as const;
  const storage = { data, objectStore: settings };
  for (const [i, moment] of killMoments(seed + from, count, MOST_ACKNOWLEDGED_IN_OBJECTS).entries()) {
    const passed = await attempt(`object store writer ${i + 1} of ${count}`, async () => {
      const { acknowledged, size } = await crashOnce(storage, moment);
      return `${acknowledged} acknowledged, ${size} found`;
    });
    if (passed) good++;
  }
  return good;
}

/** Every other writer is killed while the store is away, the others after it is back. */
async function failUnder(server: ObjectStoreServer, count: number, from: number): Promise<number> {
  let good = 0;
  const data = { directory: folder, logStorage: 'object-store' } as const;
  const storage = { data, objectStore: { ...server.settings, attempts: 1 } };
  for (const [i, { acknowledged, ms }] of killMoments(
    seed + from,
    count,
    MOST_ACKNOWLEDGED_IN_OBJECTS,
  ).entries()) {
    const mood = FAILURES[i % FAILURES.length] ?? 'refuses';
    const during = (i + from) % 2 === 1;
    const outage = {
      acknowledged,
      ms: 50 * ms,
      killed: during,
      begin: () => (server.mood = mood),
      end: () => (server.mood = 'serves'),
    };
    const passed = await attempt(`object store that ${mood} ${i + 1} of ${count}`, async () => {
      const outcome = await crashOnce(storage, { acknowledged: acknowledged + 50, ms }, outage);
      return `${outcome.acknowledged} acknowledged, ${outcome.size} found, killed ${during ? 'meanwhile' : 'afterwards'}`;
    });
    if (passed) good++;
  }
  return good;
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
