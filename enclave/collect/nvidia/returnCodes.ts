import { CollectError, type CollectErrorCode } from '../errors.ts';

/** Values of nvmlReturn_t that mean something to an operator. Every other one is a refusal. */
const MEANINGS: Readonly<Record<number, readonly [CollectErrorCode, string]>> = {
  1: ['DEVICE_LOST', 'the library is not initialised any more'],
  3: ['DEVICE_REFUSED', 'not supported by this GPU or driver'],
  4: ['PERMISSION_DENIED', 'no permission'],
  6: ['DEVICE_LOST', 'not found'],
  9: ['DRIVER_NOT_LOADED', 'the kernel module of the driver is not loaded'],
  10: ['DEVICE_TIMEOUT', 'the driver gave up waiting'],
  12: ['LIBRARY_MISSING', 'a library that the driver needs is not found'],
  13: ['LIBRARY_TOO_OLD', 'the library lacks the function'],
  15: ['DEVICE_LOST', 'the GPU has fallen off the bus'],
  16: ['DEVICE_LOST', 'the GPU needs a reset'],
  17: ['PERMISSION_DENIED', 'the operating system has blocked the control device'],
  18: ['DRIVER_NOT_LOADED', 'the library and the kernel module are of different versions'],
  19: ['DEVICE_BUSY', 'the GPU is in use'],
  20: ['DEVICE_BUSY', 'out of memory'],
  23: ['DEVICE_BUSY', 'out of resources'],
  25: ['LIBRARY_TOO_OLD', 'the driver knows another version of the structure'],
  27: ['DEVICE_BUSY', 'the system is not ready'],
  28: ['DEVICE_LOST', 'the GPU is not found'],
};

export const NOT_SUPPORTED = 3;

/** What a call that did not succeed means. */
export function nvmlFailure(call: string, code: number): CollectError {
  const [meaning, text] = MEANINGS[code] ?? (['DEVICE_REFUSED', 'refused'] as const);
  return new CollectError(meaning, `${call} returned ${code}: ${text}`);
}
