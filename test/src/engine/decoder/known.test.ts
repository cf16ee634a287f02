import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Decoder } from '../../../../src/engine/decoder/decoder.ts';
import type { TextTokenizer } from '../../../../src/engine/tokenizer.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  greedyAlone,
  openHosted,
  openNative,
  readTokenizer,
  readWeights,
} from '../../../support/decoders.ts';
import { SlabWalk } from '../../../support/slabWalk.ts';
import { SHIPPED_MODELS } from '../../../support/store.ts';

const CONTEXT = 256;
const COUNT = 48;

interface Known {
  readonly prompt: string;
  readonly promptIds: readonly number[];
  /** Greedy. */
  readonly ids: readonly number[];
  /** A few logits behind the prompt, by token. */
  readonly logits: readonly (readonly [number, number])[];
}

/** What @huggingface/transformers 4.3.1 says with `do_sample: false`, `dtype: 'fp32'` and `device: 'cpu'`. */
const KNOWN: Readonly<Record<'tinygpt-1m' | 'tinygpt-3m', readonly Known[]>> = {
  'tinygpt-1m': [
    {
      prompt: 'Call me Ishmael. Some years ago',
      promptIds: [35, 473, 482, 318, 83, 72, 77, 65, 778, 14, 337, 499, 705, 466, 79],
      ids: [
        12, 284, 260, 274, 79, 267, 83, 268, 260, 274, 79, 267, 265, 12, 284, 260, 274, 79, 267, 72, 291, 12,
        284, 260, 274, 79, 267, 72, 291, 12, 284, 260, 274, 79, 267, 72, 291, 12, 284, 260, 274, 79, 267, 72,
        291, 12, 284, 260,
      ],
      logits: [
        [0, -4.18944],
        [1, 1.71089],
        [100, -12.11908],
        [511, -1.25832],
        [777, -1.0473],
        [1023, -2.35155],
      ],
    },
    {
      prompt: 'The people of the United States',
      promptIds: [52, 258, 560, 268, 260, 530, 462],
      ids: [
        14, 351, 263, 71, 366, 83, 268, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12,
        284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284,
        260, 530, 462, 12, 284, 260,
      ],
      logits: [
        [0, -4.74269],
        [1, -1.39316],
        [100, -12.6499],
        [511, -5.64336],
        [777, -0.33793],
        [1023, -1.22359],
      ],
    },
    {
      prompt: 'We',
      promptIds: [55, 69],
      ids: [
        14, 199, 199, 199, 199, 199, 199, 199, 199, 199, 2, 2, 2, 2, 2, 2, 2, 2, 2, 199, 199, 199, 199, 199,
        199, 199, 199, 199, 199, 199, 199, 199, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2,
      ],
      logits: [
        [0, -6.20032],
        [1, 1.40082],
        [100, -14.51057],
        [511, -1.19785],
        [777, -2.48336],
        [1023, -2.95549],
      ],
    },
    {
      prompt: 'It was a dark night upon the sea, and the captain said to the crew that there would be no',
      promptIds: [
        41, 84, 435, 259, 294, 286, 75, 300, 443, 545, 260, 398, 65, 12, 284, 260, 273, 65, 551, 358, 755,
        338, 281, 260, 273, 263, 87, 316, 555, 557, 298, 586,
      ],
      ids: [
        270, 77, 473, 278, 281, 260, 274, 79, 267, 72, 291, 260, 274, 79, 267, 72, 291, 260, 274, 79, 267, 72,
        291, 260, 274, 79, 267, 72, 291, 12, 284, 260, 274, 79, 267, 72, 291, 12, 284, 260, 274, 79, 267, 72,
        291, 12, 284, 260,
      ],
      logits: [
        [0, -5.38624],
        [1, -0.82876],
        [100, -11.19194],
        [511, -4.36344],
        [777, -1.41368],
        [1023, -0.26292],
      ],
    },
  ],
  'tinygpt-3m': [
    {
      prompt: 'Call me Ishmael. Some years ago',
      promptIds: [35, 473, 482, 2292, 3992, 65, 778, 14, 2774, 705, 1867],
      ids: [
        12, 284, 260, 867, 627, 12, 284, 260, 867, 627, 12, 284, 260, 867, 627, 12, 284, 260, 691, 12, 284,
        260, 691, 12, 284, 260, 691, 14, 572, 367, 259, 663, 12, 340, 367, 405, 260, 691, 14, 572, 367, 259,
        663, 12, 340, 367, 259, 663,
      ],
      logits: [
        [0, -5.17494],
        [1, 0.60577],
        [100, -14.3238],
        [511, -4.71065],
        [777, -1.8919],
        [1023, -3.30445],
      ],
    },
    {
      prompt: 'The people of the United States',
      promptIds: [2670, 560, 268, 260, 530, 462],
      ids: [
        12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12,
        284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284, 260, 530, 462, 12, 284,
        260, 530, 462, 12, 284, 260,
      ],
      logits: [
        [0, -4.8451],
        [1, -1.4993],
        [100, -13.77913],
        [511, -3.58941],
        [777, -1.78575],
        [1023, -2.65826],
      ],
    },
    {
      prompt: 'We',
      promptIds: [55, 69],
      ids: [
        12, 284, 260, 274, 341, 12, 284, 260, 1257, 12, 284, 260, 1257, 12, 284, 260, 1257, 12, 284, 260,
        1257, 12, 284, 260, 1257, 12, 284, 260, 1257, 12, 284, 260, 1257, 12, 284, 260, 1257, 12, 284, 260,
        1257, 12, 284, 260, 1257, 12, 284, 260,
      ],
      logits: [
        [0, -3.87102],
        [1, 1.86799],
        [100, -10.59147],
        [511, -1.22224],
        [777, -1.83389],
        [1023, -2.75244],
      ],
    },
    {
      prompt: 'It was a dark night upon the sea, and the captain said to the crew that there would be no',
      promptIds: [
        41, 84, 435, 259, 294, 1780, 3092, 545, 260, 1520, 12, 284, 260, 2479, 358, 1445, 281, 260, 3255, 316,
        555, 557, 298, 586,
      ],
      ids: [
        521, 268, 260, 1257, 14, 199, 199, 199, 199, 199, 199, 199, 199, 199, 199, 199, 199, 199, 2, 41, 41,
        41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 41, 52, 41, 52, 41, 52, 41, 52,
        52, 52,
      ],
      logits: [
        [0, -4.37241],
        [1, -1.38235],
        [100, -6.76169],
        [511, -3.16345],
        [777, -2.73671],
        [1023, -0.59304],
      ],
    },
  ],
};

