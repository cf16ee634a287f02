import { describe, expect, test } from '@jest/globals';
import { type Ended, type ServiceRun, Supervisor } from '../../../../enclave/image/guest/service.ts';

interface Trial {
  readonly supervisor: Supervisor;
  readonly said: string[];
  readonly slept: number[];
  readonly log: string[];
}

/** A service whose runs end as they are listed; the last one only when it is told to. */
function trial(runs: readonly Ended[]): Trial {
  const [said, slept, log]: [string[], number[], string[]] = [[], [], []];
  const left = [...runs];
  const start = (): ServiceRun => {
    log.push('start');
    const next = left.shift();
    if (next) return { ended: Promise.resolve(next), stop: () => log.push('stop') };
    let end: (ended: Ended) => void = () => undefined;
    const ended = new Promise<Ended>((resolve) => (end = resolve));
    const stop = (): void => {
      log.push('stop');
      end({ status: 0, ranMs: 1 });
    };
    return { ended, stop };
  };
  const supervisor = new Supervisor({
    start,
    sweep: () => log.push('sweep'),
    say: (line) => said.push(line),
    sleep: (milliseconds) => Promise.resolve(slept.push(milliseconds)),
  });
  return { supervisor, said, slept, log };
}

const SHORT: Ended = { status: 'SIGSEGV', ranMs: 1000 };

describe('the supervisor', () => {
  test('starts a service again that ends, later each time', async () => {
    const { supervisor, said, slept, log } = trial([SHORT, SHORT, SHORT]);
    const ended = supervisor.run();
    while (log.filter((line) => line === 'start').length < 4) await Promise.resolve();
    supervisor.stop();
    await ended;
    expect(slept).toEqual([1000, 2000, 4000]);
    expect(said).toEqual(Array(3).fill('the service ended with SIGSEGV'));
    expect(log.slice(-3)).toEqual(['start', 'stop', 'sweep']);
  });

  test('gives up after eight ends in a row, each followed by a sweep', async () => {
    const { supervisor, slept, log } = trial(Array<Ended>(8).fill(SHORT));
    await expect(supervisor.run()).rejects.toMatchObject({ code: 'GUEST_SERVICE_ENDED' });
    expect(slept.at(-1)).toBe(60_000);
    expect(log.filter((line) => line === 'sweep')).toHaveLength(8);
  });

  test('counts anew after a steady run', async () => {
    const steady: Ended = { status: 1, ranMs: 600_000 };
    const { supervisor, slept } = trial([
      ...Array<Ended>(7).fill(SHORT),
      steady,
      ...Array<Ended>(7).fill(SHORT),
    ]);
    await expect(supervisor.run()).rejects.toMatchObject({ code: 'GUEST_SERVICE_ENDED' });
    expect(slept).toHaveLength(14);
    expect(slept[7]).toBe(1000);
  });

  test('that was stopped before starts nothing', async () => {
    const { supervisor, log } = trial([]);
    supervisor.stop();
    await supervisor.run();
    expect(log).toEqual([]);
  });
});
