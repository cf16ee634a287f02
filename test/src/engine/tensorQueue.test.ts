import { describe, expect, test } from '@jest/globals';
import { Tensor as RuntimeTensor } from 'onnxruntime-node';
import type { Tensor } from '../../../src/engine/engine.ts';
import type { RunningModel } from '../../../src/engine/model.ts';
import type { InferResult, RunResult, Tuning } from '../../../src/engine/protocol.ts';
import { TensorQueue } from '../../../src/engine/tensorQueue.ts';

const TUNING: Tuning = {
  device: 0,
  deviceMemoryBytes: undefined,
  sequences: 1,
  cacheBytes: 0,
  prefixBytes: 0,
  tensorRows: 1,
  tensorDelayMs: 0,
};

/** A model that gives back what it is given, and what a turn of its queue brings. */
class Bench {
  readonly done = new Map<number, RunResult>();
  readonly failed = new Map<number, unknown>();
  /** Rows of each run. */
  readonly runs: number[] = [];
  readonly queue: TensorQueue;
  before: () => void = () => undefined;

  constructor(tuning: Partial<Tuning> = {}) {
    this.queue = new TensorQueue(
      { ...TUNING, ...tuning },
      {
        done: (id, result) => this.done.set(id, result),
        fail: (id, error) => this.failed.set(id, error),
      },
    );
  }

  model(fixedRows?: number): RunningModel {
    const run = (feeds: Record<string, RuntimeTensor>): Promise<Record<string, RuntimeTensor>> => {
      const given = feeds['x']!;
      this.runs.push(given.dims[0]!);
      this.before();
      if ((given.data as Float32Array).includes(-1)) throw new Error('a value that this model hates');
      if (fixedRows === undefined) return Promise.resolve({ y: given });
      const same = new RuntimeTensor('float32', new Float32Array(fixedRows), [fixedRows]);
      return Promise.resolve({ y: same });
    };
    const outputs = [{ name: 'y', datatype: 'FP32', shape: [-1] }];
    const embeds = { plan: { inputs: new Set(['input_ids']), output: 'y', pooled: false, dimensions: 1 } };
    return {
      session: { run: (feeds: Record<string, RuntimeTensor>) => run({ x: feeds['x'] ?? embedded(feeds) }) },
      loaded: { outputs },
      batchable: true,
      tokenizer: { idsOf: (ids: readonly number[]) => ids },
      embedding: { ...embeds, rowwise: true, most: 64 },
    } as unknown as RunningModel;
  }

  infer(id: number, model: RunningModel, values: readonly number[], scope = 'tenant'): void {
    const data = Float32Array.from(values);
    const inputs: readonly Tensor[] = [{ name: 'x', datatype: 'FP32', shape: [data.length], data }];
    this.queue.submit({ kind: 'infer', id, model: 'model', scope, inputs }, model);
  }

  embed(id: number, model: RunningModel, texts: readonly (readonly number[])[], scope = 'tenant'): void {
    this.queue.submit({ kind: 'embed', id, model: 'model', scope, texts }, model);
  }

  async drain(busy = false): Promise<void> {
    for (let turn = 0; !this.queue.isEmpty; turn++) {
      if (turn === 1000) throw new Error('never empty');
      await this.queue.advance(busy);
    }
  }

  /** Values and rows that a request was answered with. */
  answer(id: number): readonly [readonly number[], number | undefined] {
    const { outputs, rows } = this.done.get(id) as InferResult;
    return [[...(outputs[0]!.data as Float32Array)], rows];
  }
}

/** The vector of a text is its first token. */
function embedded(feeds: Record<string, RuntimeTensor>): RuntimeTensor {
  const { data, dims } = feeds['input_ids']!;
  const [rows, width] = dims as readonly [number, number];
  const firsts = Float32Array.from({ length: rows }, (_, i) => Number((data as BigInt64Array)[i * width]));
  return new RuntimeTensor('float32', firsts, [rows, 1]);
}

