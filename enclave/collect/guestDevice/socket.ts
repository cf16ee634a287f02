import type { CFunction, CLibrary } from '../../native/cLibrary.ts';
import { nativeCopy, nativeMemory } from '../../native/memory.ts';
import {
  encodeSocketName,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  SOL_SOCKET,
  type StreamAddress,
} from '../../native/sockets.ts';
import { CollectError } from '../errors.ts';
import { systemCode } from '../systemError.ts';
import type { Deadline } from '../deviceGate.ts';

/** Of sys/socket.h on Linux, x86-64 and AArch64. */
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;

export function describeAddress(address: StreamAddress): string {
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
    address: StreamAddress,
    deadline: Deadline,
    use: (socket: HostSocket) => Promise<T>,
  ): Promise<T> {
    const what = describeAddress(address);
    const { family, name } = encodeSocketName(address);
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
    let rest = nativeCopy(bytes);
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
