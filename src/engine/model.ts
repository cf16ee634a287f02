import { posix } from 'node:path';
import { ConfigRefused, type ModelConfig, readConfig } from '../models/config.ts';
import { FileRefused, ModelError } from '../models/errors.ts';
import { bufferSource, MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES, readPlain } from '../models/files.ts';
import { encodeManifest, type ManifestEngine, manifestDigest, manifestFile } from '../models/manifest.ts';
import { requireRecorded } from '../models/recorded.ts';
import { readSealed } from '../models/sealed/readSealed.ts';
import { type OnnxHeader, readOnnxHeader, requireSupported } from '../models/onnx.ts';
import {
  externalPaths,
  type FileRole,
  type ModelSource,
  named,
  requireExternalData,
} from '../models/store.ts';
import { readVocabulary, type Vocabulary } from './constraint/vocabulary.ts';
import type { LanguageModel } from './continuousBatch.ts';
import { PrefixStore } from './decoder/prefixes.ts';
import { tryBatching } from './decoder/probe.ts';
import { type EmbeddingBatching, type EmbeddingPlan, isRowwise, planEmbedding } from './embedding.ts';
import { EngineError, type LoadedModel, type Task } from './engine.ts';
import { type OpenDecoder, openSession, type OpenSession, type Specs } from './opened.ts';
import { disabledOptimizers } from './ort/session.ts';
import type { Tuning } from './protocol.ts';
import {
  manifestOptions,
  PROVIDER_NAMES,
  type SessionFiles,
  type SessionSettings,
  type TensorSession,
} from './session.ts';
import { isBatchable } from './tensorBatch.ts';
import { TextTokenizer } from './tokenizer.ts';

/** A model in the process that runs it. */
export interface RunningModel {
  readonly loaded: LoadedModel;
  readonly session: TensorSession;
  readonly tokenizer: TextTokenizer | undefined;
  readonly embedding: RunningEmbedding | undefined;
  readonly generation: RunningGeneration | undefined;
  /** Requests for tensors may share runs, if the operator wants that. */
  readonly batchable: boolean;
  /** What tokens are made of, for constraints; refuses a tokenizer of which that is not known. */
  vocabulary(): Vocabulary;
  release(): Promise<void>;
}

export interface RunningEmbedding extends EmbeddingBatching {
  readonly plan: EmbeddingPlan;
}

export interface RunningGeneration {
  readonly language: LanguageModel;
  /** How sequences share runs, as the manifest says it. */
  readonly batching: string;
  readonly endTokens: ReadonlySet<number>;
}

/**
 * Loads a model into memory and takes its identity from that memory: of a sealed model, from what it is in clear.
 * Throws `ModelError`.
 */
export async function loadModel(
  source: ModelSource,
  runtime: ManifestEngine,
  settings: SessionSettings,
  tuning: Tuning,
  dataKey?: Uint8Array,
): Promise<RunningModel> {
  const buffers = await readFiles(source, dataKey);
  const lines = source.files.map((file) => {
    const loaded = manifestFile(file.path, buffers.get(file.path) ?? new Uint8Array(0));
    // The record of a sealed release is of the ciphertext, which was compared as it was read.
    return source.sealed ? loaded : requireRecorded(source.id, file, loaded);
  });
  const config = configOf(source, buffers);
  const { files, header } = await sessionFiles(source, buffers);
  const opened = await openSession(files, header, settings);
  const { session, specs, decoder } = opened;
  const tokenizer = await tokenizerOf(source, config);
  const embedding = tokenizer && (await toEmbedding(session, specs, config, tokenizer));
  const generation =
    tokenizer && typeof decoder !== 'string'
      ? await toGeneration(decoder, config, tokenizer, tuning)
      : undefined;
  const manifest = encodeManifest({
    files: lines,
    engine: runtime,
    options: optionsOf(settings, opened, { embedding, generation }),
  });
  const tasks: Task[] = ['infer'];
  if (embedding) tasks.push('embed');
  if (generation) tasks.push('generate');
  const loaded: LoadedModel = {
    id: source.id,
    tasks,
    lacks: lackOf(tokenizer, decoder),
    inputs: specs.inputs,
    outputs: specs.outputs,
    manifest,
    manifestDigest: manifestDigest(manifest),
    providers: [PROVIDER_NAMES[settings.provider]],
    maxTokens: tokenizer?.maxTokens,
    dimensions: embedding?.plan.dimensions,
    chatTemplate: chatTemplate(config),
    samplingDefaults: config.sampling,
  };
  const owner = generation?.language.decoder ?? (typeof decoder === 'string' ? session : decoder.decoder);
  let vocabulary: Vocabulary | undefined;
  return {
    loaded,
    session,
    tokenizer,
    embedding,
    generation,
    batchable: isBatchable(specs),
    vocabulary: () => (vocabulary ??= requireVocabulary(config)),
    // External weights are read where they lie: they live as long as this closure.
    release: () => owner.release().finally(() => files.external),
  };
}

