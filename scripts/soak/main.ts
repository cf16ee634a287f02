// npm run soak -- [--minutes N]: mixed load beyond capacity; only 200, 429 and 503, and memory that does not grow.
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { memoryOfTree, startService } from '../bench/service.ts';

const CONCURRENCY_LIMIT = 8;
const QUEUE_LIMIT = 16;
/** Four times what is worked on and waits at once. */
const CALLERS = 4 * (CONCURRENCY_LIMIT + QUEUE_LIMIT);
const ALLOWED = new Set([200, 429, 503]);
const SAMPLE_MS = 10_000;
/** Memory after warm-up may grow by this much in an hour, bytes. */
const MAX_GROWTH_PER_HOUR = 64 * 2 ** 20;

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
}

const CALLS: readonly Call[] = [
  {
    path: () => '/v1/embeddings',
    body: { model: 'glove-sif-100d', input: ['a short text', 'a somewhat longer text about nothing'] },
    vouched: true,
  },
  {
    path: () => '/v1/completions',
    body: { model: 'tinygpt-1m', prompt: 'The whale', max_tokens: 16 },
    vouched: true,
  },
  { path: () => `/v1/attestation?nonce=${randomBytes(32).toString('hex')}`, vouched: false },
  { path: () => '/v2/models/glove-sif-100d', vouched: false },
];

const statuses = new Map<number, number>();
let unreceipted = 0;
let receipts = 0;
const service = await startService({
  VOUCHSAFE_LIMITS_CONCURRENCY: String(CONCURRENCY_LIMIT),
  VOUCHSAFE_LIMITS_QUEUE: String(QUEUE_LIMIT),
});
const end = Date.now() + minutes * 60_000;
const memory: { readonly at: number; readonly rss: number }[] = [];
const sampler = setInterval(sample, SAMPLE_MS);
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

async function callOnce({ path, body, vouched }: Call): Promise<void> {
  const request = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
  const response = await fetch(service.url + path(), {
    ...request,
    headers: { 'content-type': 'application/json' },
  });
  await response.arrayBuffer();
  statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
  if (vouched && response.ok) {
    receipts++;
    if (!response.headers.has('vouchsafe-receipt-id')) unreceipted++;
  }
  if (response.status !== 200) await delay(20);
}

function sample(): void {
  const { rss } = memoryOfTree(service.process.pid ?? 0);
  memory.push({ at: Date.now(), rss });
  const left = Math.max(0, Math.round((end - Date.now()) / 1000));
  process.stdout.write(`${left} s left, ${[...statuses].join('; ')}, ${(rss / 2 ** 20).toFixed(0)} MiB\n`);
}

async function issuedReceipts(): Promise<number> {
  const text = await (await fetch(`${service.url}/metrics`)).text();
  return Number(/^vouchsafe_receipts_issued_total (\d+)/m.exec(text)?.[1] ?? -1);
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
  const problems = [
    ...unexpected.map(([status, count]) => `${count} answers of status ${status}`),
    ...(unreceipted > 0 ? [`${unreceipted} answers without a receipt`] : []),
    ...(issued < receipts ? [`${receipts} vouched answers, ${issued} receipts issued`] : []),
    ...(growth > MAX_GROWTH_PER_HOUR ? [`memory grows by ${(growth / 2 ** 20).toFixed(0)} MiB an hour`] : []),
  ];
  process.stdout.write(`answers by status: ${[...statuses].map(([s, n]) => `${s}: ${n}`).join(', ')}\n`);
  process.stdout.write(`receipts: ${issued}; memory slope: ${(growth / 2 ** 20).toFixed(1)} MiB an hour\n`);
  for (const problem of problems) process.stdout.write(`PROBLEM: ${problem}\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
