import { ModelError } from '../models/errors.ts';
import type { ManifestEngine } from '../models/manifest.ts';
import type { ModelSource } from '../models/store.ts';
import { dataKeyOf, forgetKeys } from './dataKeys.ts';
import { loadModel, type RunningModel } from './model.ts';
import type { LoadedReply, LoadFailure, LoadRequest } from './protocol.ts';
import {
  type CudaLibraries,
  hashCudaLibraries,
  identifyRuntime,
  libraryFolder,
  missingCudaLibrary,
  type MissingLibrary,
} from './runtime.ts';
import { PROVIDER_NAMES, type SessionSettings } from './session.ts';

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
  const { settings, missing, libraries } = await chooseProvider(request);
  let fallback = missing && `${missing.file} ${missing.detail}`;
  try {
    for (const source of request.models) {
      try {
        if (missing && request.provider === 'cuda') throw cudaMissing(missing);
        const { model, reason } = await loadWithFallback(source, runtime, settings, request);
        if (libraries) await requireLibraries(model, libraries);
        fallback ??= reason;
        running.set(source.id, model);
      } catch (error) {
        failures.push(toFailure(source, error));
      }
    }
  } finally {
    forgetKeys(request);
    await Promise.all([libraries?.bridge.close(), libraries?.provider.close()]);
  }
  const models = [...running.values()].map((model) => model.loaded);
  return { running, reply: { kind: 'loaded', models, failures, fallback } };
}

/**
 * The runtime opens the libraries of CUDA by their names at the first session: what it then mapped must be what was
 * hashed for the manifest. Otherwise the model does not run.
 */
async function requireLibraries(model: RunningModel, { bridge, provider }: CudaLibraries): Promise<void> {
  if (!model.loaded.providers.includes(PROVIDER_NAMES.cuda)) return;
  try {
    await bridge.requireMapped();
    await provider.requireMapped();
  } catch (error) {
    await model.release();
    const detail = error instanceof Error ? error.message : 'another library was loaded';
    throw new ModelError('MODEL_CHANGED', model.loaded.id, '(runtime)', detail);
  }
}

interface Choice {
  readonly settings: SessionSettings;
  readonly missing: MissingLibrary | undefined;
  /** Where the provider is CUDA. */
  readonly libraries?: CudaLibraries;
}

async function chooseProvider(request: LoadRequest): Promise<Choice> {
  const missing = request.provider === 'cpu' ? undefined : missingCudaLibrary(libraryFolder());
  const { threads, tuning } = request;
  const { device, deviceMemoryBytes } = tuning;
  const common = { threads, device, deviceMemoryBytes };
  if (request.provider === 'cpu' || missing) {
    return { settings: { provider: 'cpu', cudaLibrary: undefined, ...common }, missing };
  }
  const libraries = await hashCudaLibraries();
  const { bridge, provider } = libraries;
  const digests = { cudaLibrary: provider.hex, cudaBridge: bridge.hex };
  return { settings: { provider: 'cuda', ...digests, ...common }, missing, libraries };
}

function cudaMissing({ file, detail }: MissingLibrary): ModelError {
  return new ModelError('PROVIDER_MISSING', '(runtime)', file, detail);
}

/** With `auto`, a model that cannot run wholly on CUDA runs wholly on the CPU, and says so. */
async function loadWithFallback(
  source: ModelSource,
  runtime: ManifestEngine,
  settings: SessionSettings,
  request: LoadRequest,
): Promise<{ readonly model: RunningModel; readonly reason: string | undefined }> {
  const { provider: choice, tuning } = request;
  const key = dataKeyOf(source, request);
  try {
    return { model: await loadModel(source, runtime, settings, tuning, key), reason: undefined };
  } catch (error) {
    const byProvider = error instanceof ModelError && error.code.startsWith('PROVIDER_');
    if (!byProvider || choice !== 'auto' || settings.provider === 'cpu') throw error;
    const onCpu: SessionSettings = {
      ...settings,
      provider: 'cpu',
      cudaLibrary: undefined,
      cudaBridge: undefined,
    };
    return { model: await loadModel(source, runtime, onCpu, tuning, key), reason: error.message };
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
