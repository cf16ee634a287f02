import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Decoder } from '../../../../src/engine/decoder/decoder.ts';
import type { DecoderPlan } from '../../../../src/engine/decoder/plan.ts';
import type { NativeDecoder } from '../../../../src/engine/decoder/native.ts';
import { tryBatching } from '../../../../src/engine/decoder/probe.ts';
import { openHosted, openNative, readWeights } from '../../../support/decoders.ts';
import { SlabWalk, type Walker } from '../../../support/slabWalk.ts';
import { SHIPPED_MODELS } from '../../../support/store.ts';

const CONTEXT = 256;
const STEPS = 40;
const WEIGHTS = readWeights(join(SHIPPED_MODELS, 'tinygpt-1m'));
/** 50 tokens pass from 64 columns into 128 within the steps. */
const LENGTH = 50;

const prompt = (length: number, seed = 1): readonly number[] =>
  Array.from({ length }, (_, i) => 1 + ((i * 37 + seed * 101) % 1000));

function expectSameBits(row: Float32Array, wanted: Float32Array): void {
  const bytes = (array: Float32Array): Buffer =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  expect(bytes(row).equals(bytes(wanted))).toBe(true);
}

function expectSameWalk(walker: Walker, wanted: Walker): void {
  expect(walker.ids).toEqual(wanted.ids);
  wanted.logits.forEach((row, i) => {
    expectSameBits(walker.logits[i]!, row);
  });
}

describe.each([
  ['the C interface', openNative],
  ['the binding', openHosted],
] as const)('rows through %s', (_interface, open) => {
  let decoder: Decoder;
  let plan: DecoderPlan;
  let alone: Walker;
  beforeAll(async () => {
    ({ decoder, plan } = await open(WEIGHTS));
    const walk = new SlabWalk(decoder, CONTEXT);
    alone = await walk.enter(prompt(LENGTH));
    for (let i = 0; i < STEPS; i++) await walk.step();
    expect(walk.widths).toEqual([64, 128]);
    walk.release();
  });
  afterAll(() => decoder.release());

  test('may be computed side by side', async () => {
    expect(plan).toMatchObject({ usesMask: true, usesPositions: true, appends: 'end', logits: 'FP32' });
    expect((await tryBatching(decoder, plan, CONTEXT, 4)).name).toBe('rows');
  });

  test('differ from a sequence without padding by rounding alone', async () => {
    let prefix = await decoder.extend(undefined, prompt(LENGTH));
    for (let i = 0; i < STEPS; i++) {
      const next = await decoder.extend(prefix, [alone.ids[i]!]);
      prefix.release();
      prefix = next;
      const difference = prefix.logits.map((value, id) => Math.abs(value - alone.logits[i + 1]![id]!));
      expect(Math.max(...difference)).toBeLessThan(1e-4);
    }
    expect(prefix.length).toBe(LENGTH + STEPS);
    prefix.release();
  });

  test.each([1, 2, 3, 4, 5, 6, 7])('have the same bits alone and in company of %d', async (others) => {
    const walk = new SlabWalk(decoder, CONTEXT);
    const before = Math.floor(others / 2);
    for (let i = 0; i < before; i++) await walk.enter(prompt(5 + 9 * i, i + 2));
    const walker = await walk.enter(prompt(LENGTH));
    for (let i = before; i < others; i++) await walk.enter(prompt(40 + 12 * i, i + 2));
    for (let i = 0; i < STEPS; i++) await walk.step();
    walk.release();
    expectSameWalk(walker, alone);
  });

  test('have the same bits while others come and go', async () => {
    const walk = new SlabWalk(decoder, CONTEXT);
    const first = await walk.enter(prompt(45, 2));
    const walker = await walk.enter(prompt(LENGTH));
    const third = await walk.enter(prompt(20, 3));
    for (let i = 0; i < STEPS; i++) {
      if (i === 5) walk.leave(first);
      if (i === 7) await walk.enter(prompt(63, 4));
      if (i === 20) walk.leave(third);
      if (i === 25) await walk.enter(prompt(90, 5));
      await walk.step();
    }
    walk.release();
    expectSameWalk(walker, alone);
  });

  test('follow the row where they are added, removed and adopted', async () => {
    const prompts = [prompt(7, 2), prompt(11, 3), prompt(19, 4), prompt(30, 5)];
    const prefixes = await Promise.all(prompts.map((ids) => decoder.extend(undefined, ids)));
    const wanted = await Promise.all(prompts.map((ids) => stepAlone(decoder, ids)));
    const [narrow, wide] = [decoder.slab(64), decoder.slab(128)];
    for (const prefix of prefixes) narrow.add(prefix);
    const step = async (order: readonly number[]): Promise<void> => {
      expect(narrow.rows).toBe(order.length);
      const ids = order.map(() => 9);
      const rows = await narrow.step(
        ids,
        order.map((i) => prompts[i]!.length),
      );
      order.forEach((i, row) => {
        expectSameBits(rows[row]!, wanted[i]!);
      });
    };
    await step([0, 1, 2, 3]);
    narrow.remove(1);
    await step([0, 3, 2]);
    narrow.remove(2);
    await step([0, 3]);
    narrow.add(prefixes[1]!);
    await step([0, 3, 1]);
    wide.adopt(narrow, 0);
    wide.adopt(narrow, 0);
    await step([3]);
    expect(wide.rows).toBe(2);
    const [first, second] = await wide.step([9, 9], [prompts[0]!.length, prompts[1]!.length]);
    const near = (row: Float32Array, i: number): number =>
      Math.max(...row.map((value, id) => Math.abs(value - wanted[i]![id]!)));
    expect([near(first!, 0), near(second!, 1)].every((difference) => difference < 1e-4)).toBe(true);
    narrow.release();
    wide.release();
    for (const prefix of prefixes) prefix.release();
  });

  test('do not change the prefixes that they came from', async () => {
    const prefix = await decoder.extend(undefined, prompt(12));
    const logits = prefix.logits.slice();
    const slab = decoder.slab(64);
    for (let row = 0; row < 3; row++) slab.add(prefix);
    const [first] = await slab.step([5, 6, 7], [12, 12, 12]);
    const said = first!.slice();
    slab.release();
    const again = decoder.slab(64);
    again.add(prefix);
    expectSameBits((await again.step([5], [12]))[0]!, said);
    expectSameBits(prefix.logits, logits);
    again.release();
    prefix.release();
  });
});

