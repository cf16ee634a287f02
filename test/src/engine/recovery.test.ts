import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { appendFile, cp } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import type { EngineEvent, EngineOptions } from '../../../src/engine/options.ts';
import { startTestEngine } from '../../support/engine.ts';
import { copyShipped, makeStore, SHIPPED_MODELS } from '../../support/store.ts';

// Each start of an engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const EMBED = 'glove-sif-100d';
const GENERATE = 'tinygpt-1m';
const FAST = { backoff: { firstMs: 10, capMs: 50 } };

let engine: Engine | undefined;
afterEach(async () => {
  // A process that a failed test left stopped is killed by the engine's own end.
  await engine?.close();
  engine = undefined;
});

/** One model loads faster than all that are shipped. */
async function oneModel(): Promise<string> {
  const directory = await makeStore();
  await cp(join(SHIPPED_MODELS, EMBED), join(directory, EMBED), { recursive: true });
  return directory;
}

async function start(directory: string, options: Partial<EngineOptions> = {}): Promise<Engine> {
  engine = await startTestEngine(directory, { ...FAST, ...options });
  return engine;
}

/** Waits for a condition that comes about within a minute, or fails. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 6000 && !condition(); i++) await sleep(10);
  expect(condition()).toBe(true);
}

const signal = (running: Engine, name: NodeJS.Signals): boolean => process.kill(running.health().pid!, name);

/** Different nice values of the threads of the process, those of the runtime among them (proc_pid_stat(5), field 19). */
function niceValues(running: Engine): readonly number[] {
  const tasks = `/proc/${running.health().pid!}/task`;
  const values = readdirSync(tasks).map((thread) => {
    const [, afterName = ''] = readFileSync(`${tasks}/${thread}/stat`, 'utf8').split(') ');
    return Number(afterName.split(' ')[16]);
  });
  return [...new Set(values)];
}

describe('the process of the engine', () => {
  test('lets onnxruntime report nothing to anyone', async () => {
    const running = await start(await oneModel());
    const environment = readFileSync(`/proc/${running.health().pid!}/environ`, 'utf8').split('\0');
    expect(environment).toContain('ORT_DISABLE_TELEMETRY=1');
  });

  test('goes behind the one that answers, with all of its threads, also after a restart', async () => {
    const running = await start(await oneModel());
    const behind = [Math.min(getPriority() + 5, 19)];
    expect(niceValues(running)).toEqual(behind);
    signal(running, 'SIGKILL');
    await until(() => running.health().restarts === 1 && running.health().state === 'ready');
    expect(niceValues(running)).toEqual(behind);
  });
});

