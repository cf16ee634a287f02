import { constants } from 'node:os';
import koffi from 'koffi';
import { GuestError } from './errors.ts';

/** Functions of the C library: result, then parameters. Their calls are short, so they hold up nothing. */
const FUNCTIONS = {
  socket: ['int', ['int', 'int', 'int']],
  setsockopt: ['int', ['int', 'int', 'int', 'void *', 'uint32_t']],
  bind: ['int', ['int', 'void *', 'uint32_t']],
  ioctl: ['int', ['int', 'unsigned long', 'void *']],
  close: ['int', ['int']],
  mount: ['int', ['str', 'str', 'str', 'unsigned long', 'str']],
  sethostname: ['int', ['str', 'size_t']],
  prctl: ['int', ['int', 'unsigned long', 'unsigned long', 'unsigned long', 'unsigned long']],
  reboot: ['int', ['int']],
} as const;

type Name = keyof typeof FUNCTIONS;
type Argument = number | bigint | string | Uint8Array;

const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** What the first process asks the kernel for, as Node has no name for it. */
export class SystemCalls {
  readonly #functions: ReadonlyMap<Name, (...parameters: Argument[]) => number>;

  constructor() {
    const library = koffi.load(null);
    this.#functions = new Map(
      Object.entries(FUNCTIONS).map(([name, [result, parameters]]) => [
        name as Name,
        library.func(name, result, [...parameters]) as (...given: Argument[]) => number,
      ]),
    );
  }

  /** What the function returns; throws `GUEST_CALL_FAILED` where that is -1. */
  call(name: Name, ...parameters: Argument[]): number {
    const value = this.#functions.get(name)?.(...parameters) ?? -1;
    if (value !== -1) return value;
    const errno = koffi.errno();
    const reason = ERRNO_NAMES.get(errno) ?? String(errno);
    throw new GuestError('GUEST_CALL_FAILED', `${name} failed with ${reason}`);
  }

  /** Where memory lies, for structures that hold addresses. It must not be collected before the call. */
  address(memory: Uint8Array): bigint {
    return koffi.address(memory);
  }
}
