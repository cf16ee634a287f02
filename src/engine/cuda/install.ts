import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { libraryStates } from './digest.ts';
import { CudaError } from './errors.ts';
import { extractLibraries } from './extract.ts';
import { obtainArchive, type ObtainOptions } from './obtain.ts';
import type { OnProgress } from './progress.ts';
import { CUDA_RELEASE, type CudaRelease } from './release.ts';

/** `.vouchsafe-cuda-<process>-<chance>`, beside the libraries: a rename within one file system is atomic. */
const SCRATCH = /^\.vouchsafe-cuda-(\d+)-[0-9a-f]+$/;

export interface InstallOptions {
  /** Folder of the shared libraries of onnxruntime-node. */
  readonly folder: string;
  /** Version of the installed onnxruntime-node. */
  readonly runtime: string;
  /** File or address of an archive; undefined asks the registry that npm is set to. */
  readonly from?: string | undefined;
  /** Fetches and checks everything, and puts nothing in place. */
  readonly dryRun?: boolean;
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
  readonly release?: CudaRelease;
  readonly platform?: { readonly platform: string; readonly arch: string };
  readonly pack?: ObtainOptions['pack'];
}

export interface Installed {
  /** Names of libraries that were put in place, or would be; none where all were there. */
  readonly installed: readonly string[];
  /** Those of them in whose place another file was. */
  readonly replaced: readonly string[];
  /** Name of the archive that they are from; undefined where none was needed. */
  readonly archive: string | undefined;
}

/**
 * Puts the libraries of the CUDA provider beside onnxruntime-node. Each appears whole or not at all, the one that the
 * service looks for last; what fails or is interrupted leaves nothing. Throws `CudaError`.
 */
export async function installCuda(options: InstallOptions): Promise<Installed> {
  const { folder, release = CUDA_RELEASE, dryRun = false } = options;
  requireFit(release, options);
  const states = await libraryStates(release, folder);
  const wanted = release.libraries.filter(({ name }) =>
    states.some((found) => found.name === name && found.state !== 'pinned'),
  );
  if (wanted.length === 0) return { installed: [], replaced: [], archive: undefined };
  const { onProgress = () => undefined, signal = new AbortController().signal, from, pack } = options;
  const scratch = await makeScratch(folder);
  try {
    const obtained = await obtainArchive(release, {
      from,
      scratch,
      onProgress,
      signal,
      ...(pack && { pack }),
    });
    await extractLibraries(obtained, wanted, scratch, { onProgress, signal });
    signal.throwIfAborted();
    if (!dryRun) for (const { name } of wanted) await rename(join(scratch, name), join(folder, name));
    if (!dryRun) await syncFolder(folder);
    return {
      installed: wanted.map(({ name }) => name),
      replaced: states.filter(({ state }) => state === 'other').map(({ name }) => name),
      archive: obtained.archive.name,
    };
  } catch (error) {
    if (signal.aborted)
      throw new CudaError('INTERRUPTED', 'the installation was interrupted', { cause: error });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

function requireFit(release: CudaRelease, { runtime, platform: machine = process }: InstallOptions): void {
  const { platform, arch } = machine;
  if (platform !== release.platform || arch !== release.arch) {
    throw new CudaError('PLATFORM_UNSUPPORTED', `this machine is ${platform} ${arch}`);
  }
  if (runtime !== release.runtime) {
    throw new CudaError(
      'RUNTIME_MISMATCH',
      `onnxruntime-node is ${runtime}, the pinned libraries are of ${release.runtime}`,
    );
  }
}

/** A folder for this run. What a killed run left is removed. */
async function makeScratch(folder: string): Promise<string> {
  try {
    for (const name of await readdir(folder)) {
      const owner = SCRATCH.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner))) {
        await rm(join(folder, name), { recursive: true, force: true });
      }
    }
    const scratch = join(folder, `.vouchsafe-cuda-${process.pid}-${randomBytes(4).toString('hex')}`);
    await mkdir(scratch, { mode: 0o700 });
    return scratch;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CudaError('FOLDER_UNWRITABLE', `${folder}: ${code}`, { cause: error });
  }
}

/** EPERM says that the process is another user's, and there. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
