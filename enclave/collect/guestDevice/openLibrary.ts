import { CollectError } from '../errors.ts';
import { widenNativeStack } from '../nativeStack.ts';
import type { CLibrary } from '../../native/cLibrary.ts';

/** The C library at a path; without one, that of this process. Where koffi is not built for a platform, it is missing. */
export async function openLibrary(path?: string): Promise<CLibrary> {
  try {
    const { default: native } = await import('koffi');
    widenNativeStack(native);
    const { CLibrary } = await import('../../native/cLibrary.ts');
    return new CLibrary(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CollectError('LIBRARY_MISSING', `the C library cannot be called: ${reason}`, { cause: error });
  }
}
