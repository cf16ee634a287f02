import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { PrefixStore } from '../../../src/engine/decoder/prefixes.ts';
import type { RunningModel } from '../../../src/engine/model.ts';
import type { FromChild } from '../../../src/engine/protocol.ts';
import { Scheduler } from '../../../src/engine/scheduler.ts';
import { readTokenizer } from '../../support/decoders.ts';
import { FakeDecoder, fakeTokens } from '../../support/fakeDecoder.ts';
import { promptOf } from '../../support/generations.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

const tokenizer = readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), 256);
const TUNING = {
  device: 0,
  deviceMemoryBytes: undefined,
  sequences: 4,
  cacheBytes: 0,
  prefixBytes: 0,
  tensorRows: 1,
  tensorDelayMs: 0,
};

/** A scheduler over one model that generates, and all that it says. */
class Bench {
  readonly decoder = new FakeDecoder();
  readonly said: FromChild[] = [];
  readonly scheduler: Scheduler;
  readonly model: RunningModel;

  constructor() {
    const language = {
      decoder: this.decoder,
      batching: 'rows' as const,
      context: 256,
      prefixes: new PrefixStore(0),
      limits: { sequences: 4, tokens: 2000 },
    };
    this.model = {
      tokenizer,
      generation: { language, endTokens: new Set([0]) },
      embedding: undefined,
      release: () => this.decoder.release(),
    } as unknown as RunningModel;
    this.scheduler = new Scheduler(new Map([['model', this.model]]), TUNING, (message) => {
      this.said.push(message);
    });
  }

  generate(id: number, prompt: readonly number[], maxTokens: number, model = 'model'): void {
    const asked = { sampling: undefined, stop: [], logprobs: undefined, constraint: undefined };
    const base = {
      kind: 'generate',
      id,
      model,
      scope: 'tenant',
      prompt,
      maxTokens,
      templated: false,
    } as const;
    this.scheduler.submit({ ...base, ...asked });
  }

  tokens(id: number): readonly number[] {
    return this.said.flatMap((message) =>
      message.kind === 'tokens' ? message.tokens.flatMap((one) => (one.id === id ? [one.token.id] : [])) : [],
    );
  }

  answers(id: number): readonly FromChild[] {
    return this.said.filter((message) => 'id' in message && message.id === id);
  }

  async until(condition: () => boolean): Promise<void> {
    for (let turn = 0; !condition(); turn++) {
      if (turn === 2000) throw new Error('it never comes to that');
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async rest(turns = 20): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('the scheduler', () => {
  test('tells all tokens of a turn in one message, and the last before the end', async () => {
    const bench = new Bench();
    for (const id of [1, 2, 3]) bench.generate(id, promptOf(5, id), 6);
    await bench.until(() => [1, 2, 3].every((id) => bench.answers(id).length === 1));
    for (const id of [1, 2, 3]) {
      expect(bench.tokens(id)).toEqual(fakeTokens(promptOf(5, id), 6));
      const last = bench.said.findLastIndex(
        (message) => message.kind === 'tokens' && message.tokens.some((one) => one.id === id),
      );
      expect(bench.said.findIndex((message) => bench.answers(id)[0] === message)).toBeGreaterThan(last);
    }
    expect(bench.said.filter(({ kind }) => kind === 'tokens').length).toBeLessThan(10);
  });

  test('answers a cancelled request once, at once, and says no more of it', async () => {
    const bench = new Bench();
    bench.generate(1, promptOf(5, 1), 200);
    bench.generate(2, promptOf(5, 2), 20);
    await bench.until(() => bench.tokens(1).length > 3);
    const before = bench.tokens(1).length;
    bench.scheduler.cancel(1);
    bench.scheduler.cancel(1);
    expect(bench.answers(1)).toMatchObject([{ kind: 'failed', code: 'CANCELLED' }]);
    await bench.until(() => bench.answers(2).length === 1);
    expect(bench.tokens(2)).toEqual(fakeTokens(promptOf(5, 2), 20));
    expect(bench.tokens(1)).toHaveLength(before);
    expect(bench.answers(1)).toHaveLength(1);
    await bench.rest();
    expect([bench.decoder.prefixes, bench.decoder.slabs]).toEqual([0, 0]);
  });

  test('says nothing of what the runtime says of a failure, and goes on', async () => {
    const bench = new Bench();
    bench.decoder.before = ({ kind }) => {
      if (kind === 'extend') throw new Error('the secret is 42');
    };
    bench.generate(1, promptOf(5, 1), 6);
    await bench.until(() => bench.answers(1).length === 1);
    expect(bench.answers(1)).toMatchObject([{ kind: 'failed', code: 'ENGINE_FAILED' }]);
    expect(JSON.stringify(bench.said)).not.toContain('42');
    bench.decoder.before = () => undefined;
    bench.generate(2, promptOf(5, 2), 6);
    await bench.until(() => bench.answers(2).length === 1);
    expect(bench.tokens(2)).toEqual(fakeTokens(promptOf(5, 2), 6));
  });

  test('refuses what it cannot do', () => {
    const bench = new Bench();
    bench.generate(1, [5], 5, 'missing');
    bench.generate(2, promptOf(256, 1), 5);
    bench.generate(3, [5, 4096], 5);
    bench.scheduler.submit({ kind: 'embed', id: 4, model: 'model', scope: '', texts: ['x'] });
    const codes = [1, 2, 3, 4].map((id) => (bench.answers(id) as readonly { code?: string }[])[0]!.code);
    expect(codes).toEqual(['UNKNOWN_MODEL', 'INVALID_INPUT', 'INVALID_INPUT', 'UNSUPPORTED_TASK']);
  });

  test('frees a model only once the run of a cancelled request has ended', async () => {
    const bench = new Bench();
    let go: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    bench.decoder.before = ({ kind }) => (kind === 'step' ? gate : undefined);
    bench.generate(1, promptOf(5, 1), 50);
    await bench.until(() => bench.decoder.steps.length === 1);
    bench.scheduler.cancel(1);
    const released = bench.scheduler.release(bench.model);
    await bench.rest();
    expect([bench.decoder.released, bench.decoder.slabs]).toEqual([false, 1]);
    go();
    await released;
    expect([bench.decoder.released, bench.decoder.slabs, bench.decoder.prefixes]).toEqual([true, 0, 0]);
  });
});
