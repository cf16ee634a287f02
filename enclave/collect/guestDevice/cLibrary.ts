import { constants } from 'node:os';
import type koffi from 'koffi';
import { CollectError } from '../errors.ts';
import { widenNativeStack } from '../nativeStack.ts';

type Koffi = typeof koffi;
type NativeNumber = number | bigint;
export type Argument = NativeNumber | Uint8Array;
interface Native {
  readonly async: (...parameters: [...Argument[], (error: unknown, value: NativeNumber) => void]) => void;
}

/**
 * Functions of the C library: result, then parameters. `ioctl` is variadic in C, but on the 64-bit systems that have
 * these devices (x86-64, AArch64) Linux passes a pointer to it as to any other function.
 */
const FUNCTIONS = {
  ioctl: ['int', ['int', 'unsigned long', 'void *']],
  socket: ['int', ['int', 'int', 'int']],
  setsockopt: ['int', ['int', 'int', 'int', 'void *', 'uint32_t']],
  connect: ['int', ['int', 'void *', 'uint32_t']],
  send: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  recv: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  close: ['int', ['int']],
} as const;

export type CFunction = keyof typeof FUNCTIONS;

/** Of two names for one number the first, such as EAGAIN before EWOULDBLOCK. */
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** A call that returned -1. */
export class SystemCallError extends Error {
  /** Such as `EIO`; the number where it has no name here. */
  readonly code: string;

  constructor(name: CFunction, errno: number) {
    const code = ERRNO_NAMES.get(errno) ?? String(errno);
    super(`${name} failed with ${code}`);
    this.name = 'SystemCallError';
    this.code = code;
  }
}

/** Zeroed memory that stays where it is: V8 may keep smaller arrays in its own heap, and moves them there. */
export function nativeMemory(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes));
}

/** Calls of the C library on threads of the pool of libuv, so that a call that blocks does not hold up the event loop. */
export class CLibrary {
  readonly #koffi: Koffi;
  readonly #functions: ReadonlyMap<CFunction, Native>;
  /** Memory of calls that are out: the kernel may write into it until they return. */
  readonly #lent = new Set<readonly unknown[]>();

  private constructor(native: Koffi, path: string | undefined) {
    widenNativeStack(native);
    const loaded = native.load(path ?? null);
    this.#koffi = native;
    this.#functions = new Map(
      Object.entries(FUNCTIONS).map(([name, [result, parameters]]) => [
        name as CFunction,
        loaded.func(name, result, [...parameters]) as unknown as Native,
      ]),
    );
  }

  /** Loads the library at a path; without one, the C library that this process runs on. */
  static async load(path?: string): Promise<CLibrary> {
    try {
      const { default: native } = await import('koffi');
      return new CLibrary(native, path);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new CollectError('LIBRARY_MISSING', `the C library cannot be called: ${reason}`, {
        cause: error,
      });
    }
  }

  /**
   * What the function returns; throws `SystemCallError` where that is -1. Memory has to be `nativeMemory`; `behind` is
   * what lies behind addresses in it. Neither may be looked at before the promise settles.
   */
  call(
    name: CFunction,
    parameters: readonly Argument[],
    behind: readonly Uint8Array[] = [],
  ): Promise<number> {
    const native = this.#functions.get(name);
    if (!native) return Promise.reject(new TypeError(`no function ${name}`));
    const lent = [parameters, behind];
    this.#lent.add(lent);
    return new Promise((resolve, reject) => {
      native.async(...parameters, (error, value) => {
        // For this callback koffi sets errno to what the call left on its thread.
        const errno = this.#koffi.errno();
        this.#lent.delete(lent);
        if (error) reject(error instanceof Error ? error : new Error(`${name} could not be called`));
        else if (Number(value) === -1) reject(new SystemCallError(name, errno));
        else resolve(Number(value));
      });
    });
  }

  /** Where memory lies, for structures that hold addresses. */
  address(memory: Uint8Array): bigint {
    return this.#koffi.address(memory);
  }
}
