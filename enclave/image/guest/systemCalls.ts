import { type Argument, CLibrary, type CFunction } from '../../native/cLibrary.ts';
import { SystemCallError } from '../../native/systemCallError.ts';
import { GuestError } from './errors.ts';

/** What the first process asks the kernel for. Its calls are short, so they hold up nothing. */
export class SystemCalls {
  readonly #library = new CLibrary();

  /** What the function returns; throws `GUEST_CALL_FAILED` where that is -1. */
  call(name: CFunction, ...parameters: Argument[]): number {
    try {
      return this.#library.callNow(name, parameters);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      throw new GuestError('GUEST_CALL_FAILED', error.message, { cause: error });
    }
  }

  /** Where memory lies, for structures that hold addresses. It must not be collected before the call. */
  address(memory: Uint8Array): bigint {
    return this.#library.address(memory);
  }
}
