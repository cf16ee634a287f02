import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import { FileRefused, ModelError } from './errors.ts';
import { plainSegments, statPlain, withFileSource } from './files.ts';
import { type ExternalData, type OnnxHeader, readOnnxHeader, requireSupported } from './onnx.ts';
import { findRelease, mergeModels, readReleases, refuseUnsigned } from './releases.ts';
import { SEALED_FILE } from './sealed/header.ts';
import { discoverSealed, type Sealing } from './sealed/readSealed.ts';

/** What a file of a model is for. */
export type FileRole = 'weights' | 'external' | 'tokenizer' | 'tokenizer-config' | 'template' | 'config' | 'generation-config';

export interface ModelFile {
  /** Relative to the model folder, with `/`. */
  readonly path: string;
  readonly role: FileRole;
  /** Bytes at discovery; the manifest has those that were loaded. */
  readonly size: number;
  /** Lower-case hex digest that the record of the release has; what is read from disk must have it, too. */
  readonly sha256?: string | undefined;
}

/** A model as it lies on disk: every file that decides its output. */
export interface ModelSource {
  readonly id: string;
  /** Absolute path of the folder that the paths are relative to. */
  readonly root: string;
  readonly files: readonly ModelFile[];
  /** `name@version` where the model is a release. */
  readonly release?: string | undefined;
  readonly irVersion: number;
  /** Operator set of the domain `ai.onnx`. */
  readonly opset: number;
  /** Where the files are sealed: their sizes are those in clear, and on disk lies the ciphertext. */
  readonly sealed?: Sealing | undefined;
}

/** What a store holds: usable models and the reasons against the others, both in the order of their names. */
export interface ModelStore {
  readonly models: readonly ModelSource[];
  readonly refused: readonly ModelError[];
}

const OPTIONAL_FILES: readonly (readonly [string, FileRole])[] = [
  ['config.json', 'config'],
  ['generation_config.json', 'generation-config'],
  ['tokenizer.json', 'tokenizer'],
  ['tokenizer_config.json', 'tokenizer-config'],
  ['chat_template.jinja', 'template'],
];
const MODEL_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * Discovers every model of a store: folders, files, and the releases that aliases mean. PEM texts of signers make
 * signed releases the only models there are. Throws `ModelError` only when the store itself cannot be read.
 */
export async function readStore(directory: string, signing: readonly string[] = []): Promise<ModelStore> {
  const root = await storeRoot(directory);
  const plain = await readPlainModels(root);
  const released = await readReleases(root, signing, discoverFolder);
  return mergeModels(signing.length > 0 ? refuseUnsigned(plain) : plain, released);
}

/** The release `name@version` as a model of this id, also where no alias means it. Throws `ModelError`. */
export async function readRelease(
  directory: string,
  reference: string,
  signing: readonly string[] = [],
): Promise<ModelSource> {
  return findRelease(await storeRoot(directory), reference, signing, discoverFolder);
}

async function readPlainModels(root: string): Promise<ModelStore> {
  const entries = (await readdir(root, { withFileTypes: true })).filter(isModelEntry);
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const models: ModelSource[] = [];
  const refused: ModelError[] = [];
  for (const entry of entries) {
    try {
      models.push(await discoverEntry(root, entry, entries));
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      refused.push(error);
    }
  }
  return { models, refused };
}

/** The store may itself be reached through a link, as mounted volumes are; nothing below it may. */
async function storeRoot(directory: string): Promise<string> {
  try {
    const root = await realpath(directory);
    if ((await lstat(root)).isDirectory()) return root;
  } catch {
    throw new ModelError('STORE_UNREADABLE', '(store)', directory, 'does not exist or cannot be read');
  }
  throw new ModelError('STORE_UNREADABLE', '(store)', directory, 'is no directory');
}

function isModelEntry(entry: Dirent): boolean {
  if (entry.name.startsWith('.')) return false;
  return entry.isDirectory() || entry.isSymbolicLink() || entry.name.endsWith('.onnx');
}

const idOf = (entry: Dirent): string => (entry.isDirectory() ? entry.name : entry.name.replace(/\.onnx$/, ''));

async function discoverEntry(root: string, entry: Dirent, all: readonly Dirent[]): Promise<ModelSource> {
  const id = idOf(entry);
  if (!MODEL_ID.test(id)) throw new ModelError('MODEL_ID_INVALID', JSON.stringify(id), entry.name, 'is no model id');
  if (entry.isSymbolicLink()) throw new ModelError('SYMLINK', id, entry.name, 'is a symbolic link');
  if (all.some((other) => other !== entry && idOf(other) === id)) {
    throw new ModelError('MODEL_AMBIGUOUS', id, entry.name, 'a folder and a file give the same model id');
  }
  return entry.isDirectory()
    ? discoverFolder(id, join(root, entry.name))
    : withExternalData(id, root, entry.name, []);
}

/**
 * Discovers the model in a folder of the Hugging Face ONNX layout. Where paths are given, as the record of a release
 * has them, nothing is looked up in the folder: a file of the model that is gone is missed.
 */
