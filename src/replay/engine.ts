import { equalBytes } from '../../attestation/bytes/bytes.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { type Engine, EngineError } from '../engine/engine.ts';
import { startEngine } from '../engine/host.ts';
import type { EngineOptions } from '../engine/options.ts';
import { ModelError } from '../models/errors.ts';
import { type ModelSource, readStore } from '../models/store.ts';
import { ReplayError } from './errors.ts';
import { type ManifestSettings, parseManifest, settingsOf } from './manifest.ts';

/** Compiled entry of the engine process, also where this file runs from its source. */
const CHILD_ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/src/engine/child.js' : '../engine/child.js',
  import.meta.url,
);

const CUDA_PROVIDER = 'CUDAExecutionProvider';

export interface ReplayEngineOptions {
  /** Folder of the models. */
  readonly models: string;
  /** By default what the receipt names. */
  readonly provider?: 'cpu' | 'cuda' | undefined;
  /** By default all cores but one, or what gives the recorded manifest. */
  readonly threads?: number | undefined;
  /** What `engine.sequences` of the service was; by default 16, or what gives the recorded manifest. */
  readonly sequences?: number | undefined;
  /** What `engine.batchRows` of the service was; by default each request runs by itself. */
  readonly batchRows?: number | undefined;
  readonly childEntry?: URL | undefined;
}

export interface ReplayEngine {
  readonly engine: Engine;
  /** Settings that were found in the digest of the receipt; undefined where none had to be. */
  readonly found: ManifestSettings | undefined;
}

/** Starts a process of its own with the model that a receipt names, set as the receipt has it. */
export async function startRecordedModel(
  claims: ReceiptClaims,
  options: ReplayEngineOptions,
): Promise<ReplayEngine> {
  const source = await findSource(options.models, claims.model);
  const engine = await starting(recordedOptions(claims, source, options));
  const found = otherSettings(engine, claims, options);
  if (found === undefined) return { engine, found };
  await engine.close();
  return { engine: await starting(recordedOptions(claims, source, { ...options, ...found })), found };
}

/** How the process is started: what is not given is what the service has by default. */
export function recordedOptions(
  { providers }: Pick<ReceiptClaims, 'providers'>,
  source: ModelSource,
  { provider, threads, sequences, batchRows, childEntry = CHILD_ENTRY }: ReplayEngineOptions,
): EngineOptions {
  return {
    models: [source],
    provider: provider ?? (providers.includes(CUDA_PROVIDER) ? 'cuda' : 'cpu'),
    childEntry,
    ...(threads !== undefined && { threads }),
    tuning: {
      ...(sequences !== undefined && { sequences }),
      ...(batchRows !== undefined && { tensorRows: batchRows }),
    },
  };
}

/** Settings that give the recorded manifest, where those that were taken do not. */
function otherSettings(
  engine: Engine,
  { model: id, manifestDigest }: ReceiptClaims,
  known: ReplayEngineOptions,
): ManifestSettings | undefined {
  const model = engine.models.get(id);
  if (!model || equalBytes(model.manifestDigest, manifestDigest)) return undefined;
  return settingsOf(parseManifest(model.manifest), manifestDigest, known);
}

async function findSource(directory: string, id: string): Promise<ModelSource> {
  try {
    const { models, refused } = await readStore(directory);
    const source = models.find((model) => model.id === id);
    if (source) return source;
    const refusal = refused.find(({ model }) => model === id);
    if (refusal) throw refusal;
  } catch (error) {
    throw asReplayError(error);
  }
  throw new ReplayError('MODEL_MISSING', `${directory} has no model ${id}`);
}

async function starting(options: EngineOptions): Promise<Engine> {
  try {
    return await startEngine(options);
  } catch (error) {
    throw asReplayError(error);
  }
}

function asReplayError(error: unknown): unknown {
  if (error instanceof ModelError) {
    const code = error.code === 'STORE_UNREADABLE' ? 'MODEL_MISSING' : 'MODEL_UNUSABLE';
    return new ReplayError(code, `${error.code}: ${error.message}`);
  }
  if (error instanceof EngineError) return new ReplayError('RUN_FAILED', `${error.code}: ${error.message}`);
  return error;
}
