import { constants } from 'node:os';
import koffi from 'koffi';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { DeployError } from '../errors.ts';

/** Linux on x86-64 and AArch64. */
const AF_UNIX = 1;
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;
const ANY_CONTEXT = 0xffff_ffff;
const BACKLOG = 64;

/** A port that the parent instance reaches by vsock, or a path. */
export type ListenAddress = { readonly port: number } | { readonly path: string };

const FUNCTIONS = {
  socket: ['int', ['int', 'int', 'int']],
  bind: ['int', ['int', 'void *', 'uint32_t']],
  listen: ['int', ['int', 'int']],
  accept: ['int', ['int', 'void *', 'void *']],
  recv: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  send: ['intptr_t', ['int', 'void *', 'size_t', 'int']],
  shutdown: ['int', ['int', 'int']],
  close: ['int', ['int']],
} as const;

type Name = keyof typeof FUNCTIONS;
type Argument = number | bigint | Uint8Array | null;
interface Native {
  (...parameters: Argument[]): number | bigint;
  readonly async: (...parameters: [...Argument[], (error: unknown, value: number | bigint) => void]) => void;
}

/** Calls that wait at a time: koffi takes no more, and each has a thread of the pool of libuv (UV_THREADPOOL_SIZE). */
export const WAITING_CALLS = 256;

/** Sockets that Node has no name for. A call that waits does so on a thread of its own. */
export class StreamSockets {
  readonly #functions: ReadonlyMap<Name, Native>;

  constructor() {
    if ((koffi.config().max_async_calls ?? 0) < WAITING_CALLS) {
      try {
        koffi.config({ max_async_calls: WAITING_CALLS });
      } catch {
        // Another part of the process has loaded a library before: its number stays.
      }
    }
    const library = koffi.load(null);
    this.#functions = new Map(
      Object.entries(FUNCTIONS).map(([name, [result, parameters]]) => [
        name as Name,
        library.func(name, result, [...parameters]) as unknown as Native,
      ]),
    );
  }

  listen(address: ListenAddress): number {
    const [family, name] =
      'path' in address ? [AF_UNIX, unixName(address.path)] : [AF_VSOCK, vsockName(address.port)];
    const descriptor = this.#now('socket', family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    this.#now('bind', descriptor, name, name.length);
    this.#now('listen', descriptor, BACKLOG);
    return descriptor;
  }

  accept(listener: number): Promise<number> {
    return this.#waiting('accept', listener, null, null);
  }

  /** How many bytes came; 0 is the end. */
  receive(descriptor: number, memory: Uint8Array): Promise<number> {
    return this.#waiting('recv', descriptor, memory, memory.length, 0);
  }

  async send(descriptor: number, bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      rest = rest.subarray(await this.#waiting('send', descriptor, rest, rest.length, MSG_NOSIGNAL));
    }
  }

  /** Ends both directions: calls that wait return. */
  end(descriptor: number): void {
    this.#functions.get('shutdown')?.(descriptor, SHUT_RDWR);
  }

  /** No call may be out. */
  close(descriptor: number): void {
    this.#functions.get('close')?.(descriptor);
  }

  #now(name: Name, ...parameters: Argument[]): number {
    const value = Number(this.#functions.get(name)?.(...parameters) ?? -1);
    if (value === -1) throw failed(name, koffi.errno());
    return value;
  }

  async #waiting(name: Name, ...parameters: Argument[]): Promise<number> {
    for (;;) {
      const { value, errno } = await this.#wait(name, parameters);
      if (value !== -1) return value;
      if (errno !== constants.errno.EINTR) throw failed(name, errno);
    }
  }

  #wait(name: Name, parameters: Argument[]): Promise<{ readonly value: number; readonly errno: number }> {
    return new Promise((resolve, reject) => {
      this.#functions.get(name)?.async(...parameters, (error, value) => {
        // For this callback koffi sets errno to what the call left on its thread.
        if (error) reject(error instanceof Error ? error : failed(name, 0));
        else resolve({ value: Number(value), errno: koffi.errno() });
      });
    });
  }
}

function failed(name: Name, errno: number): DeployError {
  const known = Object.entries(constants.errno).find(([, number]) => number === errno);
  return new DeployError('DEPLOY_SOCKET_FAILED', `${name} failed with ${known?.[0] ?? errno}`);
}

/** `struct sockaddr_vm`: u16 family, u16 reserved, u32 port, u32 context id, 4 bytes of zero. */
function vsockName(port: number): Uint8Array {
  const name = new Uint8Array(16);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_VSOCK, true);
  view.setUint32(4, port, true);
  view.setUint32(8, ANY_CONTEXT, true);
  return name;
}

/** `struct sockaddr_un`: u16 family, path of at most 107 bytes, NUL. */
function unixName(path: string): Uint8Array {
  const bytes = utf8(path);
  if (bytes.length > 107) throw new DeployError('DEPLOY_SOCKET_FAILED', `${path} is too long for a socket`);
  const name = new Uint8Array(2 + bytes.length + 1);
  new DataView(name.buffer).setUint16(0, AF_UNIX, true);
  name.set(bytes, 2);
  return name;
}
