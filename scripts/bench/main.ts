// npm run bench -- [--rounds N] [--seconds N] [--json]: the figures of the README, medians of paired rounds.
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, Option } from 'commander';
import { auditFigures } from './audit.ts';
import { bundleFigures } from './browserBundle.ts';
import { clientFigures } from './client.ts';
import { fsyncTime, latencyEmbeddings, loadEmbeddings, median, type Load } from './measure.ts';
import { verifierFigures } from './verifierFigures.ts';
import { evidenceFigures } from './evidenceDocuments.ts';
import { figure, goal, type Figure } from './figure.ts';
import { gpuFigures } from './gpuFigures.ts';
import { logFigures } from './log.ts';
import { embeddingFigures } from './inference/embeddings.ts';
import { generationFigures } from './inference/generation.ts';
import { sealedFigures } from './sealed.ts';
import { pageFigures } from './page.ts';
import { freePort } from '../freePort.ts';
import { memoryOfTree, startService, untilReady, type RunningService } from './service.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CONCURRENCY = 32;
const LANGUAGE_MODEL = join(ROOT, '../shared/models/tinygpt-3m');
const LATENCY_REQUESTS = 400;
const PARTS = [
  'service',
  'generation',
  'embeddings',
  'verifiers',
  'gpu',
  'bundle',
  'log',
  'audit',
  'evidence',
  'sealed',
  'client',
  'page',
] as const;
type Part = (typeof PARTS)[number];

const program = new Command('npm run bench --')
  .description(
    'Measures what receipts cost, how big and how quick to start the service is, generation and embeddings against their peers, the verifiers, what a page loads, and evidence under many clients.',
  )
  .addOption(new Option('--only <part>', 'one part of all').choices(PARTS))
  .option('--verifications <n>', 'how many to watch the memory of', '100000')
  .option('--rounds <n>', 'paired rounds, receipts on and off in turn', '5')
  .option('--seconds <n>', 'seconds of each load', '6')
  .option('--model <folder>', 'language model of the generation figures', LANGUAGE_MODEL)
  .option('--log-entries <n>', 'entries of the log whose proofs are measured', '1000000')
  .option('--receipts <n>', 'receipts of the log that is audited', '100000')
  .option('--json', 'print one JSON document')
  .addHelpText('after', '\nExample:\n  npm run bench -- --rounds 7 --json')
  .parse();
const options = program.opts<{
  rounds: string;
  seconds: string;
  only?: Part;
  verifications: string;
  receipts: string;
  model: string;
  logEntries: string;
  json?: boolean;
}>();
const [rounds, seconds] = [Number(options.rounds), Number(options.seconds)];
if (!(rounds >= 1 && seconds >= 1)) program.error('--rounds and --seconds take numbers from 1');

const say = (text: string) => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

