import { InferenceSession, type Tensor } from 'onnxruntime-node';
import { ModelError } from '../models/errors.ts';
import type { TensorSpec } from './engine.ts';
import { datatypeOf } from './tensors.ts';

export type Provider = 'cpu' | 'cuda';

export const PROVIDER_NAMES = { cpu: 'CPUExecutionProvider', cuda: 'CUDAExecutionProvider' } as const;

/** What decides how a session computes, beside its files. */
export interface SessionSettings {
  readonly provider: Provider;
  readonly threads: number;
  /** SHA-256 of the CUDA provider in hex; undefined on the CPU. */
  readonly cudaLibrary: string | undefined;
  /** SHA-256 in hex of the library through which the runtime reaches that provider. */
  readonly cudaBridge?: string | undefined;
  /** Number of the CUDA device. */
  readonly device: number;
  /** Most memory of the device that the provider takes, in bytes; undefined: no limit. */
  readonly deviceMemoryBytes: number | undefined;
}

/** What runs over tensors of the host, whichever interface of the runtime is behind it. */
export interface TensorSession {
  run(
    feeds: Record<string, Tensor>,
    names: readonly string[],
  ): Promise<Readonly<Record<string, Tensor | undefined>>>;
  release(): Promise<void>;
}

export interface SessionFiles {
  readonly id: string;
  /** Path of the ONNX file, for refusals. */
  readonly path: string;
  readonly weights: Uint8Array;
  /** By location, as the ONNX file names it. */
  readonly external: ReadonlyMap<string, Uint8Array>;
}

/** Settings as the manifest states them: those that may change an output. */
export function manifestOptions({
  provider,
  threads,
  cudaLibrary,
  cudaBridge,
}: SessionSettings): Map<string, string> {
  const options = new Map([
    ['execution_mode', 'sequential'],
    ['execution_provider', PROVIDER_NAMES[provider]],
    ['graph_optimization_level', 'all'],
    ['intra_op_threads', String(threads)],
  ]);
  if (cudaLibrary !== undefined) options.set('cuda_provider_sha256', cudaLibrary);
  if (cudaBridge !== undefined) options.set('cuda_bridge_sha256', cudaBridge);
  return options;
}

/**
 * A session over buffers. Logging is off, because onnxruntime logs values of inputs. With CUDA no node may fall back
 * to the CPU, so the provider that was asked for is the one that runs.
 */
export async function createSession(
  files: SessionFiles,
  settings: SessionSettings,
): Promise<InferenceSession> {
  const extra: Record<string, string> = { 'session.intra_op.allow_spinning': '0' };
  if (settings.provider === 'cuda') extra['session.disable_cpu_ep_fallback'] = '1';
  try {
    return await InferenceSession.create(files.weights, {
      executionProviders: [providerOf(settings)],
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
      intraOpNumThreads: settings.threads,
      interOpNumThreads: 1,
      // The arena and the memory pattern keep the peak of every shape that was ever seen.
      enableCpuMemArena: false,
      enableMemPattern: false,
      logSeverityLevel: 4,
      extra,
      externalData: [...files.external].map(([path, data]) => ({ path, data })),
    });
  } catch (error) {
    throw refuseLoad(files, error instanceof Error ? error.message : '');
  }
}

function providerOf({
  provider,
  device,
  deviceMemoryBytes,
}: SessionSettings): InferenceSession.ExecutionProviderConfig {
  if (provider === 'cpu') return 'cpu';
  const limit = deviceMemoryBytes === undefined ? {} : { gpuMemLimit: deviceMemoryBytes };
  return { name: 'cuda', deviceId: device, ...limit };
}

/** Maps a failure to load. The runtime's text speaks of the model, which is the operator's, not of any request. */
export function refuseLoad({ id, path }: SessionFiles, message: string): ModelError {
  const detail = message.replaceAll(/\s+/g, ' ').slice(0, 400);
  if (message.includes('fallback to CPU EP has been explicitly disabled')) {
    return new ModelError('PROVIDER_UNSUPPORTED', id, path, 'has nodes that CUDA does not run');
  }
  if (/CUDA (failure|error)|CUDA-capable|ExecutionProvider_Cuda|libcu/i.test(message)) {
    return new ModelError('PROVIDER_MISSING', id, 'libonnxruntime_providers_cuda.so', detail);
  }
  // ONNX's number of BFLOAT16: the binding has no array for it.
  if (message.includes('Unsupported data type: 16'))
    return new ModelError(
      'UNSUPPORTED_MODEL',
      id,
      path,
      'has a BF16 tensor, which onnxruntime-node cannot hold',
    );
  if (message.includes('protobuf parsing failed')) return new ModelError('FILE_MALFORMED', id, path, detail);
  if (message.includes('Unsupported model IR version'))
    return new ModelError('UNSUPPORTED_IR', id, path, detail);
  if (/released onnx opset versions/.test(message))
    return new ModelError('UNSUPPORTED_OPSET', id, path, detail);
  return new ModelError('UNSUPPORTED_MODEL', id, path, detail);
}

/** Declared tensors. Inputs of other kinds are refused; outputs of other kinds are left out and never computed. */
export function readSpecs(
  files: SessionFiles,
  session: InferenceSession,
): Record<'inputs' | 'outputs', TensorSpec[]> {
  const refuse = (name: string): never => {
    throw new ModelError(
      'UNSUPPORTED_MODEL',
      files.id,
      files.path,
      `${name} has a type that tensors do not have here`,
    );
  };
  const inputs = session.inputMetadata.map((metadata) => toSpec(metadata) ?? refuse(metadata.name));
  const outputs = session.outputMetadata.map(toSpec).filter((spec) => spec !== undefined);
  return { inputs, outputs };
}

function toSpec(metadata: InferenceSession.ValueMetadata): TensorSpec | undefined {
  if (!metadata.isTensor) return undefined;
  const datatype = datatypeOf(metadata.type);
  if (datatype === undefined) return undefined;
  return {
    name: metadata.name,
    datatype,
    shape: metadata.shape.map((size) => (typeof size === 'number' ? size : -1)),
  };
}