/** What decides how it computes, beside its files. */
function optionsOf(
  settings: SessionSettings,
  opened: OpenSession,
  { embedding, generation }: Pick<RunningModel, 'embedding' | 'generation'>,
): ReadonlyMap<string, string> {
  const options = manifestOptions(settings);
  const off = opened.interface === 'binding' ? undefined : disabledOptimizers(settings);
  if (off !== undefined) options.set('disabled_optimizers', off);
  if (generation) {
    options.set('decoder', opened.interface);
    options.set('decoder_batching', generation.batching);
  }
  if (embedding) options.set('embedding_batching', embedding.rowwise ? 'rows' : 'alone');
  return options;
}

/** Why a model does not generate; undefined where it does. */
function lackOf(tokenizer: TextTokenizer | undefined, decoder: OpenDecoder | string): string | undefined {
  if (typeof decoder === 'string') return decoder;
  return tokenizer ? undefined : 'its folder has no tokenizer.json';
}

async function toEmbedding(
  session: TensorSession,
  specs: Specs,
  config: ModelConfig,
  { maxTokens: most }: TextTokenizer,
): Promise<RunningEmbedding | undefined> {
  const plan = planEmbedding(specs, config.hiddenSize);
  return plan && { plan, most, rowwise: await isRowwise(session, plan, most) };
}

async function toGeneration(
  { decoder, plan }: OpenDecoder,
  { endTokens }: ModelConfig,
  { maxTokens: context }: TextTokenizer,
  { sequences, cacheBytes, prefixBytes }: Tuning,
): Promise<RunningGeneration> {
  const trial = await tryBatching(decoder, plan, context, sequences);
  const limits = { sequences, tokens: Math.floor(cacheBytes / decoder.tokenBytes) };
  const prefixes = new PrefixStore(prefixBytes);
  const { batching } = trial;
  return {
    language: { decoder: trial.decoder, batching, context, prefixes, limits },
    batching: trial.name,
    endTokens,
  };
}

function requireVocabulary({ tokenizer }: ModelConfig): Vocabulary {
  const vocabulary = tokenizer && readVocabulary(tokenizer.json);
  if (!vocabulary) {
    throw new EngineError(
      'INVALID_INPUT',
      'the tokenizer of this model is of a kind for which output cannot be constrained',
    );
  }
  return vocabulary;
}

function chatTemplate({
  chatTemplate: template,
  bosToken,
  eosToken,
}: ModelConfig): LoadedModel['chatTemplate'] {
  return template === undefined ? undefined : { template, bosToken, eosToken };
}

/** Every file once, by path, in clear. */
async function readFiles(
  { id, root, files, sealed }: ModelSource,
  dataKey: Uint8Array | undefined,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const buffers = new Map<string, Uint8Array>();
  for (const file of files) {
    const { path, role } = file;
    const limit = role === 'weights' || role === 'external' ? MAX_WEIGHTS_BYTES : MAX_TEXT_BYTES;
    const read = (): Promise<Uint8Array> => {
      if (!sealed) return readPlain(root, path, limit);
      if (!dataKey) throw new FileRefused('DATA_KEY_MISSING', 'no data key was given');
      return readSealed(root, file, sealed, dataKey);
    };
    buffers.set(path, await named(id, path, read));
  }
  return buffers;
}

const pathOf = (source: ModelSource, role: FileRole): string =>
  source.files.find((file) => file.role === role)?.path ?? role;

/** Judges the ONNX header anew: the file may not be the one that was discovered. */
async function sessionFiles(
  source: ModelSource,
  buffers: ReadonlyMap<string, Uint8Array>,
): Promise<{ readonly files: SessionFiles; readonly header: OnnxHeader }> {
  const path = pathOf(source, 'weights');
  const weights = buffers.get(path);
  if (!weights) throw new ModelError('WEIGHTS_MISSING', source.id, path, 'is not among the files');
  const header = await named(source.id, path, () => {
    const read = readOnnxHeader(bufferSource(weights));
    requireSupported(read);
    return read;
  });
  const sizes = new Map([...buffers].map(([name, bytes]) => [name, bytes.length]));
  const paths = externalPaths(source.id, path, header.externalData);
  requireExternalData(source.id, path, header.externalData, sizes);
  const external = new Map<string, Uint8Array>();
  for (const [name, location] of paths) external.set(location, buffers.get(name) ?? new Uint8Array());
  return { files: { id: source.id, path: posix.normalize(path), weights, external }, header };
}

function configOf(source: ModelSource, buffers: ReadonlyMap<string, Uint8Array>): ModelConfig {
  const byRole = new Map<FileRole, Uint8Array>();
  for (const { role, path } of source.files) {
    const bytes = buffers.get(path);
    if (bytes) byRole.set(role, bytes);
  }
  try {
    return readConfig(byRole);
  } catch (error) {
    if (!(error instanceof ConfigRefused)) throw error;
    throw new ModelError(error.code, source.id, pathOf(source, error.role), error.message);
  }
}

function tokenizerOf(source: ModelSource, config: ModelConfig): Promise<TextTokenizer | undefined> {
  const { tokenizer, maxTokens } = config;
  return named(
    source.id,
    pathOf(source, 'tokenizer'),
    () => tokenizer && new TextTokenizer(tokenizer, maxTokens),
  );
}