const measure: Readonly<Record<Part, () => Promise<readonly Figure[]>>> = {
  service: async () => [...(await costOfReceipts()), await timeToFirstAnswer()],
  generation: () => generationFigures(options.model, rounds, say),
  embeddings: () => embeddingFigures(rounds, seconds, say),
  verifiers: () => verifierFigures(rounds, Number(options.verifications), say),
  gpu: () => gpuFigures(rounds, say),
  bundle: bundleFigures,
  audit: () => auditFigures(Number(options.receipts), rounds, say),
  evidence: () => evidenceFigures(rounds, seconds, say),
  sealed: () => sealedFigures(rounds, say),
  client: () => clientFigures(rounds, say),
  page: () => pageFigures(rounds, say),
  log: () => logFigures(rounds, seconds, Number(options.logEntries), say),
};
const figures: Figure[] = [];
for (const part of options.only ? [options.only] : PARTS) figures.push(...(await measure[part]()));
if (options.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
else for (const figure of figures) say(describe(figure));

/** The same server with receipts on against off. */
async function costOfReceipts(): Promise<readonly Figure[]> {
  const on = await startService();
  const off = await startService({ VOUCHSAFE_RECEIPTS_ENABLED: 'false' });
  try {
    const throughput: Figure[] = [];
    for (const load of ['passages', 'mixture', 'short'] as const) {
      throughput.push(...throughputFigures(load, await compareThroughput({ on, off }, load)));
    }
    const latencies = await compareLatency({ on, off });
    const memory = memoryOfTree(on.process.pid ?? 0);
    return [
      ...throughput,
      ...latencies,
      goal('resident memory', memory.rss / 1e6, 'MB', 'at most 350', (value) => value <= 350),
      ...(memory.pss === undefined ? [] : [figure('proportional memory', memory.pss / 1e6, 'MB')]),
    ];
  } finally {
    await Promise.all([on.stop(), off.stop()]);
  }
}

interface Services {
  readonly on: RunningService;
  readonly off: RunningService;
}

interface Pair {
  readonly on: number;
  readonly off: number;
}

/** Alternates which goes first: what warms up or slows down with time hits both. */
async function compareThroughput({ on, off }: Services, load: Load): Promise<readonly Pair[]> {
  for (const service of [on, off]) await loadEmbeddings(service.url, CONCURRENCY, 2, load);
  const pairs: Pair[] = [];
  for (let round = 0; round < rounds; round++) {
    const rates = new Map<RunningService, number>();
    for (const service of round % 2 === 0 ? [on, off] : [off, on]) {
      const result = await loadEmbeddings(service.url, CONCURRENCY, seconds, load);
      if (result.errors > 0) throw new Error(`${result.errors} requests failed`);
      rates.set(service, result.throughput);
    }
    const pair = { on: rates.get(on) ?? 0, off: rates.get(off) ?? 0 };
    pairs.push(pair);
    say(
      `${load} ${round + 1}: ${pair.on.toFixed(0)} / ${pair.off.toFixed(0)} = ${(pair.on / pair.off).toFixed(3)}`,
    );
  }
  return pairs;
}

function throughputFigures(load: Load, pairs: readonly Pair[]): readonly Figure[] {
  const ratio = median(pairs.map(({ on, off }) => on / off));
  return [
    figure(`${load}: with receipts`, median(pairs.map(({ on }) => on)), 'requests/s'),
    figure(`${load}: without`, median(pairs.map(({ off }) => off)), 'requests/s'),
    goal(`${load}: ratio`, ratio, '', 'at least 0.90', (value) => value >= 0.9),
  ];
}

/** At concurrency 1: what receipts add to the median, less what the disk takes to sync one. */
async function compareLatency({ on, off }: Services): Promise<readonly Figure[]> {
  const samples = [];
  for (let round = 0; round < rounds; round++) {
    const [without, withReceipts] = [
      await latencyEmbeddings(off.url, LATENCY_REQUESTS),
      await latencyEmbeddings(on.url, LATENCY_REQUESTS),
    ];
    const fsync = fsyncTime(on.data);
    samples.push({ without, withReceipts, fsync, added: withReceipts - without - fsync });
    say(
      `latency ${round + 1}: ${withReceipts.toFixed(2)} - ${without.toFixed(2)} - fsync ${fsync.toFixed(2)} ms`,
    );
  }
  const added = median(samples.map((sample) => sample.added));
  return [
    figure('p50 with receipts, concurrency 1', median(samples.map((sample) => sample.withReceipts)), 'ms'),
    figure('p50 without', median(samples.map((sample) => sample.without)), 'ms'),
    figure('p50 of one fsync', median(samples.map((sample) => sample.fsync)), 'ms'),
    goal('added p50 beyond fsync', added, 'ms', 'at most 0.5', (value) => value <= 0.5),
  ];
}

/** From `npm start` in a clone that is built to the first answer that was verified. */
async function timeToFirstAnswer(): Promise<Figure> {
  const samples: number[] = [];
  for (let i = 0; i < 3; i++) samples.push(await startToAnswer());
  return figure('npm start to first verified answer', median(samples) / 1000, 's');
}

async function startToAnswer(): Promise<number> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const started = performance.now();
  const server = spawn('npm', ['start', '--silent', '--', '--port', String(port), '--simulated'], {
    cwd: ROOT,
    env: { ...process.env, VOUCHSAFE_DATA_DIRECTORY: `${tmpdir()}/vouchsafe-bench-start-${port}` },
    stdio: 'ignore',
    detached: true,
  });
  try {
    await untilReady(url, server);
    await embedOnce(url);
    return performance.now() - started;
  } finally {
    if (server.pid !== undefined) process.kill(-server.pid, 'SIGTERM');
  }
}

function embedOnce(url: string): Promise<void> {
  const args = ['dist/src/cli/main.js', 'embed', '--url', url, '--allow-simulated', 'hello'];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'ignore' });
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Error(`embed ended with ${code}`));
    });
  });
}

function describe({ name, value, unit, goal: text, met }: Figure): string {
  const verdict = met === undefined ? '' : `  (${text}: ${met ? 'met' : 'MISSED'})`;
  return `${name.padEnd(36)} ${value.toPrecision(4)} ${unit}${verdict}`;
}