/** Logits of a step with token 9 behind a prompt, in a slab of 64 columns without company. */
async function stepAlone(decoder: Decoder, ids: readonly number[]): Promise<Float32Array> {
  const prefix = await decoder.extend(undefined, ids);
  const slab = decoder.slab(64);
  slab.add(prefix);
  const [row] = await slab.step([9], [ids.length]);
  const logits = row!.slice();
  slab.release();
  prefix.release();
  return logits;
}

describe('memory of the C interface', () => {
  let decoder: NativeDecoder;
  beforeAll(async () => {
    ({ decoder } = await openNative(WEIGHTS));
  });
  afterAll(() => decoder.release());
  const allocated = (): number => decoder.session.memory.allocated;

  test('is given back by slabs and by the last owner of a prefix', async () => {
    expect(allocated()).toBe(0);
    const prefix = await decoder.extend(undefined, prompt(10));
    expect(allocated()).toBe(10 * decoder.tokenBytes);
    expect(prefix.bytes).toBe(10 * decoder.tokenBytes + 4 * decoder.vocabulary);
    const [narrow, wide] = [decoder.slab(64), decoder.slab(128)];
    for (let row = 0; row < 5; row++) narrow.add(prefix);
    await narrow.step([1, 2, 3, 4, 5], [10, 10, 10, 10, 10]);
    // Room for a quarter more rows, and no second cache.
    expect(narrow.bytes).toBe(7 * 64 * decoder.tokenBytes);
    expect(allocated()).toBe(10 * decoder.tokenBytes + narrow.bytes);
    wide.adopt(narrow, 2);
    narrow.release();
    prefix.retain();
    prefix.release();
    expect(allocated()).toBe(10 * decoder.tokenBytes + wide.bytes);
    wide.release();
    prefix.release();
    expect(allocated()).toBe(0);
  });

  test('is given back where a run fails', async () => {
    await expect(decoder.extend(undefined, [1, 987_654_321])).rejects.toThrow(/./);
    expect(allocated()).toBe(0);
  });

  test('keeps its rows where there is none for another', async () => {
    const prefix = await decoder.extend(undefined, prompt(10));
    const wanted = await stepAlone(decoder, prompt(10));
    const slab = decoder.slab(64);
    slab.add(prefix);
    let before = 0;
    const { memory } = decoder.session;
    const real = memory.allocate.bind(memory);
    // So many of the caches of a larger slab find room, the next one does not.
    let left = 3;
    const allocate = jest.spyOn(memory, 'allocate').mockImplementation((bytes) => {
      if (left-- === 0) throw new Error('no memory');
      return real(bytes);
    });
    expect(() => {
      for (let row = 1; row < 20; row++) {
        before = allocated();
        slab.add(prefix);
      }
    }).toThrow('no memory');
    allocate.mockRestore();
    expect(allocated()).toBe(before);
    const rows = Array.from({ length: slab.rows }, () => 10);
    for (const row of await slab.step(
      rows.map(() => 9),
      rows,
    )) {
      expectSameBits(row, wanted);
    }
    slab.release();
    prefix.release();
    expect(allocated()).toBe(0);
  });

  test('refuses what another decoder made', async () => {
    const hosted = await openHosted(WEIGHTS);
    const prefix = await hosted.decoder.extend(undefined, [1]);
    const slab = decoder.slab(64);
    expect(() => {
      slab.add(prefix);
    }).toThrow(/another decoder/);
    expect(() => {
      slab.adopt(hosted.decoder.slab(64), 0);
    }).toThrow(/another decoder/);
    expect(() => decoder.extend(prefix, [1])).toThrow(/another decoder/);
    await hosted.decoder.release();
    expect(allocated()).toBe(0);
  });
});
