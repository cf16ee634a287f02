import { posix } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';
import { ConfigRefused, type ModelConfig, readConfig } from '../models/config.ts';
import { ModelError } from '../models/errors.ts';
import { bufferSource, MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES, readPlain } from '../models/files.ts';
import { encodeManifest, type ManifestEngine, manifestDigest, manifestFile } from '../models/manifest.ts';
import { readOnnxHeader, requireSupported } from '../models/onnx.ts';
import {
  externalPaths,
  type FileRole,
  type ModelSource,
  named,
  requireExternalData,
} from '../models/store.ts';
import { planEmbedding, type EmbeddingPlan } from './embedding.ts';
import type { LoadedModel, Task } from './engine.ts';
import { type GenerationPlan, planGeneration } from './generation.ts';
import {
  createSession,
  manifestOptions,
  PROVIDER_NAMES,
  readSpecs,
  type SessionFiles,
  type SessionSettings,
} from './session.ts';
import { TextTokenizer } from './tokenizer.ts';

/** A model in the process that runs it. */
export interface RunningModel {
  readonly loaded: LoadedModel;
  readonly session: InferenceSession;
  readonly tokenizer: TextTokenizer | undefined;
  readonly embedding: EmbeddingPlan | undefined;
  readonly generation: GenerationPlan | undefined;
  /** External weights: the session reads them where they lie, so they must live as long as it. */
  readonly external: ReadonlyMap<string, Uint8Array>;
}

/** Loads a model into memory and takes its identity from that memory. Throws `ModelError`. */
export async function loadModel(
  source: ModelSource,
  runtime: ManifestEngine,
  settings: SessionSettings,
): Promise<RunningModel> {
  const buffers = await readFiles(source);
  const manifest = encodeManifest({
    files: [...buffers].map(([path, bytes]) => manifestFile(path, bytes)),
    engine: runtime,
    options: manifestOptions(settings),
  });
  const files = await sessionFiles(source, buffers);
  const session = await createSession(files, settings);
  const specs = readSpecs(files, session);
  const config = configOf(source, buffers);
  const tokenizer = await tokenizerOf(source, config);
  const embedding = tokenizer && planEmbedding(specs, config.hiddenSize);
  const generation = tokenizer && planGeneration(specs, config.endTokens);
  const tasks: Task[] = ['infer'];
  if (embedding) tasks.push('embed');
  if (generation) tasks.push('generate');
  const loaded: LoadedModel = {
    id: source.id,
    tasks,
    ...specs,
    manifest,
    manifestDigest: manifestDigest(manifest),
    providers: [PROVIDER_NAMES[settings.provider]],
    maxTokens: tokenizer?.maxTokens,
    dimensions: embedding?.dimensions,
    chatTemplate: chatTemplate(config),
    samplingDefaults: config.sampling,
  };
  return { loaded, session, tokenizer, embedding, generation, external: files.external };
}

function chatTemplate({
  chatTemplate: template,
  bosToken,
  eosToken,
}: ModelConfig): LoadedModel['chatTemplate'] {
  return template === undefined ? undefined : { template, bosToken, eosToken };
}

/** Every file once, by path. */
async function readFiles({ id, root, files }: ModelSource): Promise<ReadonlyMap<string, Uint8Array>> {
  const buffers = new Map<string, Uint8Array>();
  for (const { path, role } of files) {
    const limit = role === 'weights' || role === 'external' ? MAX_WEIGHTS_BYTES : MAX_TEXT_BYTES;
    buffers.set(path, await named(id, path, () => readPlain(root, path, limit)));
  }
  return buffers;
}

const pathOf = (source: ModelSource, role: FileRole): string =>
  source.files.find((file) => file.role === role)?.path ?? role;

/** Judges the ONNX header anew: the file may not be the one that was discovered. */
async function sessionFiles(
  source: ModelSource,
  buffers: ReadonlyMap<string, Uint8Array>,
): Promise<SessionFiles> {
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
  return { id: source.id, path: posix.normalize(path), weights, external };
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
