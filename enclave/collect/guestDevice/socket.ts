import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { CollectError } from '../errors.ts';
import { systemCode } from '../systemError.ts';
import type { Deadline } from '../deviceGate.ts';
import { nativeMemory, type CFunction, type CLibrary } from './cLibrary.ts';

/** A service of the host by context id and port, or one behind a socket in the file system. */
export type SocketAddress = { readonly cid: number; readonly port: number } | { readonly path: string };

/** Linux on x86-64 and AArch64. */
const AF_UNIX = 1;
const AF_VSOCK = 40;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` with its closing NUL. */
const MAX_PATH_BYTES = 108;

export function describeAddress(address: SocketAddress): string {
  return 'path' in address ? address.path : `vsock ${address.cid}:${address.port}`;
}

/**
 * A stream to a service of the host. Node has no vsock sockets, so the calls are those of the C library. Each is given
 * what is left until the deadline as the socket's own time limit: the kernel ends it, and no thread stays behind.
 */
export class HostSocket {
  readonly #library: CLibrary;
  readonly #descriptor: number;
  readonly #deadline: Deadline;
  readonly #what: string;

  private constructor(library: CLibrary, descriptor: number, deadline: Deadline, what: string) {
    this.#library = library;
    this.#descriptor = descriptor;
    this.#deadline = deadline;
    this.#what = what;
  }

  /** Connects, uses the stream and closes it, whatever came of it. */
  static async use<T>(
    library: CLibrary,
    address: SocketAddress,
    deadline: Deadline,
    use: (socket: HostSocket) => Promise<T>,
  ): Promise<T> {
    const what = describeAddress(address);
    const family = 'path' in address ? AF_UNIX : AF_VSOCK;
    const name = 'path' in address ? encodeUnixName(address.path) : encodeVsockName(address);
    const descriptor = await reaching(what, library.call('socket', [family, SOCK_STREAM | SOCK_CLOEXEC, 0]));
    const socket = new HostSocket(library, descriptor, deadline, what);
    try {
      // The time limit of sending is that of connecting, too; vsock has one of two seconds of its own for that.
      await socket.#call(SO_SNDTIMEO, 'connect', name, [name.length]);
      return await use(socket);
    } finally {
      await library.call('close', [descriptor]).catch(() => undefined);
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    let rest = toNative(bytes);
    while (rest.length > 0) {
      const sent = await this.#call(SO_SNDTIMEO, 'send', rest, [rest.length, MSG_NOSIGNAL]);
      rest = rest.subarray(sent);
    }
  }

  /** Exactly `length` bytes; a stream that ends before has its evidence cut off. */
  async read(length: number): Promise<Uint8Array> {
    const bytes = nativeMemory(length);
    // One buffer however few bytes come at a time: with one for each, a host could have the memory filled with them.
    let rest = bytes;
    while (rest.length > 0) {
      const received = await this.#call(SO_RCVTIMEO, 'recv', rest, [rest.length, 0]);
      if (received === 0) {
        const message = `${this.#what} closed the connection ${rest.length} bytes before the end of an answer`;
        throw new CollectError('EVIDENCE_MALFORMED', message);
      }
      rest = rest.subarray(received);
    }
    return bytes;
  }

  /** `limit` is the socket option that holds the time limit of this function. */
  async #call(limit: number, name: CFunction, memory: Uint8Array, rest: readonly number[]): Promise<number> {
    for (;;) {
      await this.#setLimit(limit);
      try {
        return await reaching(this.#what, this.#library.call(name, [this.#descriptor, memory, ...rest]));
      } catch (error) {
        if (systemCode(error) !== 'EINTR') throw error;
      }
    }
  }

  /**
   * `struct timeval`: seconds and microseconds, 8 bytes each; 0 and 0 would be no limit at all, and a million
   * microseconds are refused.
   */
  async #setLimit(option: number): Promise<void> {
    const left = this.#deadline.remainingMs();
    if (left <= 0 || this.#deadline.signal.aborted) throw timedOut(this.#what);
    const microseconds = Math.max(1, Math.floor(left * 1000));
    const limit = nativeMemory(16);
    const view = new DataView(limit.buffer);
    view.setBigInt64(0, BigInt(Math.floor(microseconds / 1e6)), true);
    view.setBigInt64(8, BigInt(microseconds % 1e6), true);
    const parameters = [this.#descriptor, SOL_SOCKET, option, limit, limit.length];
    await reaching(this.#what, this.#library.call('setsockopt', parameters));
  }
}

/** Errors of the calls as ones of collection; `EINTR` stays as it is. */
async function reaching<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined || code === 'EINTR') throw error;
    if (['EAGAIN', 'ETIMEDOUT', 'EINPROGRESS'].includes(code)) throw timedOut(what, error);
    throw new CollectError('SERVICE_UNREACHABLE', `${what} cannot be reached: ${code}`, { cause: error });
  }
}

function timedOut(what: string, cause?: unknown): CollectError {
  return new CollectError('DEVICE_TIMEOUT', `${what} did not answer in time`, { cause });
}

/** `struct sockaddr_vm`: u16 family, u16 reserved, u32 port, u32 context id, 4 bytes of zero. */
function encodeVsockName({ cid, port }: { readonly cid: number; readonly port: number }): Uint8Array {
  const name = nativeMemory(16);
  const view = new DataView(name.buffer);
  view.setUint16(0, AF_VSOCK, true);
  view.setUint32(4, port, true);
  view.setUint32(8, cid, true);
  return name;
}

/** `struct sockaddr_un`: u16 family, path with its NUL. */
function encodeUnixName(path: string): Uint8Array {
  const bytes = utf8(path);
  if (bytes.length >= MAX_PATH_BYTES) throw new RangeError(`${path} is too long for a socket`);
  const name = nativeMemory(2 + bytes.length + 1);
  new DataView(name.buffer).setUint16(0, AF_UNIX, true);
  name.set(bytes, 2);
  return name;
}

function toNative(bytes: Uint8Array): Uint8Array {
  const memory = nativeMemory(bytes.length);
  memory.set(bytes);
  return memory;
}
