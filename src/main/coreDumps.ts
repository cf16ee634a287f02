import { widenNativeStack } from '../../enclave/collect/nativeStack.ts';
import { forbidCoreDumps } from '../processes/coreDumps.ts';

/**
 * For the process that signs, at its start. This loads its first library, after which the stacks for those of drivers
 * could no longer be widened.
 */
export function forbidCoreDumpsOfSigner(): string | undefined {
  return forbidCoreDumps(widenNativeStack);
}
