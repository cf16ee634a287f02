import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Decoder, Prefix, Slab } from '../../../../src/engine/decoder/decoder.ts';
import { FullDecoder } from '../../../../src/engine/decoder/full.ts';
import type { NativeDecoder } from '../../../../src/engine/decoder/native.ts';
import type { DecoderPlan } from '../../../../src/engine/decoder/plan.ts';
import { tryBatching } from '../../../../src/engine/decoder/probe.ts';
import { openNative, readWeights } from '../../../support/decoders.ts';
import { SlabWalk } from '../../../support/slabWalk.ts';
import { SHIPPED_MODELS } from '../../../support/store.ts';

const CONTEXT = 256;
const prompt = (length: number): readonly number[] => Array.from({ length }, (_, i) => 1 + ((i * 37) % 1000));

/** A provider that rounds by the number of rows: every logit of a step is off by a little for each. */
class RoundsByRows implements Decoder {
  readonly #inner: Decoder;
  readonly rowCounts: number[] = [];

  constructor(inner: Decoder) {
    this.#inner = inner;
  }

  get vocabulary(): number {
    return this.#inner.vocabulary;
  }

  get tokenBytes(): number {
    return this.#inner.tokenBytes;
  }

  get leastRows(): number {
    return this.#inner.leastRows;
  }

  extend(prefix: Prefix | undefined, ids: readonly number[]): Promise<Prefix> {
    return this.#inner.extend(prefix, ids);
  }

  slab(columns: number): Slab {
    const slab = this.#inner.slab(columns);
    const step = slab.step.bind(slab);
    const { rowCounts } = this;
    slab.step = async (ids, lengths) => {
      rowCounts.push(slab.rows);
      return (await step(ids, lengths)).map((row) => row.map((logit) => logit + slab.rows * 1e-5));
    };
    return slab;
  }

  release(): Promise<void> {
    return this.#inner.release();
  }
}

describe('steps of always the same number of rows', () => {
  let native: NativeDecoder;
  let plan: DecoderPlan;
  beforeAll(async () => {
    ({ decoder: native, plan } = await openNative(readWeights(join(SHIPPED_MODELS, 'tinygpt-1m'))));
  });
  afterAll(() => native.release());

  test('are taken where the number of rows changes bits', async () => {
    const rounding = new RoundsByRows(native);
    const trial = await tryBatching(rounding, plan, CONTEXT, 6);
    expect(trial).toMatchObject({ batching: 'rows', name: 'rows-of-6' });
    expect(new Set(rounding.rowCounts.slice(-6))).toEqual(new Set([6]));
    const { decoder } = trial;
    if (!(decoder instanceof FullDecoder)) throw new Error('another decoder');
    decoder.discard();
    expect(native.session.memory.allocated).toBe(0);
  });

  test('are not taken where they are not needed', async () => {
    expect((await tryBatching(native, plan, CONTEXT, 6)).decoder).toBe(native);
  });

  test('give a sequence the same tokens whoever comes and goes, across widening', async () => {
    const full = await FullDecoder.create(new RoundsByRows(native), 4);
    const alone = new SlabWalk(full, CONTEXT);
    const wanted = await alone.enter(prompt(50));
    for (let i = 0; i < 30; i++) await alone.step();
    alone.release();
    const walk = new SlabWalk(full, CONTEXT);
    const first = await walk.enter(prompt(9));
    const watched = await walk.enter(prompt(50));
    for (let i = 0; i < 30; i++) {
      if (i === 5) await walk.enter(prompt(70));
      if (i === 10) walk.leave(first);
      if (i === 12) await walk.enter(prompt(20));
      await walk.step();
    }
    expect(watched.ids).toEqual(wanted.ids);
    watched.logits.forEach((row, i) => {
      expect(row).toEqual(wanted.logits[i]);
    });
    walk.release();
    full.discard();
    expect(native.session.memory.allocated).toBe(0);
  });
});
