// npm run soak -- [--minutes N]: mixed load beyond capacity; only 200, 429 and 503, one receipt for
// each answer, an event loop in time, and memory that does not grow. The callers are nice to the service (19), as if
// they were on other machines; what they ask for at once is the same.
import { randomBytes } from 'node:crypto';
import { constants, setPriority } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { median } from '../bench/measure.ts';
import { memoryOfTree, startService } from '../bench/service.ts';

const CONCURRENCY_LIMIT = 8;
const QUEUE_LIMIT = 16;
/** Four times what is worked on and waits at once. */
const CALLERS = 4 * (CONCURRENCY_LIMIT + QUEUE_LIMIT);
const ALLOWED = new Set([200, 429, 503]);
const SAMPLE_MS = 10_000;
/** Memory after warm-up may grow by this much in an hour, bytes. */
const MAX_GROWTH_PER_HOUR = 64 * 2 ** 20;
/** 99 % of the delays of the event loop, seconds. */
const MAX_DELAY = 0.02;

const program = new Command('npm run soak --')
  .description('Runs mixed load at four times the capacity of one service and watches it.')
  .option('--minutes <n>', 'how long', '30')
  .addHelpText('after', '\nExample:\n  npm run soak -- --minutes 5')
  .parse();
const minutes = Number(program.opts<{ minutes: string }>().minutes);
if (!(minutes > 0)) program.error('--minutes takes a positive number');

interface Call {
  readonly path: () => string;
  readonly body?: unknown;
  /** Whether a 200 must name a receipt. */
  readonly vouched: boolean;
  /** The client goes away after the first bytes. */
  readonly aborts?: boolean;
}

const embedding = (input: unknown): Call => ({
  path: () => '/v1/embeddings',
  body: { model: 'glove-sif-100d', input },
  vouched: true,
});
const completion = (settings: object, aborts = false): Call => ({
  path: () => '/v1/completions',
  body: { model: 'tinygpt-1m', prompt: 'The whale', ...settings },
  vouched: true,
  aborts,
});

const CALLS: readonly Call[] = [
  embedding(['a short text', 'a somewhat longer text about nothing']),
  completion({ max_tokens: 16 }),
  completion({ max_tokens: 48, stream: true, temperature: 1, seed: 7 }),
  embedding('one text'),
  completion({ max_tokens: 200, stream: true }, true),
  completion({ max_tokens: 24, n: 3, temperature: 0.8 }),
  { path: () => `/v1/attestation?nonce=${randomBytes(32).toString('hex')}`, vouched: false },
  { path: () => '/v2/models/glove-sif-100d', vouched: false },
];

/** Answers with a receipt, by its id: one that comes twice is a fault. */
const receipts = new Set<string>();
let answers = 0;
/** p99 of the delay of the service's event loop in each sample, seconds. */
const delays: number[] = [];
const statuses = new Map<number, number>();
let unreceipted = 0;
const service = await startService({
  VOUCHSAFE_LIMITS_CONCURRENCY: String(CONCURRENCY_LIMIT),
  VOUCHSAFE_LIMITS_QUEUE: String(QUEUE_LIMIT),
});
// Only now: what a process starts is as nice as it is.
setPriority(constants.priority.PRIORITY_LOW);
const end = Date.now() + minutes * 60_000;
const memory: { readonly at: number; readonly rss: number }[] = [];
const sampler = setInterval(() => void sample(), SAMPLE_MS);
await Promise.all(Array.from({ length: CALLERS }, (_, i) => callUntilEnd(i)));
clearInterval(sampler);
const issued = await issuedReceipts();
await service.stop();
report();

async function callUntilEnd(first: number): Promise<void> {
  for (let i = first; Date.now() < end; i++) {
    const call = CALLS[i % CALLS.length];
    if (call) await callOnce(call);
  }
}

async function callOnce({ path, body, vouched, aborts }: Call): Promise<void> {
  const away = new AbortController();
  const request = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  const response = await fetch(service.url + path(), {
    ...request,
    signal: away.signal,
    headers: { 'content-type': 'application/json' },
  });
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
  const id = response.headers.get('vouchsafe-receipt-id');
  // What fails once it was admitted has a receipt, too.
  if (vouched && (response.ok || id !== null)) {
    answers++;
    if (id === null) unreceipted++;
    else receipts.add(id);
  }
  if (aborts && response.ok) {
    await response.body?.getReader().read();
    away.abort();
  } else {
    await response.arrayBuffer();
  }
  if (response.status !== 200) await delay(20);
}

async function sample(): Promise<void> {
  const { rss } = memoryOfTree(service.process.pid ?? 0);
  memory.push({ at: Date.now(), rss });
  const late = await metric('vouchsafe_event_loop_delay_p99_seconds');
  delays.push(late);
  const left = Math.max(0, Math.round((end - Date.now()) / 1000));
  const shown = `${(rss / 2 ** 20).toFixed(0)} MiB, loop p99 ${(late * 1000).toFixed(1)} ms`;
  process.stdout.write(`${left} s left, ${[...statuses].join('; ')}, ${shown}\n`);
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)`, 'm').exec(text)?.[1] ?? NaN);
}

/** Receipts in the service's log, once it has ended those of the clients that went away. */
async function issuedReceipts(): Promise<number> {
  await delay(2_000);
  return metric('vouchsafe_receipts_issued_total');
}

/** Least-squares slope over the second half, when caches are full, in bytes per hour. */
function growthPerHour(): number {
  const settled = memory.slice(Math.floor(memory.length / 2));
  if (settled.length < 3) return 0;
  const meanAt = settled.reduce((sum, { at }) => sum + at, 0) / settled.length;
  const meanRss = settled.reduce((sum, { rss }) => sum + rss, 0) / settled.length;
  const covariance = settled.reduce((sum, { at, rss }) => sum + (at - meanAt) * (rss - meanRss), 0);
  const variance = settled.reduce((sum, { at }) => sum + (at - meanAt) ** 2, 0);
  return (covariance / variance) * 3_600_000;
}

function report(): void {
  const unexpected = [...statuses].filter(([status]) => !ALLOWED.has(status));
  const growth = growthPerHour();
  const late = median(delays);
  const problems = [
    ...unexpected.map(([status, count]) => `${count} answers of status ${status}`),
    ...(unreceipted > 0 ? [`${unreceipted} answers without a receipt`] : []),
    ...(receipts.size + unreceipted !== answers
      ? [`${answers} answers, ${receipts.size} different receipts`]
      : []),
    ...(issued !== answers ? [`${answers} vouched answers, ${issued} receipts in the log`] : []),
    ...(late > MAX_DELAY ? [`the event loop is late by ${(late * 1000).toFixed(1)} ms`] : []),
    ...(growth > MAX_GROWTH_PER_HOUR ? [`memory grows by ${(growth / 2 ** 20).toFixed(0)} MiB an hour`] : []),
  ];
  process.stdout.write(`answers by status: ${[...statuses].map(([s, n]) => `${s}: ${n}`).join(', ')}\n`);
  process.stdout.write(
    `receipts: ${issued}; memory slope: ${(growth / 2 ** 20).toFixed(1)} MiB an hour; event loop p99: ${(late * 1000).toFixed(1)} ms, median of ${delays.length} samples\n`,
  );
  for (const problem of problems) process.stdout.write(`PROBLEM: ${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
