import { afterEach, describe, expect, test } from '@jest/globals';
import type { Decoder } from '../../../../src/engine/decoder/decoder.ts';
import { HostedDecoder } from '../../../../src/engine/decoder/hosted.ts';
import { tryBatching } from '../../../../src/engine/decoder/probe.ts';
import { openSession, type OpenSession } from '../../../../src/engine/opened.ts';
import { bufferSource } from '../../../../src/models/files.ts';
import { readOnnxHeader } from '../../../../src/models/onnx.ts';
import { craftGroupedDecoder, craftPlainDecoder } from '../../../support/craftedDecoders.ts';
import { greedyAlone, ON_CPU, openHosted } from '../../../support/decoders.ts';
import { SlabWalk } from '../../../support/slabWalk.ts';

const CONTEXT = 200;
const COUNT = 80;
const prompts = [3, 40, 17, 62, 90].map((length, i) =>
  Array.from({ length }, (_, j) => (j * 7 + i * 5 + length) % 32),
);

const open: Decoder[] = [];
afterEach(async () => {
  for (const decoder of open.splice(0)) await decoder.release();
});

type Opened = OpenSession & { readonly decoder: Exclude<OpenSession['decoder'], string> };

async function openCrafted(weights: Uint8Array): Promise<Opened> {
  const files = { id: 'crafted', path: 'model.onnx', weights, external: new Map<string, Uint8Array>() };
  const opened = await openSession(files, readOnnxHeader(bufferSource(weights)), ON_CPU);
  const { decoder } = opened;
  if (typeof decoder === 'string') throw new Error(decoder);
  open.push(decoder.decoder);
  return { ...opened, decoder };
}

async function walkTogether(decoder: Decoder): Promise<readonly (readonly number[])[]> {
  const walk = new SlabWalk(decoder, CONTEXT);
  const walkers = [];
  for (const prompt of prompts) walkers.push(await walk.enter(prompt));
  for (let i = 1; i < COUNT; i++) await walk.step();
  walk.release();
  return walkers.map(({ ids }) => ids);
}

async function walkAlone(decoder: Decoder): Promise<readonly (readonly number[])[]> {
  const all = [];
  for (const prompt of prompts) all.push(await greedyAlone(decoder, prompt, COUNT));
  return all;
}

describe.each([
  ['GroupQueryAttention', craftGroupedDecoder({ rotary: false }), 'length'],
  ['GroupQueryAttention with rotary positions', craftGroupedDecoder({ rotary: true }), 'length'],
  ['plain operators', craftPlainDecoder(), 'end'],
  ['a cache and logits in FP16', craftPlainDecoder({ half: true }), 'end'],
] as const)('a decoder with %s', (name, weights, appends) => {
  test('is driven by the C interface, and its sequences side by side', async () => {
    const { interface: driven, decoder } = await openCrafted(weights);
    expect(driven).toBe(appends === 'end' ? 'native-in-place' : 'native');
    expect(decoder.plan).toMatchObject({ usesMask: true, usesPositions: false, appends });
    expect(decoder.plan.logits).toBe(name.includes('FP16') ? 'FP16' : 'FP32');
    expect(decoder.plan.caches.map(({ heads, width }) => [heads, width])).toEqual(Array(4).fill([2, 16]));
    expect((await tryBatching(decoder.decoder, decoder.plan, CONTEXT, 4)).name).toBe('rows');
  });

  test('says the same alone without padding, side by side, and through either interface', async () => {
    const { decoder } = (await openCrafted(weights)).decoder;
    const exact = await walkAlone(decoder);
    expect(new Set(exact.flat()).size).toBeGreaterThan(3);
    expect(await walkTogether(decoder)).toEqual(exact);
    const hosted = await openHosted(weights);
    open.push(hosted.decoder);
    expect(await walkAlone(hosted.decoder)).toEqual(exact);
    expect(await walkTogether(hosted.decoder)).toEqual(exact);
    expect((await tryBatching(hosted.decoder, hosted.plan, CONTEXT, 4)).name).toBe('rows');
  });

  test('gives a prompt in pieces the logits of the whole, but for rounding', async () => {
    const { decoder } = (await openCrafted(weights)).decoder;
    const whole = await decoder.extend(undefined, prompts[3]!);
    const first = await decoder.extend(undefined, prompts[3]!.slice(0, 30));
    const second = await decoder.extend(first, prompts[3]!.slice(30));
    const largest = Math.max(...whole.logits.map((logit, i) => Math.abs(logit - second.logits[i]!)));
    expect(largest).toBeLessThan(name.includes('FP16') ? 0.1 : 1e-4);
    expect(second.length).toBe(whole.length);
    for (const prefix of [whole, first, second]) prefix.release();
  });
});

describe('decoders that are no common case', () => {
  test('without an attention mask, sequences are computed alone', async () => {
    const { decoder, interface: driven } = await openCrafted(craftPlainDecoder({ masked: false }));
    expect(driven).toBe('native-in-place');
    expect(decoder.plan.usesMask).toBe(false);
    expect((await tryBatching(decoder.decoder, decoder.plan, CONTEXT, 4)).name).toBe('alone');
    expect(await walkAlone(decoder.decoder)).toHaveLength(prompts.length);
  });

  test('with caches that differ, the binding runs them', async () => {
    const { decoder, interface: driven } = await openCrafted(craftPlainDecoder({ heads: [2, 4] }));
    expect(driven).toBe('binding');
    expect(decoder.decoder).toBeInstanceOf(HostedDecoder);
    expect(decoder.decoder.tokenBytes).toBe(2 * (2 + 4) * 16 * 4);
    expect((await tryBatching(decoder.decoder, decoder.plan, CONTEXT, 4)).name).toBe('rows');
    expect(await walkTogether(decoder.decoder)).toEqual(await walkAlone(decoder.decoder));
  });

  test('with too short a context to try it, sequences are computed alone', async () => {
    const { decoder } = await openCrafted(craftPlainDecoder());
    expect((await tryBatching(decoder.decoder, decoder.plan, 12, 4)).name).toBe('alone');
    expect((await tryBatching(decoder.decoder, decoder.plan, 13, 4)).name).toBe('rows');
  });
});
