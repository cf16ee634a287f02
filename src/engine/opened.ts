import type { OnnxHeader } from '../models/onnx.ts';
import { declaredSession, openDecoderSession } from './decoder/declared.ts';
import type { Decoder } from './decoder/decoder.ts';
import { HostedDecoder } from './decoder/hosted.ts';
import { cacheForm, NativeDecoder } from './decoder/native.ts';
import { type DecoderPlan, hasCache, planDecoder } from './decoder/plan.ts';
import type { TensorSpec } from './engine.ts';
import type { RuntimeLibrary } from './ort/library.ts';
import type { NativeSession } from './ort/session.ts';
import { nativeLibrary } from './runtime.ts';
import {
  createSession,
  readSpecs,
  refuseLoad,
  type SessionFiles,
  type SessionSettings,
  type TensorSession,
} from './session.ts';

export interface Specs {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

export interface OpenDecoder {
  readonly decoder: Decoder;
  readonly plan: DecoderPlan;
}

/** A model as the runtime has it. */
export interface OpenSession {
  readonly session: TensorSession;
  readonly specs: Specs;
  /** Of a causal language model, or why it is none. */
  readonly decoder: OpenDecoder | string;
  /** Which interface of the runtime it is driven by: C, with caches that grow in place or not, or onnxruntime-node's. */
  readonly interface: 'native-in-place' | 'native' | 'binding';
}

/** Opens a language model by the C interface, where that can be had, and everything else by the binding. */
export async function openSession(
  files: SessionFiles,
  { inputs, operators }: OnnxHeader,
  settings: SessionSettings,
): Promise<OpenSession> {
  const library = hasCache(inputs) ? nativeLibrary() : undefined;
  if (library) {
    const native = await openNative(createNative(library, files, operators, settings), operators, settings);
    if (native) return native;
  }
  const session = await createSession(files, settings);
  const specs = readSpecs(files, session);
  const plan = planDecoder(specs, operators);
  const decoder =
    typeof plan === 'string' ? plan : { plan, decoder: await HostedDecoder.create(session, plan) };
  return { session, specs, decoder, interface: 'binding' };
}

/** Undefined where this is no model that the C interface serves better. */
async function openNative(
  session: NativeSession,
  operators: ReadonlySet<string>,
  settings: SessionSettings,
): Promise<OpenSession | undefined> {
  const declared = declaredSession(session);
  const plan = planDecoder(declared, operators);
  const form = typeof plan === 'string' ? undefined : cacheForm(plan);
  if (typeof plan === 'string' || !form) {
    await session.release();
    return undefined;
  }
  const decoder = await NativeDecoder.create(session, plan, form, settings).catch(async (error: unknown) => {
    await session.release();
    throw error;
  });
  const way = decoder.inPlace ? 'native-in-place' : 'native';
  return { session: declared, specs: declared, decoder: { decoder, plan }, interface: way };
}

/** A failure to open is the model's. */
function createNative(
  library: RuntimeLibrary,
  files: SessionFiles,
  operators: ReadonlySet<string>,
  settings: SessionSettings,
): NativeSession {
  try {
    return openDecoderSession(library, files, operators, settings);
  } catch (error) {
    throw refuseLoad(files, error instanceof Error ? error.message : '');
  }
}
