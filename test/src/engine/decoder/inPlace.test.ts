import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import onnxProto from 'onnx-proto';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { Decoder } from '../../../../src/engine/decoder/decoder.ts';
import { EXTENT, growInPlace, PLACES } from '../../../../src/engine/decoder/inPlaceGraph.ts';
import { openSession, type OpenSession } from '../../../../src/engine/opened.ts';
import { createSession } from '../../../../src/engine/session.ts';
import { bufferSource } from '../../../../src/models/files.ts';
import { readOnnxHeader } from '../../../../src/models/onnx.ts';
import { craftGroupedDecoder, craftPlainDecoder } from '../../../support/craftedDecoders.ts';
import { ON_CPU, openNative, readWeights } from '../../../support/decoders.ts';
import { SHIPPED_MODELS } from '../../../support/store.ts';

const { onnx } = onnxProto;

interface GraphNode {
  opType: string;
  input: string[];
  output: string[];
  attribute: object[];
}
interface Graph {
  readonly node: GraphNode[];
  readonly input: { readonly name: string }[];
}

const grow = (model: Uint8Array): Uint8Array | undefined =>
  growInPlace(model, readOnnxHeader(bufferSource(model)).operators);
const graphOf = (model: Uint8Array): Graph => onnx.ModelProto.decode(model).graph as unknown as Graph;

/** The plain decoder, changed. */
function altered(change: (graph: Graph) => void): Uint8Array {
  const model = onnx.ModelProto.decode(craftPlainDecoder());
  change(model.graph as unknown as Graph);
  return onnx.ModelProto.encode(model).finish();
}

const firstOf = (graph: Graph, opType: string): GraphNode =>
  graph.node.find((node) => node.opType === opType)!;
const PAST = 'past_key_values.0.key';

describe('the graph', () => {
  test.each([
    ['tinygpt-1m', readWeights(join(SHIPPED_MODELS, 'tinygpt-1m')), 8],
    ['plain operators', craftPlainDecoder(), 4],
    ['caches in FP16', craftPlainDecoder({ half: true }), 4],
  ])('of %s grows by places, and all else is as it was', (_name, model, caches) => {
    const [before, after] = [graphOf(model), graphOf(grow(model)!)];
    expect(after.input.map(({ name }) => name)).toEqual([
      ...before.input.map(({ name }) => name),
      PLACES,
      EXTENT,
    ]);
    const changed = before.node.flatMap((node, i) => {
      const now = after.node[i]!;
      return JSON.stringify(node) === JSON.stringify(now) ? [] : [[node, now] as const];
    });
    const grown = changed.filter(([node]) => node.opType === 'Concat');
    expect(grown).toHaveLength(caches);
    for (const [{ input, output }, now] of grown) {
      expect(now).toMatchObject({
        opType: 'ScatterND',
        input: [input[0], PLACES, input[1]],
        output,
        attribute: [],
      });
    }
    for (const [{ opType, input, output }, now] of changed.filter(([node]) => node.opType !== 'Concat')) {
      expect([opType, input]).toEqual(['Shape', [expect.stringMatching(/^past_key_values\./)]]);
      expect(now).toMatchObject({ opType, input: [EXTENT], output });
    }
    expect(after.node).toHaveLength(before.node.length);
  });

  test.each<readonly [string, Uint8Array]>([
    ['GroupQueryAttention', craftGroupedDecoder({ rotary: false })],
    [
      'a cache that grows along another axis',
      altered((graph) => (firstOf(graph, 'Concat').attribute = [{ name: 'axis', type: 2, i: 1 }])),
    ],
    ['a cache that grows in front', altered((graph) => firstOf(graph, 'Concat').input.reverse())],
    ['a cache that grows by itself', altered((graph) => (firstOf(graph, 'Concat').input = [PAST, PAST]))],
    ['a cache that grows by two tensors', altered((graph) => firstOf(graph, 'Concat').input.push('t1'))],
    [
      'a cache that is read by another operator',
      altered((graph) => graph.node.push({ opType: 'Relu', input: [PAST], output: ['more'], attribute: [] })),
    ],
    [
      'a cache that is changed before it is given back',
      altered((graph) => (graph.node.find(({ output }) => output[0] === 'present.1.value')!.opType = 'Relu')),
    ],
    [
      'a graph within the graph',
      altered((graph) => graph.node.push({ opType: 'If', input: ['t1'], output: [], attribute: [] })),
    ],
    ['no cache', altered((graph) => graph.input.splice(0, graph.input.length))],
  ])('with %s is left alone', (_name, model) => {
    expect(grow(model)).toBeUndefined();
  });

  test('asks for the past as it is, wherever its shape is asked for', () => {
    const start = { name: 'start', type: 2, i: 2 };
    const model = altered((graph) =>
      graph.node.push({ opType: 'Shape', input: [PAST], output: ['shape'], attribute: [start] }),
    );
    expect(graphOf(grow(model)!).node.at(-1)).toMatchObject({
      opType: 'Shape',
      input: [EXTENT],
      attribute: [{ name: 'start' }],
    });
  });
});

