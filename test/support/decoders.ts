import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Decoder } from '../../src/engine/decoder/decoder.ts';
import { declaredSession, openDecoderSession } from '../../src/engine/decoder/declared.ts';
import { HostedDecoder } from '../../src/engine/decoder/hosted.ts';
import { cacheForm, NativeDecoder } from '../../src/engine/decoder/native.ts';
import { type DecoderPlan, planDecoder } from '../../src/engine/decoder/plan.ts';
import { NativeSession } from '../../src/engine/ort/session.ts';
import { nativeLibrary } from '../../src/engine/runtime.ts';
import { createSession, readSpecs, type SessionSettings } from '../../src/engine/session.ts';
import { TextTokenizer } from '../../src/engine/tokenizer.ts';
import { bufferSource } from '../../src/models/files.ts';
import { readOnnxHeader } from '../../src/models/onnx.ts';

export const ON_CPU: SessionSettings = {
  provider: 'cpu',
  threads: 1,
  cudaLibrary: undefined,
  device: 0,
  deviceMemoryBytes: undefined,
};

export interface Opened<Kind extends Decoder> {
  readonly decoder: Kind;
  readonly plan: DecoderPlan;
}

const filesOf = (weights: Uint8Array) => ({ id: 'model', path: 'model.onnx', weights, external: new Map() });

/** A decoder over the C interface; `asItIs`: without an edit of its graph. */
export async function openNative(
  weights: Uint8Array,
  { asItIs = false } = {},
): Promise<Opened<NativeDecoder>> {
  const library = nativeLibrary();
  if (!library) throw new Error('the C interface cannot be had');
  const { operators } = readOnnxHeader(bufferSource(weights));
  const files = filesOf(weights);
  const session = asItIs
    ? new NativeSession(library, files, ON_CPU)
    : openDecoderSession(library, files, operators, ON_CPU);
  const plan = planDecoder(declaredSession(session), operators);
  if (typeof plan === 'string') throw new Error(plan);
  const form = cacheForm(plan);
  if (!form) throw new Error('the C interface does not serve this model');
  return { decoder: await NativeDecoder.create(session, plan, form, ON_CPU), plan };
}

/** A decoder over the binding of onnxruntime-node. */
export async function openHosted(weights: Uint8Array): Promise<Opened<HostedDecoder>> {
  const { operators } = readOnnxHeader(bufferSource(weights));
  const session = await createSession(filesOf(weights), ON_CPU);
  const plan = planDecoder(readSpecs(filesOf(weights), session), operators);
  if (typeof plan === 'string') throw new Error(plan);
  return { decoder: await HostedDecoder.create(session, plan), plan };
}

export function readWeights(directory: string): Uint8Array {
  return readFileSync(join(directory, 'onnx', 'model.onnx'));
}

export function readTokenizer(directory: string, maxTokens: number): TextTokenizer {
  const json = (name: string): object => JSON.parse(readFileSync(join(directory, name), 'utf8')) as object;
  return new TextTokenizer(
    { json: json('tokenizer.json'), config: json('tokenizer_config.json') },
    maxTokens,
  );
}

/** The place of the largest logit. */
export function likeliest(logits: Float32Array): number {
  return logits.reduce((best, value, i) => (value > logits[best]! ? i : best), 0);
}

/** Greedy tokens of one sequence without company or padding. */
export async function greedyAlone(
  decoder: Decoder,
  prompt: readonly number[],
  count: number,
): Promise<readonly number[]> {
  const ids: number[] = [];
  let prefix = await decoder.extend(undefined, prompt);
  for (;;) {
    ids.push(likeliest(prefix.logits));
    if (ids.length === count) break;
    const next = await decoder.extend(prefix, ids.slice(-1));
    prefix.release();
    prefix = next;
  }
  prefix.release();
  return ids;
}
