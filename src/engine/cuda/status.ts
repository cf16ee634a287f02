import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { libraryFolder, missingCudaLibrary, type MissingLibrary } from '../runtime.ts';
import { type LibraryStatus, libraryStates } from './digest.ts';
import { CUDA_RELEASE, type CudaRelease, type MachineLibrary } from './release.ts';

/** Another library that CUDA needs, and whether this machine has it. */
export interface Need extends MachineLibrary {
  readonly found: boolean;
}

export interface CudaStatus {
  readonly folder: string;
  /** Version of the installed onnxruntime-node, and of the one that the libraries are for. */
  readonly runtime: string;
  readonly wantedRuntime: string;
  readonly libraries: readonly LibraryStatus[];
  readonly needs: readonly Need[];
  /** What keeps CUDA from loading; undefined where it loads. */
  readonly missing: MissingLibrary | undefined;
}

/** Version of onnxruntime-node as its package says. */
export function installedRuntime(folder: string = libraryFolder()): string {
  // The libraries lie in bin/napi-v6/<platform>/<arch> of the package.
  const manifest = readFileSync(join(folder, '..', '..', '..', '..', 'package.json'), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(manifest)).version;
}

/** Says what is there of CUDA. Libraries that are not the pinned ones are never loaded. */
export async function cudaStatus(release: CudaRelease = CUDA_RELEASE): Promise<CudaStatus> {
  const folder = libraryFolder();
  const libraries = await libraryStates(release, folder);
  const stranger = libraries.find(({ state }) => state !== 'pinned');
  const [absent, other] = ['is not installed', 'is not the pinned library'];
  return {
    folder,
    runtime: installedRuntime(folder),
    wantedRuntime: release.runtime,
    libraries,
    needs: release.needs.map((need) => ({ ...need, found: isLoadable(need.name) })),
    missing: stranger
      ? { file: stranger.name, detail: stranger.state === 'absent' ? absent : other }
      : missingCudaLibrary(folder),
  };
}

/** Asks the dynamic linker: Node says of a library that is no add-on that it did not register itself. */
function isLoadable(name: string): boolean {
  try {
    process.dlopen({ exports: {} }, name, constants.dlopen.RTLD_LAZY);
    return true;
  } catch (error) {
    return error instanceof Error && error.message.includes('did not self-register');
  }
}
