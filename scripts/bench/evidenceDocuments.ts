import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { figure, goal, type Figure } from './figure.ts';
import { median } from './measure.ts';

const SERVICE = fileURLToPath(new URL('evidenceService.ts', import.meta.url));
const CLIENTS = [1, 10, 100] as const;
/** What the simulated hardware takes for a report of the CPU and for those of all GPUs, one after the other. */
const [CPU_MS, GPU_MS] = [10, 50];
const COLLECTION_MS = CPU_MS + GPU_MS;
const WARM_UP_MS = 1000;

/** Evidence documents under clients that each bring a nonce of their own, over HTTP to a process of its own. */
export async function evidenceFigures(
  rounds: number,
  seconds: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const service = await start();
  try {
    const figures: Figure[] = [];
    for (const clients of CLIENTS) {
      await load(service.url, clients, WARM_UP_MS);
      const runs: Load[] = [];
      for (let round = 0; round < rounds; round++) {
        const run = await load(service.url, clients, seconds * 1000);
        runs.push(run);
        say(
          `evidence, ${clients} clients, ${round + 1}: ${run.documents.toFixed(1)} documents/s, p99 ${run.p99.toFixed(0)} ms`,
        );
      }
      figures.push(...figuresOf(clients, runs));
    }
    return figures;
  } finally {
    await service.stop();
  }
}

function figuresOf(clients: number, runs: readonly Load[]): readonly Figure[] {
  const name = `evidence, ${clients} ${clients === 1 ? 'client' : 'clients'}`;
  const of = (read: (run: Load) => number) => median(runs.map(read));
  const times = of(({ p99 }) => p99) / COLLECTION_MS;
  return [
    figure(
      `${name}: documents`,
      of(({ documents }) => documents),
      '/s',
    ),
    figure(
      `${name}: answers`,
      of(({ answers }) => answers),
      '/s',
    ),
    figure(
      `${name}: p50`,
      of(({ p50 }) => p50),
      'ms',
    ),
    figure(
      `${name}: p99`,
      of(({ p99 }) => p99),
      'ms',
    ),
    goal(`${name}: p99 in collections`, times, '', 'below 3', (value) => value < 3),
  ];
}

interface Load {
  /** Per second. */
  readonly documents: number;
  readonly answers: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** Each client asks again as soon as it is answered. */
async function load(url: string, clients: number, milliseconds: number): Promise<Load> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const samples: number[] = [];
  const first = await sequence(url);
  const began = performance.now();
  const client = async (): Promise<void> => {
    while (performance.now() - began < milliseconds) {
      const asked = performance.now();
      await ask(`${url}/v1/attestation?nonce=${randomBytes(32).toString('hex')}`, agent);
      samples.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const taken = (performance.now() - began) / 1000;
  const documents = (await sequence(url)) - first;
  agent.destroy();
  const sorted = samples.toSorted((a, b) => a - b);
  return {
    documents: documents / taken,
    answers: samples.length / taken,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
  };
}

function percentile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** Reads the whole answer and looks at nothing in it: the client must not be what is measured. */
function ask(url: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve();
        else reject(new Error(`answered ${response.statusCode ?? 'nothing'}`));
      });
      response.resume();
    }).on('error', reject);
  });
}

/** Number of the newest document. */
async function sequence(url: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^vouchsafe_evidence_sequence (\d+)$/m.exec(metrics)?.[1]);
}

interface EvidenceService {
  readonly url: string;
  stop(): Promise<void>;
}

async function start(): Promise<EvidenceService> {
  const args = ['--max-semi-space-size=16', '--import', 'tsx', SERVICE, String(CPU_MS), String(GPU_MS)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const lines = createInterface(child.stdout);
  const started = once(lines, 'line') as Promise<[string]>;
  const [url] = await Promise.race([
    started,
    closed.then(() => Promise.reject(new Error('the service ended before it served'))),
  ]);
  return {
    url,
    stop: async () => {
      child.kill('SIGTERM');
      await closed;
    },
  };
}