export async function discoverFolder(
  id: string,
  root: string,
  paths: readonly string[] = [],
): Promise<ModelSource> {
  const list = paths.length > 0 ? namesAmong(paths) : (path: string) => namesIn(id, root, path);
  const names = new Set(await list('.'));
  // What else lies in a folder with this header is never opened.
  if (names.has(SEALED_FILE)) return named(id, SEALED_FILE, () => discoverSealed(id, root));
  const adapter = [...names].find((name) => /^adapter_|\.onnx_adapter$/.test(name));
  if (adapter !== undefined) throw new ModelError('ADAPTER_UNSUPPORTED', id, adapter, 'is an adapter');
  const weights = await findWeights(id, root, names, list);
  const files: ModelFile[] = [];
  for (const [path, role] of OPTIONAL_FILES) {
    if (names.has(path)) files.push({ path, role, size: await named(id, path, () => statPlain(root, path)) });
  }
  return withExternalData(id, root, weights, files);
}

/** Names in a folder: `.`, or one below it. */
type List = (path: string) => Promise<readonly string[]>;

function namesAmong(paths: readonly string[]): List {
  return (folder) => {
    const below = folder === '.' ? paths : paths.filter((path) => path.startsWith(`${folder}/`));
    const names = below.map((path) => (folder === '.' ? path : path.slice(folder.length + 1)).split('/', 1));
    return Promise.resolve([...new Set(names.flat())]);
  };
}

async function namesIn(id: string, root: string, path: string): Promise<readonly string[]> {
  try {
    return await readdir(join(root, path));
  } catch {
    throw new ModelError('FILE_UNREADABLE', id, path, 'cannot be listed');
  }
}

/** `onnx/model.onnx` or `model.onnx`, else the only ONNX file there is. */
async function findWeights(
  id: string,
  root: string,
  names: ReadonlySet<string>,
  list: List,
): Promise<string> {
  const nested = names.has('onnx') ? await list(await checkedFolder(id, root)) : [];
  const paths = [...nested.map((name) => `onnx/${name}`), ...names].filter((name) => name.endsWith('.onnx'));
  const standard = paths.filter((path) => posix.basename(path) === 'model.onnx');
  const [weights, ...others] = standard.length > 0 ? standard : paths;
  if (weights === undefined) throw new ModelError('WEIGHTS_MISSING', id, 'model.onnx', 'does not exist');
  if (others.length > 0) throw new ModelError('MODEL_AMBIGUOUS', id, weights, `and ${others.length} more could be meant`);
  return weights;
}

async function checkedFolder(id: string, root: string): Promise<string> {
  const found = await lstat(join(root, 'onnx'));
  if (found.isSymbolicLink()) throw new ModelError('SYMLINK', id, 'onnx', 'is a symbolic link');
  if (!found.isDirectory()) throw new ModelError('NOT_A_FILE', id, 'onnx', 'is no folder');
  return 'onnx';
}

async function withExternalData(
  id: string,
  root: string,
  weights: string,
  others: readonly ModelFile[],
): Promise<ModelSource> {
  const size = await named(id, weights, () => statPlain(root, weights));
  const header = await named(id, weights, () => withFileSource(join(root, weights), supportedHeader));
  const external: ModelFile[] = [];
  const taken = new Set(others.map((file) => file.path));
  for (const path of externalPaths(id, weights, header.externalData).keys()) {
    if (taken.has(path)) throw new ModelError('PATH_ESCAPE', id, path, 'is named as external data but has another use');
    external.push({ path, role: 'external', size: await externalSize(id, root, path) });
  }
  const sizes = new Map(external.map((file) => [file.path, file.size]));
  requireExternalData(id, weights, header.externalData, sizes);
  const files: ModelFile[] = [{ path: weights, role: 'weights', size }, ...external, ...others];
  const opset = header.opsets.get('') ?? header.opsets.get('ai.onnx') ?? 1;
  return { id, root, files, irVersion: header.irVersion, opset };
}

function supportedHeader(source: Parameters<typeof readOnnxHeader>[0]): OnnxHeader {
  const header = readOnnxHeader(source);
  requireSupported(header);
  return header;
}

/** Paths of external data relative to the model folder, with the location by which the ONNX file names each. */
export function externalPaths(
  id: string,
  weights: string,
  externalData: readonly ExternalData[],
): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const { location } of externalData) {
    try {
      plainSegments(location);
    } catch {
      throw new ModelError('PATH_ESCAPE', id, weights, 'names external data outside its folder');
    }
    const path = posix.join(dirname(weights), location);
    if (path === weights) throw new ModelError('PATH_ESCAPE', id, weights, 'names itself as external data');
    paths.set(path, location);
  }
  return paths;
}

/** Refuses external data that passes the end of its file. */
export function requireExternalData(
  id: string,
  weights: string,
  externalData: readonly ExternalData[],
  sizes: ReadonlyMap<string, number>,
): void {
  for (const { location, offset, length } of externalData) {
    const path = posix.join(dirname(weights), location);
    const size = sizes.get(path);
    if (size === undefined) throw new ModelError('EXTERNAL_DATA_MISSING', id, path, 'was not there when models were listed');
    const end = offset + (length ?? 0);
    if (end > size) throw new ModelError('EXTERNAL_DATA_TRUNCATED', id, path, `${size} bytes, ${end} are named`);
  }
}

async function externalSize(id: string, root: string, path: string): Promise<number> {
  try {
    return await statPlain(root, path);
  } catch (error) {
    if (!(error instanceof FileRefused)) throw error;
    const code = error.code === 'FILE_MISSING' ? 'EXTERNAL_DATA_MISSING' : error.code;
    throw new ModelError(code, id, path, error.message);
  }
}

/** Names model and file in a refusal from below. */
export async function named<T>(id: string, file: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof FileRefused) throw new ModelError(error.code, id, file, error.message);
    throw error;
  }
}
