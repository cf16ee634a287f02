import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
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
  return { name: 'onnxruntime', version, build: await hashFile(loadedLibrary()) };
}

let native: { readonly library: RuntimeLibrary | undefined } | undefined;

/** The C interface of the loaded library, one for the process; undefined where it cannot be had. */
export function nativeLibrary(): RuntimeLibrary | undefined {
  native ??= { library: openLibrary() };
  return native.library;
}

function openLibrary(): RuntimeLibrary | undefined {
  try {
    return new RuntimeLibrary(loadedLibrary());
  } catch {
    return undefined;
  }
}

/** SHA-256 of the CUDA provider in lower-case hex. */
export async function hashCudaLibrary(): Promise<string> {
  return Buffer.from(await hashFile(join(libraryFolder(), CUDA_LIBRARY))).toString('hex');
}

async function hashFile(path: string): Promise<Uint8Array> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 0x10_0000 }))
    hash.update(chunk as Buffer);
  return new Uint8Array(hash.digest());
}

/** Linux says which file is mapped; elsewhere it is the one in the package. */
function loadedLibrary(): string {
  if (process.platform === 'linux') return mappedLibrary(readFileSync('/proc/self/maps', 'utf8'));
  const name = readdirSync(libraryFolder()).find((file) => RUNTIME_LIBRARY.test(file));
  if (name === undefined) throw new Error('the shared library of onnxruntime is not in its package');
  return join(libraryFolder(), name);
}

/** A mapped file that was replaced since has another inode, or the mark `(deleted)` in its name. */
function mappedLibrary(maps: string): string {
  for (const line of maps.split('\n')) {
    const fields = /^\S+ \S+ \S+ \S+ (\d+)\s+(\/.*)$/.exec(line);
    const path = fields?.[2] ?? '';
    if (!RUNTIME_LIBRARY.test(path.slice(path.lastIndexOf('/') + 1))) continue;
    if (String(statSync(path).ino) !== fields?.[1])
      throw new Error('the loaded onnxruntime was replaced on disk');
    return path;
  }
  throw new Error('no shared library of onnxruntime is loaded');
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