describe('requests for tensors', () => {
  test('give tenants turns, however much one has asked for', async () => {
    const bench = new Bench();
    const model = bench.model();
    for (let id = 1; id <= 20; id++) bench.infer(id, model, [id], 'many');
    bench.infer(100, model, [100], 'one');
    bench.embed(101, model, [[7]], 'other');
    await bench.drain();
    expect([...bench.done.keys()].slice(0, 5)).toEqual([1, 100, 101, 2, 3]);
    expect(bench.answer(20)).toEqual([[20], undefined]);
  });

  test('share a run up to its rows, and each gets its own', async () => {
    const bench = new Bench({ tensorRows: 8 });
    const model = bench.model();
    for (let id = 1; id <= 5; id++) bench.infer(id, model, [id, 10 * id], id % 2 ? 'odd' : 'even');
    await bench.drain();
    expect(bench.runs).toEqual([8, 2]);
    for (let id = 1; id <= 5; id++) expect(bench.answer(id)[0]).toEqual([id, 10 * id]);
    expect([...bench.done.keys()].map((id) => bench.answer(id)[1])).toEqual([8, 8, 8, 8, 2]);
  });

  test('share no run with another model, nor where it is full', async () => {
    const bench = new Bench({ tensorRows: 4 });
    const [model, other] = [bench.model(), bench.model()];
    bench.infer(1, model, [1, 2, 3]);
    bench.infer(2, other, [4]);
    bench.infer(3, model, [5, 6]);
    bench.infer(4, model, [7]);
    bench.infer(5, model, [1, 2, 3, 4, 5]);
    await bench.drain();
    expect(bench.runs).toEqual([4, 1, 2, 5]);
    expect(bench.answer(5)[1]).toBeUndefined();
  });

  test('wait for company as long as they may, but not once the run is full', async () => {
    const bench = new Bench({ tensorRows: 2, tensorDelayMs: 10_000 });
    const model = bench.model();
    bench.infer(1, model, [1]);
    await bench.queue.advance(true);
    await bench.queue.advance(false);
    expect(bench.runs).toEqual([]);
    bench.infer(2, model, [2]);
    await bench.queue.advance(true);
    expect(bench.runs).toEqual([2]);
    const brief = new Bench({ tensorRows: 2, tensorDelayMs: 5 });
    brief.infer(1, brief.model(), [1]);
    const start = performance.now();
    await brief.drain();
    expect(performance.now() - start).toBeGreaterThanOrEqual(4);
    expect(brief.answer(1)).toEqual([[1], 1]);
  });

  test('are run one by one where their run fails, so that one fails alone', async () => {
    const bench = new Bench({ tensorRows: 8 });
    const model = bench.model();
    for (const [id, value] of [10, -1, 30].entries()) bench.infer(id, model, [value]);
    await bench.drain();
    expect(bench.runs).toEqual([3, 1, 1, 1]);
    expect([...bench.failed.keys()]).toEqual([1]);
    expect([bench.answer(0), bench.answer(2)]).toEqual([
      [[10], 1],
      [[30], 1],
    ]);
  });

  test('are run one by one where an output is no row for each row', async () => {
    const bench = new Bench({ tensorRows: 8 });
    const model = bench.model(1);
    bench.infer(1, model, [1]);
    bench.infer(2, model, [2]);
    await bench.drain();
    expect(bench.runs).toEqual([2, 1, 1]);
    expect([...bench.done.keys()]).toEqual([1, 2]);
  });
});

describe('requests for embeddings', () => {
  test('share runs with texts of their own width, and each gets its vectors in order', async () => {
    const bench = new Bench();
    const model = bench.model();
    bench.embed(1, model, [[1], [2, 2], [3]], 'one');
    bench.embed(2, model, [[4], [5, 5]], 'other');
    await bench.drain();
    expect(bench.runs).toEqual([3, 2]);
    expect(bench.done.get(1)).toEqual({
      vectors: [Float32Array.of(1), Float32Array.of(2), Float32Array.of(3)],
      tokens: [1, 2, 1],
    });
    expect(bench.done.get(2)).toEqual({ vectors: [Float32Array.of(4), Float32Array.of(5)], tokens: [1, 2] });
  });

  test('let other tenants have their turns between the runs of a long request', async () => {
    const bench = new Bench();
    const [model, other] = [bench.model(), bench.model()];
    const texts = Array.from({ length: 200 }, (_, i) => [i]);
    bench.embed(1, model, texts, 'many');
    bench.infer(2, other, [1], 'one');
    await bench.drain();
    expect(bench.runs).toEqual([64, 1, 64, 64, 8]);
    expect((bench.done.get(1) as { vectors: readonly Float32Array[] }).vectors.map(([id]) => id)).toEqual(
      texts.flat(),
    );
  });

  test('fail alone where one text makes its run fail', async () => {
    const bench = new Bench();
    const model = bench.model();
    bench.embed(1, model, [[1]]);
    bench.embed(2, model, [[-1], [2]]);
    bench.embed(3, model, [[3]]);
    await bench.drain();
    expect([...bench.failed.keys()]).toEqual([2]);
    expect([...bench.done.keys()].sort()).toEqual([1, 3]);
  });

  test('that were cancelled get no further run', async () => {
    const bench = new Bench();
    const model = bench.model();
    bench.embed(
      1,
      model,
      Array.from({ length: 200 }, (_, i) => [i]),
    );
    bench.before = () => {
      bench.queue.remove(1);
    };
    await bench.drain();
    expect(bench.runs).toEqual([64]);
    expect([bench.done.size, bench.failed.size]).toEqual([0, 0]);
  });
});