function suite(name: keyof typeof KNOWN, directory: string): void {
  const known = KNOWN[name];
  describe.each([
    ['the C interface', openNative],
    ['the binding', openHosted],
  ] as const)('through %s', (_interface, open) => {
    let decoder: Decoder;
    let tokenizer: TextTokenizer;
    beforeAll(async () => {
      decoder = (await open(readWeights(directory))).decoder;
      tokenizer = readTokenizer(directory, CONTEXT);
    });
    afterAll(() => decoder.release());

    test.each(known)('says what transformers says after «$prompt»', async ({ prompt, promptIds, ids }) => {
      expect(tokenizer.encode(prompt, true, 'prompt')).toEqual(promptIds);
      expect(await greedyAlone(decoder, promptIds, COUNT)).toEqual(ids);
    });

    test.each(known)('has its logits after «$prompt»', async ({ promptIds, logits }) => {
      const prefix = await decoder.extend(undefined, promptIds);
      for (const [id, value] of logits) expect(Math.abs(prefix.logits[id]! - value)).toBeLessThan(1e-4);
      prefix.release();
    });

    test('says the same to all of them side by side', async () => {
      const walk = new SlabWalk(decoder, CONTEXT);
      const walkers = [];
      for (const { promptIds } of known) walkers.push(await walk.enter(promptIds));
      for (let i = 1; i < COUNT; i++) await walk.step();
      walk.release();
      expect(walkers.map(({ ids }) => ids)).toEqual(known.map(({ ids }) => ids));
    });
  });
}

describe('tinygpt-1m', () => {
  suite('tinygpt-1m', join(SHIPPED_MODELS, 'tinygpt-1m'));
});

describeCorpus('tinygpt-3m', 'models/tinygpt-3m', (directory) => {
  suite('tinygpt-3m', directory);
});
