import { createHash } from 'node:crypto';
import { type BigIntStats, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { type FileHandle, open as openFile, realpath } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { env } from 'onnxruntime-node';
import { RuntimeLibrary } from './ort/library.ts';
import type { ManifestEngine } from '../models/manifest.ts';

const CUDA_LIBRARY = 'libonnxruntime_providers_cuda.so';
/** The first two must load for CUDA, the bridge before what hangs on it. */
const CUDA_LIBRARIES = ['libonnxruntime_providers_shared.so', CUDA_LIBRARY] as const;
const RUNTIME_LIBRARY = /^(libonnxruntime\.so(\.\d+)*|libonnxruntime(\.\d+)*\.dylib|onnxruntime\.dll)$/;

/** Folder of the shared libraries of onnxruntime-node for this machine. */
export function libraryFolder(): string {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  return join(dirname(entry), '..', 'bin', 'napi-v6', process.platform, process.arch);
}

/** Version of the runtime and SHA-256 of the shared library that this process has loaded. */
export async function identifyRuntime(): Promise<ManifestEngine> {
  const version = env.versions.node;
  if (version === undefined) throw new Error('the version of onnxruntime is unknown');
  const library = await HashedLibrary.open(loadedLibrary());
  try {
    await library.requireMapped();
    return { name: 'onnxruntime', version, build: library.sha256 };
  } finally {
    await library.close();
  }
}

let native: { readonly interface: RuntimeLibrary | undefined } | undefined;

/** The C interface of the loaded library, one for the process; undefined where it cannot be had. */
export function nativeLibrary(): RuntimeLibrary | undefined {
  native ??= { interface: openLibrary() };
  return native.interface;
}

function openLibrary(): RuntimeLibrary | undefined {
  try {
    return new RuntimeLibrary(loadedLibrary());
  } catch {
    return undefined;
  }
}

/** The libraries of CUDA as they were hashed, in the order of `CUDA_LIBRARIES`. */
export interface CudaLibraries {
  readonly bridge: HashedLibrary;
  readonly provider: HashedLibrary;
}

/** Hashes what the runtime will load for CUDA: compare with `requireMapped` once it has, then close. */
export async function hashCudaLibraries(folder: string = libraryFolder()): Promise<CudaLibraries> {
  const [bridgeName, providerName] = CUDA_LIBRARIES;
  const bridge = await HashedLibrary.open(join(folder, bridgeName));
  try {
    return { bridge, provider: await HashedLibrary.open(join(folder, providerName)) };
  } catch (error) {
    await bridge.close();
    throw error;
  }
}

/**
 * A library that was hashed. It is held open, so its inode is no other file's until `close`: what is mapped with that
 * inode is this file.
 */
export class HashedLibrary {
  readonly sha256: Uint8Array;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #before: BigIntStats;

  private constructor(path: string, handle: FileHandle, before: BigIntStats, sha256: Uint8Array) {
    this.#path = path;
    this.#handle = handle;
    this.#before = before;
    this.sha256 = sha256;
  }

  static async open(path: string): Promise<HashedLibrary> {
    // Mappings have the names of files, not of links to them.
    const real = await realpath(path);
    const handle = await openFile(real, 'r');
    try {
      const before = await handle.stat({ bigint: true });
      return new HashedLibrary(real, handle, before, await hashOf(handle));
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get hex(): string {
    return Buffer.from(this.sha256).toString('hex');
  }

  /** Refuses where this process has mapped another file of this name, or none, or this one was written to since. */
  async requireMapped(maps: string | undefined = mapsOfProcess()): Promise<void> {
    const name = basename(this.#path);
    const now = await this.#handle.stat({ bigint: true });
    const { ino, size, ctimeNs } = this.#before;
    // Without a list of mappings the file alone can be asked.
    const found = maps === undefined ? [] : mappings(maps, (mapped) => mapped === name);
    const isThis = found.length > 0 && found.every(({ inode }) => inode === String(ino));
    if (maps !== undefined && !isThis) throw new Error(`the loaded ${name} was replaced on disk`);
    if (now.size !== size || now.ctimeNs !== ctimeNs)
      throw new Error(`${name} was changed while it was loaded`);
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

const CHUNK = 0x10_0000;

async function hashOf(handle: FileHandle): Promise<Uint8Array> {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(CHUNK);
  for (let position = 0; ;) {
    const { bytesRead } = await handle.read(piece, 0, CHUNK, position);
    if (bytesRead === 0) return new Uint8Array(hash.digest());
    hash.update(piece.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** Linux says which file is mapped; elsewhere it is the one in the package. */
function loadedLibrary(): string {
  const maps = mapsOfProcess();
  if (maps !== undefined) return mappedRuntime(maps);
  const name = readdirSync(libraryFolder()).find((file) => RUNTIME_LIBRARY.test(file));
  if (name === undefined) throw new Error('the shared library of onnxruntime is not in its package');
  return join(libraryFolder(), name);
}

function mapsOfProcess(): string | undefined {
  return process.platform === 'linux' ? readFileSync('/proc/self/maps', 'utf8') : undefined;
}

/** Where the runtime that is mapped lies, if that is still the file there. */
export function mappedRuntime(maps: string): string {
  const [only, ...others] = mappings(maps, (name) => RUNTIME_LIBRARY.test(name));
  if (!only) throw new Error('no shared library of onnxruntime is loaded');
  if (others.length > 0) throw new Error('more than one shared library of onnxruntime is loaded');
  const found = statSync(only.path, { bigint: true, throwIfNoEntry: false });
  if (String(found?.ino) === only.inode) return only.path;
  throw new Error('the loaded onnxruntime was replaced on disk');
}

interface Mapping {
  readonly inode: string;
  /** As the kernel writes it: with the mark `(deleted)` where the file is gone. */
  readonly path: string;
}

/** Files that are mapped under names that are wanted, each once. */
function mappings(maps: string, isWanted: (name: string) => boolean): readonly Mapping[] {
  const found = new Map<string, Mapping>();
  for (const line of maps.split('\n')) {
    const [, inode = '', path = ''] = /^\S+ \S+ \S+ \S+ (\d+)\s+(\/.*)$/.exec(line) ?? [];
    if (isWanted(basename(path).replace(/ \(deleted\)$/, ''))) found.set(`${inode} ${path}`, { inode, path });
  }
  return [...found.values()];
}

/** A library that keeps CUDA from loading. */
export interface MissingLibrary {
  readonly file: string;
  readonly detail: string;
}

/** The first library without which CUDA cannot load, dependencies included; undefined when all load. */
export function missingCudaLibrary(folder: string): MissingLibrary | undefined {
  if (!existsSync(join(folder, CUDA_LIBRARY))) return { file: CUDA_LIBRARY, detail: 'is not installed' };
  for (const library of CUDA_LIBRARIES) {
    const missing = whyNotLoadable(join(folder, library), library);
    if (missing) return missing;
  }
  return undefined;
}

/** Loads a library as an add-on: Node says that it is none, or what the dynamic linker misses. */
function whyNotLoadable(path: string, library: string): MissingLibrary | undefined {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_LAZY | constants.dlopen.RTLD_GLOBAL);
  } catch (error) {
    const message = error instanceof Error ? error.message : '';
    if (message.includes('did not self-register')) return undefined;
    const dependency = /^(\S+): cannot open shared object file/.exec(message)?.[1];
    if (dependency === undefined || dependency === path) return { file: library, detail: 'does not load' };
    return { file: dependency, detail: `is needed by ${library} and does not load` };
  }
  return undefined;
}
