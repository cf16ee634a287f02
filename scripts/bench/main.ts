// npm run bench -- [--rounds N] [--seconds N] [--json]: the figures of the README, medians of paired rounds.
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { fsyncTime, latencyEmbeddings, loadEmbeddings, median } from './measure.ts';
import { freePort, memoryOfTree, startService, untilReady, type RunningService } from './service.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CONCURRENCY = 32;
const LATENCY_REQUESTS = 400;

interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal: string;
  readonly met: boolean | undefined;
}

const program = new Command('npm run bench --')
  .description('Measures what receipts cost, and how big and how quick to start the service is.')
  .option('--rounds <n>', 'paired rounds, receipts on and off in turn', '5')
  .option('--seconds <n>', 'seconds of each load', '6')
  .option('--json', 'print one JSON document')
  .addHelpText('after', '\nExample:\n  npm run bench -- --rounds 7 --json')
  .parse();
const options = program.opts<{ rounds: string; seconds: string; json?: boolean }>();

const say = (text: string) => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

const figures = [...(await costOfReceipts()), await timeToFirstAnswer()];
if (options.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
else for (const figure of figures) say(describe(figure));

/** The same server with receipts on against off. */
async function costOfReceipts(): Promise<readonly Figure[]> {
  const [rounds, seconds] = [Number(options.rounds), Number(options.seconds)];
  const on = await startService();
  const off = await startService({ VOUCHSAFE_RECEIPTS_ENABLED: 'false' });
  try {
    for (const service of [on, off]) await loadEmbeddings(service.url, CONCURRENCY, 3);
    const pairs = [];
    for (let round = 0; round < rounds; round++) pairs.push(await measurePair(on, off, seconds, round));
    const memory = memoryOfTree(on.process.pid ?? 0);
    const added = median(pairs.map(({ added }) => added));
    return [
      figure('throughput with receipts', median(pairs.map(({ on }) => on)), 'requests/s'),
      figure('throughput without receipts', median(pairs.map(({ off }) => off)), 'requests/s'),
      goal('throughput ratio', median(pairs.map(({ ratio }) => ratio)), '', 'at least 0.90', (v) => v >= 0.9),
      figure('fsync of one receipt, p50', median(pairs.map(({ fsync }) => fsync)), 'ms'),
      goal('added p50 beyond fsync', added, 'ms', 'at most 0.5 ms', (v) => v <= 0.5),
      goal('resident memory', memory.rss / 2 ** 20, 'MiB', 'at most 350 MB', (v) => v * 1.048576 <= 350),
      figure('proportional memory', memory.pss / 2 ** 20, 'MiB'),
    ];
  } finally {
    await Promise.all([on.stop(), off.stop()]);
  }
}

interface Pair {
  readonly on: number;
  readonly off: number;
  readonly ratio: number;
  readonly fsync: number;
  /** Median latency at concurrency 1 with receipts, less that without and less one fsync. */
  readonly added: number;
}

/** Alternates which goes first: what warms up or slows down with time hits both. */
async function measurePair(
  on: RunningService,
  off: RunningService,
  seconds: number,
  round: number,
): Promise<Pair> {
  const order = round % 2 === 0 ? [on, off] : [off, on];
  const throughput = new Map<RunningService, number>();
  const latency = new Map<RunningService, number>();
  for (const service of order) {
    const result = await loadEmbeddings(service.url, CONCURRENCY, seconds);
    if (result.errors > 0) throw new Error(`${result.errors} requests failed`);
    throughput.set(service, result.throughput);
  }
  for (const service of order) latency.set(service, await latencyEmbeddings(service.url, LATENCY_REQUESTS));
  const fsync = fsyncTime(on.data);
  const [rateOn, rateOff] = [throughput.get(on) ?? 0, throughput.get(off) ?? 0];
  const added = (latency.get(on) ?? 0) - (latency.get(off) ?? 0) - fsync;
  const [ratio, text] = [rateOn / rateOff, (value: number) => value.toFixed(3)];
  say(
    `round ${round + 1}: ${rateOn.toFixed(0)} / ${rateOff.toFixed(0)} = ${text(ratio)}, added ${text(added)} ms`,
  );
  return { on: rateOn, off: rateOff, ratio, fsync, added };
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

function figure(name: string, value: number, unit: string): Figure {
  return { name, value, unit, goal: '', met: undefined };
}

function goal(
  name: string,
  value: number,
  unit: string,
  text: string,
  met: (value: number) => boolean,
): Figure {
  return { name, value, unit, goal: text, met: met(value) };
}

function describe({ name, value, unit, goal: text, met }: Figure): string {
  const verdict = met === undefined ? '' : `  (${text}: ${met ? 'met' : 'MISSED'})`;
  return `${name.padEnd(36)} ${value.toPrecision(4)} ${unit}${verdict}`;
}
