import { CLibrary, type Argument, type CFunction } from '../../native/cLibrary.ts';
import {
  encodeSocketName,
  MSG_NOSIGNAL,
  SOCK_CLOEXEC,
  SOCK_STREAM,
  type StreamAddress,
} from '../../native/sockets.ts';
import { SystemCallError } from '../../native/systemCallError.ts';
import { DeployError } from '../errors.ts';

/** Of sys/socket.h on Linux. */
const SHUT_RDWR = 2;
const BACKLOG = 64;

/** Calls that wait at a time: koffi takes no more, and each has a thread of the pool of libuv (UV_THREADPOOL_SIZE). */
export const WAITING_CALLS = 256;

/** Sockets that Node has no name for. A call that waits does so on a thread of its own. */
export class StreamSockets {
  readonly #library = new CLibrary();

  listen(address: StreamAddress): number {
    try {
      const { family, name } = encodeSocketName(address);
      const descriptor = this.#library.callNow('socket', [family, SOCK_STREAM | SOCK_CLOEXEC, 0]);
      this.#library.callNow('bind', [descriptor, name, name.length]);
      this.#library.callNow('listen', [descriptor, BACKLOG]);
      return descriptor;
    } catch (error) {
      throw failed(error);
    }
  }

  accept(listener: number): Promise<number> {
    return this.#waiting('accept', [listener, null, null]);
  }

  /** How many bytes came; 0 is the end. */
  receive(descriptor: number, memory: Uint8Array): Promise<number> {
    return this.#waiting('recv', [descriptor, memory, memory.length, 0]);
  }

  async send(descriptor: number, bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0;) {
      rest = rest.subarray(await this.#waiting('send', [descriptor, rest, rest.length, MSG_NOSIGNAL]));
    }
  }

  /** Ends both directions: calls that wait return. */
  end(descriptor: number): void {
    this.#orNot('shutdown', [descriptor, SHUT_RDWR]);
  }

  /** No call may be out. */
  close(descriptor: number): void {
    this.#orNot('close', [descriptor]);
  }

  async #waiting(name: CFunction, parameters: readonly Argument[]): Promise<number> {
    for (;;) {
      try {
        return await this.#library.call(name, parameters);
      } catch (error) {
        if (!(error instanceof SystemCallError) || error.code !== 'EINTR') throw failed(error);
      }
    }
  }

  /** For what is at its end already, a failure says nothing. */
  #orNot(name: CFunction, parameters: readonly Argument[]): void {
    try {
      this.#library.callNow(name, parameters);
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
    }
  }
}

function failed(cause: unknown): unknown {
  if (!(cause instanceof SystemCallError) && !(cause instanceof RangeError)) return cause;
  return new DeployError('DEPLOY_SOCKET_FAILED', cause.message, { cause });
}
