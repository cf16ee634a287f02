import koffi from 'koffi';
import { SystemCallError } from './systemCallError.ts';

type NativeNumber = number | bigint;
/** Memory is `nativeMemory`. */
export type Argument = NativeNumber | string | Uint8Array | null;
interface Native {
  (...parameters: Argument[]): NativeNumber;
  readonly async: (...parameters: [...Argument[], (error: unknown, value: NativeNumber) => void]) => void;
}

/**
 * Functions of the C library: result, then parameters. `ioctl` and `prctl` are variadic in C, but on the 64-bit systems
 * that have what they are for (x86-64, AArch64) Linux passes pointers and integers to them as to any other function.
 */
const FUNCTIONS = {
  ioctl: ['int', ['int', 'unsigned long', 'void *']],
  socket: ['int', ['int', 'int', 'int']],
  setsockopt: ['int', ['int', 'int', 'int', 'void *', 'uint32_t']],
  connect: ['int', ['int', 'void *', 'uint32_t']],
  bind: ['int', ['int', 'void *', 'uint32_t']],
  listen: ['int', ['int', 'int']],
  accept: ['int', ['int', 'void *', 'void *']],
  send: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  recv: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  shutdown: ['int', ['int', 'int']],
  close: ['int', ['int']],
  mount: ['int', ['str', 'str', 'str', 'unsigned long', 'str']],
  sethostname: ['int', ['str', 'size_t']],
  prctl: ['int', ['int', 'unsigned long', 'unsigned long', 'unsigned long', 'unsigned long']],
  reboot: ['int', ['int']],
} as const;

export type CFunction = keyof typeof FUNCTIONS;

/** What Node has no name for. */
export class CLibrary {
  readonly #functions: ReadonlyMap<CFunction, Native>;
  /** Memory of calls that are out: the kernel may write into it until they return. */
  readonly #lent = new Set<readonly unknown[]>();

  /** The library at a path; without one, the C library that this process runs on. */
  constructor(path?: string) {
    const loaded = koffi.load(path ?? null);
    this.#functions = new Map(
      Object.entries(FUNCTIONS).map(([name, [result, parameters]]) => [
        name as CFunction,
        loaded.func(name, result, [...parameters]) as unknown as Native,
      ]),
    );
  }

  /**
   * Calls on a thread of the pool of libuv, so that a call that blocks does not hold up the event loop. What the function
   * returns; throws `SystemCallError` where that is -1. `behind` is what lies behind addresses in memory. Neither may be
   * looked at before the promise settles.
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
        const errno = koffi.errno();
        this.#lent.delete(lent);
        if (error) reject(error instanceof Error ? error : new Error(`${name} could not be called`));
        else if (Number(value) === -1) reject(new SystemCallError(name, errno));
        else resolve(Number(value));
      });
    });
  }

  /** Calls at once, on the thread of the event loop: for what does not block. Throws as `call` does. */
  callNow(name: CFunction, parameters: readonly Argument[]): number {
    const native = this.#functions.get(name);
    if (!native) throw new TypeError(`no function ${name}`);
    const value = Number(native(...parameters));
    if (value === -1) throw new SystemCallError(name, koffi.errno());
    return value;
  }

  /** Where memory lies, for structures that hold addresses. It must not be collected before the call. */
  address(memory: Uint8Array): bigint {
    return koffi.address(memory);
  }
}
