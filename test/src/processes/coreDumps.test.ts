import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { forbidCoreDumps } from '../../../src/processes/coreDumps.ts';
import { makeFolder } from '../../support/service.ts';
import { PROGRAM } from '../cli/program.ts';

/** Working folder of the engine process. */
const ENGINE_FOLDER = dirname(fileURLToPath(new URL('../../../dist/src/engine/child.js', import.meta.url)));
/** Where a limit does not keep the kernel from it, what is killed leaves a core dump. */
const UNLIMITED = ['-c', 'ulimit -c unlimited && exec "$0" "$@"'];

function coresIn(folder: string): readonly string[] {
  return readdirSync(folder).filter((name) => /^core(?:\.|$)/.test(name));
}

/** Nothing but our own code belongs there: a dump is a hundred megabytes. */
function removeEngineCores(): readonly string[] {
  const found = coresIn(ENGINE_FOLDER);
  for (const name of found) rmSync(join(ENGINE_FOLDER, name));
  return found;
}

/** Whether a process that does nothing against it leaves a core dump in its folder. */
function leavesCores(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-core-'));
  try {
    spawnSync('sh', [...UNLIMITED, process.execPath, '-e', 'process.abort()'], { cwd: folder });
    return coresIn(folder).length > 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Processes of the service, the one that signs first, with their command lines. */
function processesOf(signer: number): readonly (readonly [pid: number, line: string])[] {
  const { stdout } = spawnSync('pgrep', ['-P', String(signer)], { encoding: 'utf8' });
  const pids = [signer, ...stdout.split('\n').filter(Boolean).map(Number)];
  return pids.map((pid) => [pid, readFileSync(`/proc/${pid}/cmdline`, 'latin1')]);
}

const reason = !existsSync(PROGRAM)
  ? 'no dist'
  : spawnSync('pgrep', ['-V']).error
    ? 'no pgrep'
    : leavesCores()
      ? undefined
      : 'this machine writes no core dumps into working folders';
if (reason !== undefined) test.skip(`core dumps of the service: skipped: ${reason}`, () => undefined);

(reason === undefined ? test : test.skip)(
  'no process of the service leaves a core dump when it is killed, under no limit',
  async () => {
    const folder = await makeFolder();
    removeEngineCores();
    const service = spawn('sh', [...UNLIMITED, process.execPath, PROGRAM, 'serve', '--simulated'], {
      cwd: folder,
      env: {
        PATH: process.env['PATH'] ?? '',
        VOUCHSAFE_DATA_DIRECTORY: join(folder, 'data'),
        VOUCHSAFE_SERVER_PORT: '0',
        VOUCHSAFE_SERVER_PROCESSES: '2',
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let said = '';
    service.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = new Promise((resolve) => {
      service.once('exit', (_code, signal) => {
        resolve(signal);
      });
    });
    while (!said.includes('is ready') && service.exitCode === null) await delay(50);
    const found = processesOf(service.pid!);
    const killed = [/engine\/child/, /processes\/worker/, /cli\/main/].map((part) =>
      found.find(([, line]) => part.test(line)),
    );
    expect(killed).not.toContain(undefined);
    for (const [pid] of killed.flatMap((one) => (one ? [one] : []))) {
      process.kill(pid, 'SIGABRT');
      // It is gone only when the kernel has written what it writes.
      while (pid !== service.pid && existsSync(`/proc/${pid}`)) await delay(10);
    }
    expect(await ended).toBe('SIGABRT');
    expect([...coresIn(folder), ...removeEngineCores()]).toEqual([]);
  },
  120_000,
);

(reason === undefined ? test : test.skip)(
  'a witness leaves none either',
  async () => {
    const folder = await makeFolder();
    await writeFile(join(folder, 'logs.txt'), '');
    const args = ['witness', 'serve', '--name', 'w', '--port', '0', '--logs', 'logs.txt', '--state', 'state'];
    const witness = spawn('sh', [...UNLIMITED, process.execPath, PROGRAM, ...args], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(witness, 'exit');
    let said = '';
    witness.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    while (!said.includes('vkey') && witness.exitCode === null) await delay(50);
    witness.kill('SIGABRT');
    expect(await ended).toEqual([null, 'SIGABRT']);
    expect(coresIn(folder)).toEqual([]);
  },
  60_000,
);

test('a machine on which it cannot be done says what that means', () => {
  const told = forbidCoreDumps(() => {
    throw new Error('no library');
  });
  expect(told).toEqual(expect.any(String));
});