describe('a prompt', () => {
  test.each([
    ['tinygpt-1m', readWeights(join(SHIPPED_MODELS, 'tinygpt-1m')), 1000],
    ['plain operators', craftPlainDecoder(), 32],
    ['caches in FP16', craftPlainDecoder({ half: true }), 32],
  ])('of %s gives the bits that the file itself gives, in pieces too', async (_name, weights, vocabulary) => {
    const [grown, plain] = [await openNative(weights), await openNative(weights, { asItIs: true })];
    expect([grown, plain].map(({ decoder }) => decoder.inPlace)).toEqual([true, false]);
    const ids = Array.from({ length: 70 }, (_, i) => (i * 37 + 5) % vocabulary);
    const read = async (decoder: Decoder): Promise<readonly Float32Array[]> => {
      const first = await decoder.extend(undefined, ids.slice(0, 40));
      const second = await decoder.extend(first, ids.slice(40, 69));
      const third = await decoder.extend(second, ids.slice(69));
      for (const prefix of [first, second, third]) prefix.release();
      return [first.logits, second.logits, third.logits];
    };
    expect(await read(grown.decoder)).toEqual(await read(plain.decoder));
    await grown.decoder.release();
    await plain.decoder.release();
  });
});

describe('a request for tensors', () => {
  const weights = craftPlainDecoder({ half: true });
  const files = { id: 'crafted', path: 'model.onnx', weights, external: new Map<string, Uint8Array>() };
  let opened: OpenSession;
  let plain: InferenceSession;
  beforeAll(async () => {
    opened = await openSession(files, readOnnxHeader(bufferSource(weights)), ON_CPU);
    plain = await createSession(files, ON_CPU);
  });
  afterAll(async () => {
    if (typeof opened.decoder !== 'string') await opened.decoder.decoder.release();
    await plain.release();
  });

  function feeds(rows: number, length: number, tokens: number): Record<string, Tensor> {
    const integers = (width: number, of: (i: number) => number): Tensor =>
      new Tensor(
        'int64',
        BigInt64Array.from({ length: rows * width }, (_, i) => BigInt(of(i))),
        [rows, width],
      );
    const all: Record<string, Tensor> = {
      input_ids: integers(tokens, (i) => (i * 7) % 32),
      attention_mask: integers(length + tokens, () => 1),
    };
    for (const { name } of opened.specs.inputs.filter((input) => input.name.startsWith('past'))) {
      const bits = Uint16Array.from({ length: rows * 2 * length * 16 }, (_, i) => 0x3000 + ((i * 13) % 512));
      all[name] = new Tensor('float16', bits, [rows, 2, length, 16]);
    }
    return all;
  }

  test('sees the inputs and outputs of the file', () => {
    expect(opened.specs.inputs.map(({ name }) => name)).toEqual(plain.inputNames.map(String));
    expect(opened.specs.outputs.map(({ name }) => name)).toEqual(plain.outputNames.map(String));
  });

  test.each([
    [1, 0, 3],
    [2, 5, 1],
    [3, 4, 6],
  ])(
    'gives the bits that the file itself gives: %d rows, %d tokens before, %d now',
    async (rows, length, tokens) => {
      const given = feeds(rows, length, tokens);
      const [own, wanted] = [await opened.session.run(given, plain.outputNames), await plain.run(given)];
      for (const name of plain.outputNames) {
        expect(own[name]?.dims).toEqual(wanted[name]?.dims);
        expect(own[name]?.data).toEqual(wanted[name]?.data);
      }
    },
  );

  test('is refused where the caches do not fit together', async () => {
    const given = feeds(1, 4, 2);
    const half = (dims: readonly number[]): Tensor =>
      new Tensor('float16', new Uint16Array(dims.reduce((product, size) => product * size, 1)), dims);
    for (const odd of [
      half([1, 2, 3, 16]),
      half([2, 2, 4, 16]),
      half([1, 4, 4, 16]),
      half([1, 2, 4, 8]),
      half([1, 2, 4]),
      half([9_000_000, 2, 0, 16]),
    ]) {
      await expect(opened.session.run({ ...given, [PAST]: odd }, ['logits'])).rejects.toThrow(/dimension/);
    }
    await expect(
      opened.session.run({ ...given, 'past_key_values.1.value': half([1, 2, 3, 16]) }, ['logits']),
    ).rejects.toThrow(/dimension/);
  });
});
