import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../freePort.ts';

const CLI = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
/** As `npm start` and the `vouchsafe` program have them. */
const NODE_FLAGS = ['--max-semi-space-size=16'];
const START_LIMIT_MS = 60_000;

/** One service process with a data folder of its own. */
export interface RunningService {
  readonly url: string;
  readonly process: ChildProcess;
  readonly data: string;
  stop(): Promise<void>;
}

/** Starts the built service on a free port; `environment` overrides settings. */
export async function startService(environment: Record<string, string> = {}): Promise<RunningService> {
  const data = mkdtempSync(join(process.env['VOUCHSAFE_BENCH_DIR'] ?? tmpdir(), 'vouchsafe-bench-'));
  const port = await freePort();
  const child = spawn(
    process.execPath,
    [...NODE_FLAGS, CLI, 'serve', '--port', String(port), '--simulated'],
    {
      env: { ...process.env, VOUCHSAFE_DATA_DIRECTORY: data, VOUCHSAFE_LOG_LEVEL: 'warn', ...environment },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url, child);
  return {
    url,
    process: child,
    data,
    async stop() {
      const closed = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      await closed;
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Resolves when `/readyz` answers 200. */
export async function untilReady(url: string, child: ChildProcess): Promise<void> {
  const limit = Date.now() + START_LIMIT_MS;
  while (Date.now() < limit) {
    if (child.exitCode !== null) throw new Error(`the service ended with ${child.exitCode}`);
    const ready = await fetch(`${url}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    await delay(10);
  }
  throw new Error('the service did not get ready');
}

/** Memory of a process and all below it, bytes. Linux only. */
export interface TreeMemory {
  readonly rss: number;
  /** Proportional. The kernel tells it of processes of the service to root alone (`src/processes/coreDumps.ts`). */
  readonly pss: number | undefined;
}

export function memoryOfTree(pid: number): TreeMemory {
  const members = processTree(pid);
  return {
    rss: sum(members.map((member) => kilobytes(member, 'status', 'VmRSS'))),
    pss:
      process.getuid?.() === 0 ? sum(members.map((of) => kilobytes(of, 'smaps_rollup', 'Pss'))) : undefined,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function kilobytes(pid: number, file: 'status' | 'smaps_rollup', name: string): number {
  const text = readFileSync(`/proc/${pid}/${file}`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
}

function processTree(root: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const status = readFileSync(`/proc/${entry}/status`, 'utf8');
      parents.set(Number(entry), Number(/^PPid:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // The process ended between the listing and the reading.
    }
  }
  const tree = [root];
  for (const member of tree) {
    for (const [pid, parent] of parents) if (parent === member) tree.push(pid);
  }
  return tree;
}