describe('a process that dies', () => {
  test('fails what is in flight, restarts, and answers as before under the same identity', async () => {
    const events: EngineEvent[] = [];
    const running = await start(SHIPPED_MODELS, { onEvent: (event) => events.push(event) });
    const before = await running.embed(EMBED, ['a house']);
    const digests = [...running.models.values()].map((model) => toHex(model.manifestDigest));

    const generation = running.generate(GENERATE, 'The', { maxTokens: 250 }, () => {
      if (running.health().restarts === 0) signal(running, 'SIGKILL');
    });
    await expect(generation).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    expect(running.health().state).toBe('restarting');
    await expect(running.embed(EMBED, ['x'])).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });

    await until(() => running.health().state === 'ready');
    expect(running.health()).toMatchObject({ restarts: 1, pending: 0, refused: [] });
    expect(running.health().lastFailure).toContain('SIGKILL');
    expect(await running.embed(EMBED, ['a house'])).toEqual(before);
    expect([...running.models.values()].map((model) => toHex(model.manifestDigest))).toEqual(digests);
    expect(events.map((event) => event.kind)).toEqual(['ready', 'died', 'ready']);
  });

  test('fails every waiting call, whatever its task', async () => {
    const running = await start(SHIPPED_MODELS);
    signal(running, 'SIGSTOP');
    const calls = Promise.allSettled([
      running.embed(EMBED, ['x']),
      running.embed(EMBED, ['y'], { deadlineMs: 600_000 }),
      running.generate(GENERATE, 'The', { maxTokens: 1 }, () => undefined),
    ]);
    expect(running.health().pending).toBe(3);
    signal(running, 'SIGKILL');
    for (const call of await calls) {
      expect(call).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_UNAVAILABLE' } });
    }
    expect(running.health().pending).toBe(0);
  });

  test('waits longer after each failure in a row, up to the cap', async () => {
    const delays: number[] = [];
    const running = await start(await oneModel(), {
      onEvent: (event) => {
        if (event.kind === 'died') delays.push(event.retryInMs);
      },
    });
    for (let restarts = 1; restarts <= 4; restarts++) {
      signal(running, 'SIGKILL');
      await until(() => running.health().state === 'ready' && running.health().restarts === restarts);
    }
    expect(delays).toEqual([10, 20, 40, 50]);
  });

  test('may not come back with other files', async () => {
    const directory = await copyShipped();
    const running = await start(directory);
    await appendFile(join(directory, EMBED, 'tokenizer_config.json'), ' ');
    signal(running, 'SIGKILL');
    await until(() => running.health().restarts === 1 && running.health().state === 'ready');
    expect(running.health().refused).toMatchObject([{ model: EMBED, code: 'MODEL_CHANGED' }]);
    expect(running.health().refused[0]!.message).toContain('tokenizer_config.json');
    await expect(running.embed(EMBED, ['x'])).rejects.toMatchObject({ code: 'MODEL_REFUSED' });
    const tokens: string[] = [];
    await running.generate(GENERATE, 'The', { maxTokens: 2 }, ({ text }) => tokens.push(text));
    expect(tokens).toHaveLength(2);
  });
});

describe('a process that hangs', () => {
  test('keeps neither callers past their deadline nor more of them than the limit', async () => {
    const running = await start(await oneModel(), { maxPending: 2 });
    signal(running, 'SIGSTOP');
    const late = running.embed(EMBED, ['x'], { deadlineMs: 20 });
    const controller = new AbortController();
    const gone = running.embed(EMBED, ['x'], { signal: controller.signal });
    await expect(running.embed(EMBED, ['x'])).rejects.toMatchObject({ code: 'QUEUE_FULL' });
    controller.abort();
    await expect(gone).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(late).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    signal(running, 'SIGCONT');
    await until(() => running.health().pending === 0);
    expect((await running.embed(EMBED, ['x'])).tokens).toEqual([1]);
    expect(running.health().restarts).toBe(0);
  });

  test('is killed and replaced', async () => {
    const running = await start(await oneModel(), { stallMs: 200 });
    signal(running, 'SIGSTOP');
    await expect(running.embed(EMBED, ['x'])).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await until(() => running.health().state === 'ready');
    expect(running.health().lastFailure).toContain('no answer');
    expect((await running.embed(EMBED, ['x'])).tokens).toEqual([1]);
  });
});

describe('the end', () => {
  test('of the engine fails what is in flight and stays', async () => {
    const running = await start(await oneModel());
    const pid = running.health().pid!;
    const pending = running.embed(EMBED, ['x']);
    const closed = running.close();
    await expect(pending).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
    await closed;
    expect(running.health().state).toBe('stopped');
    expect(() => process.kill(pid, 0)).toThrow();
    await expect(running.embed(EMBED, ['x'])).rejects.toMatchObject({ code: 'ENGINE_UNAVAILABLE' });
  });

  test('of the parent, however sudden, ends the process', async () => {
    const dist = new URL('../../../dist/', import.meta.url);
    const script = `
      const { startEngine } = await import(${JSON.stringify(new URL('src/engine/host.js', dist).href)});
      const childEntry = new URL(${JSON.stringify(new URL('src/engine/child.js', dist).href)});
      const engine = await startEngine({ models: [], provider: 'cpu', childEntry });
      process.stdout.write(String(engine.health().pid));`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output] = (await once(parent.stdout, 'data')) as [Buffer];
    const pid = Number(output.toString());
    const alive = (): boolean => {
      try {
        // A zombie that nobody has reaped yet is dead.
        return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return false;
      }
    };
    expect(alive()).toBe(true);
    parent.kill('SIGKILL');
    await until(() => !alive());
  });
});
