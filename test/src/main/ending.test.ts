import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { CollectError } from '../../../enclave/collect/errors.ts';
import { endVouching } from '../../../src/main/ending.ts';

// Node joins all threads of its pool before a process ends, in `process.exit` as well: one that hangs in a driver would
// keep the process for ever.

const ENTRY = fileURLToPath(new URL('endedProcess.mjs', import.meta.url));
const MAIN = new URL('../../../dist/src/main.js', import.meta.url);

let folder: string;
let fifo: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ending-'));
  fifo = join(folder, 'device');
  expect(spawnSync('mkfifo', [fifo]).status).toBe(0);
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true });
});

/** A process that serves, with a call that hangs or without; `stopHangs` where stopping never ends. */
async function start(parameters: readonly string[], stopHangs = false): Promise<ChildProcess> {
  const env = { PATH: process.env['PATH'] ?? '', ...(stopHangs && { HANGS: '1' }) };
  const child = fork(ENTRY, [MAIN.href, ...parameters], { execArgv: [], env });
  children.push(child);
  await once(child, 'message');
  return child;
}

/** Sends the signal and, once it is taken, ends the channel, which keeps a process as well. */
async function signal(child: ChildProcess): Promise<void> {
  const asked = once(child, 'message');
  child.kill('SIGTERM');
  await asked;
}

async function ending(child: ChildProcess): Promise<readonly unknown[]> {
  const ended = once(child, 'exit');
  child.send('go');
  return ended;
}

/** Spawned processes run compiled code. */
function describeCompiled(name: string, suite: () => void): void {
  if (existsSync(MAIN)) describe(name, suite);
  else describe(name, () => test.skip('skipped: not built', () => undefined));
}

describe('the final evidence', () => {
  test('is waited for', async () => {
    const done: string[] = [];
    const stop = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      done.push('stopped');
    };
    await endVouching({ stop }, { close: () => Promise.resolve(void done.push('closed')) });
    expect(done).toEqual(['stopped']);
  });

  test('is given up where the hardware does not make it: closed, that says so', async () => {
    let refuse: (error: Error) => void = () => undefined;
    const collection = new Promise<never>((_, reject) => (refuse = reject));
    // As a collector does: what is asked of it ends when it is closed, and the line of evidence notes the failure.
    const stop = () => collection.catch(() => undefined);
    const close = () => {
      refuse(new CollectError('STOPPED', 'closed'));
      return new Promise<void>(() => undefined);
    };
    await expect(endVouching({ stop }, { close }, 1)).resolves.toBeUndefined();
  });
});

describeCompiled('a service that is told to stop', () => {
  test('ends by itself where nothing hangs', async () => {
    const child = await start([]);
    await signal(child);
    expect(await ending(child)).toEqual([0, null]);
  });

  test('is ended by the signal where a call to a device has not come back', async () => {
    const child = await start([fifo]);
    await signal(child);
    expect(await ending(child)).toEqual([null, 'SIGTERM']);
  });

  test('is ended at once by the second signal, whatever hangs', async () => {
    const child = await start([fifo], true);
    await signal(child);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await ended).toEqual([null, 'SIGTERM']);
  });
});
