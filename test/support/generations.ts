import { join } from 'node:path';
import { type BatchLimits, ContinuousBatch } from '../../src/engine/continuousBatch.ts';
import { PrefixStore } from '../../src/engine/decoder/prefixes.ts';
import type { Batching } from '../../src/engine/decoder/probe.ts';
import type { Generation } from '../../src/engine/engine.ts';
import { Sequence } from '../../src/engine/sequence.ts';
import { readTokenizer } from './decoders.ts';
import { FakeDecoder } from './fakeDecoder.ts';
import { SHIPPED_MODELS } from './store.ts';

const CONTEXT = 4096;
const tokenizer = readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), CONTEXT);

/** A sequence over the fake decoder. */
export function sequenceOf(prompt: readonly number[], maxTokens: number): Sequence {
  const settings = { sampling: undefined, stop: [], logprobs: undefined, constraint: undefined };
  return new Sequence(tokenizer, new Set([0]), prompt, { maxTokens, ...settings });
}

interface GenerationsOptions {
  readonly limits?: Partial<BatchLimits>;
  readonly batching?: Batching;
  readonly prefixBytes?: number;
}

/** Generations over a fake decoder, and what is heard of them. */
export class Generations {
  readonly decoder = new FakeDecoder();
  readonly batch: ContinuousBatch;
  readonly tokens = new Map<number, number[]>();
  readonly ends = new Map<number, Generation>();
  readonly failures = new Map<number, unknown>();
  /** Requests in the order of their first tokens. */
  readonly begun: number[] = [];

  constructor({ limits, batching = 'rows', prefixBytes = 0 }: GenerationsOptions = {}) {
    const model = {
      decoder: this.decoder,
      batching,
      context: CONTEXT,
      prefixes: new PrefixStore(prefixBytes),
      limits: { sequences: 16, tokens: 1_000_000, ...limits },
    };
    this.batch = new ContinuousBatch(model, {
      token: (id, { id: token }) => {
        const known = this.tokens.get(id);
        if (known) known.push(token);
        else {
          this.begun.push(id);
          this.tokens.set(id, [token]);
        }
      },
      end: (id, generation) => this.ends.set(id, generation),
      fail: (id, error) => this.failures.set(id, error),
    });
  }

  submit(id: number, prompt: readonly number[], maxTokens: number, scope = 'tenant'): void {
    this.batch.submit({ id, scope, sequence: sequenceOf(prompt, maxTokens) });
  }

  async advance(turns: number): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await this.batch.advance();
  }

  /** All turns that there are; more than that are a fault. */
  async finish(): Promise<void> {
    for (let turn = 0; !this.batch.isIdle; turn++) {
      if (turn === 2000) throw new Error('never idle');
      await this.batch.advance();
    }
  }
}

/** A prompt that differs from all others in its first token. */
export function promptOf(length: number, first: number): readonly number[] {
  return Array.from({ length }, (_, i) => (i === 0 ? first : 1 + ((i * 13) % 900)));
}
