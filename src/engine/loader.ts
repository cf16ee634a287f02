import { ModelError } from '../models/errors.ts';
import type { ManifestEngine } from '../models/manifest.ts';
import type { ModelSource } from '../models/store.ts';
import { loadModel, type RunningModel } from './model.ts';
import type { LoadedReply, LoadFailure, LoadRequest } from './protocol.ts';
import {
  hashCudaLibrary,
  identifyRuntime,
  libraryFolder,
  missingCudaLibrary,
  type MissingLibrary,
} from './runtime.ts';
import type { SessionSettings } from './session.ts';

/** Models that run, and what the parent is told of them. */
export interface LoadOutcome {
  readonly running: ReadonlyMap<string, RunningModel>;
  readonly reply: LoadedReply;
}

/** Loads every model, one after the other: at most one is in memory twice. */
export async function loadModels(request: LoadRequest): Promise<LoadOutcome> {
  const runtime = await identifyRuntime();
  const running = new Map<string, RunningModel>();
  const failures: LoadFailure[] = [];
  const { settings, missing } = await chooseProvider(request);
  let fallback = missing && `${missing.file} ${missing.detail}`;
  for (const source of request.models) {
    try {
      if (missing && request.provider === 'cuda') throw cudaMissing(missing);
      const { model, reason } = await loadWithFallback(source, runtime, settings, request);
      fallback ??= reason;
      running.set(source.id, model);
    } catch (error) {
      failures.push(toFailure(source, error));
    }
  }
  const models = [...running.values()].map((model) => model.loaded);
  return { running, reply: { kind: 'loaded', models, failures, fallback } };
}

async function chooseProvider(
  request: LoadRequest,
): Promise<{ readonly settings: SessionSettings; readonly missing: MissingLibrary | undefined }> {
  const missing = request.provider === 'cpu' ? undefined : missingCudaLibrary(libraryFolder());
  const { threads, tuning } = request;
  const { device, deviceMemoryBytes } = tuning;
  const common = { threads, device, deviceMemoryBytes };
  if (request.provider === 'cpu' || missing) {
    return { settings: { provider: 'cpu', cudaLibrary: undefined, ...common }, missing };
  }
  return { settings: { provider: 'cuda', cudaLibrary: await hashCudaLibrary(), ...common }, missing };
}

function cudaMissing({ file, detail }: MissingLibrary): ModelError {
  return new ModelError('PROVIDER_MISSING', '(runtime)', file, detail);
}

/** With `auto`, a model that cannot run wholly on CUDA runs wholly on the CPU, and says so. */
async function loadWithFallback(
  source: ModelSource,
  runtime: ManifestEngine,
  settings: SessionSettings,
  { provider: choice, tuning }: LoadRequest,
): Promise<{ readonly model: RunningModel; readonly reason: string | undefined }> {
  try {
    return { model: await loadModel(source, runtime, settings, tuning), reason: undefined };
  } catch (error) {
    const byProvider = error instanceof ModelError && error.code.startsWith('PROVIDER_');
    if (!byProvider || choice !== 'auto' || settings.provider === 'cpu') throw error;
    const onCpu: SessionSettings = { ...settings, provider: 'cpu', cudaLibrary: undefined };
    return { model: await loadModel(source, runtime, onCpu, tuning), reason: error.message };
  }
}

function toFailure(source: ModelSource, error: unknown): LoadFailure {
  if (error instanceof ModelError) {
    const { code, model, file, detail } = error;
    return { code, model, file, detail };
  }
  const detail = error instanceof Error ? error.message : 'cannot be loaded';
  return { code: 'UNSUPPORTED_MODEL', model: source.id, file: source.files[0]?.path ?? '', detail };
}
