// One greedy stream by each way to keep the cache near the model. Argument: the folder of the model. Says «ready», then
// answers each line with tokens per second of the C interface, the loop and the binding.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { readOnnxHeader } from '../../../src/models/onnx.ts';
import { bufferSource } from '../../../src/models/files.ts';
import { columnsFor } from '../../../src/engine/decoder/columns.ts';
import type { Decoder } from '../../../src/engine/decoder/decoder.ts';
import { HostedDecoder } from '../../../src/engine/decoder/hosted.ts';
import { type DecoderPlan, planDecoder } from '../../../src/engine/decoder/plan.ts';
import { openSession } from '../../../src/engine/opened.ts';
import { createSession, readSpecs, type SessionSettings } from '../../../src/engine/session.ts';
import { availableParallelism } from 'node:os';
import { wrapInLoop } from './loopDecoder.ts';

const [folder = ''] = process.argv.slice(2);
const PROMPT = [35, 473, 482, 229, 399, 65, 778, 14, 277, 705, 186];
const TOKENS = 64;
const CONTEXT = 256;
const weights = readFileSync(join(folder, 'onnx/model.onnx'));
const settings: SessionSettings = {
  provider: 'cpu',
  threads: Math.max(1, availableParallelism() - 1),
  cudaLibrary: undefined,
  device: 0,
  deviceMemoryBytes: undefined,
};
const files = { id: 'bench', path: 'model.onnx', weights, external: new Map<string, Uint8Array>() };
const header = readOnnxHeader(bufferSource(weights));
const opened = await openSession(files, header, settings);
if (typeof opened.decoder === 'string' || opened.interface === 'binding')
  throw new Error('no C interface here');
const native = opened.decoder;
const bound = await createSession(files, settings);
const plan = planDecoder(readSpecs(files, bound), header.operators);
if (typeof plan === 'string') throw new Error(plan);
const hosted = await HostedDecoder.create(bound, plan);
const loop = await InferenceSession.create(wrapInLoop(weights), {
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  intraOpNumThreads: settings.threads,
  logSeverityLevel: 4,
});

/** The same steps as the service takes. */
async function stepwise(decoder: Decoder): Promise<readonly number[]> {
  const prefix = await decoder.extend(undefined, PROMPT);
  let id = largest(prefix.logits);
  const ids = [id];
  let slab = decoder.slab(columnsFor(PROMPT.length, CONTEXT));
  slab.add(prefix);
  prefix.release();
  for (let length = PROMPT.length; ids.length < TOKENS; length++) {
    const columns = columnsFor(length, CONTEXT);
    if (columns !== slab.columns) {
      const wider = decoder.slab(columns);
      wider.adopt(slab, 0);
      slab.release();
      slab = wider;
    }
    const [row] = await slab.step([id], [length]);
    id = largest(row ?? new Float32Array());
    ids.push(id);
  }
  slab.release();
  return ids;
}

/** The prompt by the binding, then every token in one run. */
async function looped({ caches }: DecoderPlan): Promise<readonly number[]> {
  const prefix = await hosted.extend(undefined, PROMPT);
  const first = largest(prefix.logits);
  const feeds: Record<string, Tensor> = {
    count: new Tensor('int64', BigInt64Array.of(BigInt(TOKENS - 1)), []),
    first: new Tensor('int64', BigInt64Array.of(BigInt(first)), [1, 1]),
  };
  const data = prefix as typeof prefix & { readonly caches: readonly Float32Array[] };
  caches.forEach(({ past, heads, width }, i) => {
    const shape = [1, heads, PROMPT.length, width];
    feeds[`${past}.begin`] = new Tensor('float32', data.caches[i] ?? new Float32Array(), shape);
  });
  const { tokens } = await loop.run(feeds, ['tokens']);
  return [first, ...Array.from(tokens?.data as BigInt64Array, Number)];
}

function largest(row: Float32Array): number {
  return row.reduce((best, logit, id) => (logit > (row[best] ?? -Infinity) ? id : best), 0);
}

async function rate(run: () => Promise<readonly number[]>, wanted: readonly number[]): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < 5; i++) {
    if ((await run()).join() !== wanted.join()) throw new Error('the ways say different things');
  }
  return (5 * TOKENS * 1000) / (performance.now() - started);
}

const wanted = await stepwise(native.decoder);
process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === '') break;
  const rates = [
    await rate(() => stepwise(native.decoder), wanted),
    await rate(() => looped(plan), wanted),
    await rate(() => stepwise(hosted), wanted),
  ];
  process.stdout.write(`${rates.join(' ')}\n`);
}
