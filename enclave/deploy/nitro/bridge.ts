import { connect, type Socket } from 'node:net';
import type { StreamAddress } from '../../native/sockets.ts';
import { StreamSockets, WAITING_CALLS } from './streamSockets.ts';

/** Two calls of each wait, and one for the next; more are not taken until one ends. */
const MAX_CONNECTIONS = Math.floor(WAITING_CALLS / 2) - 8;
const PIECE_BYTES = 64 * 1024;

export interface BridgeOptions {
  readonly from: StreamAddress;
  /** TCP, of this machine. */
  readonly toPort: number;
  /** Connections at a time. */
  readonly limit?: number | undefined;
}

/**
 * Hands connections from a vsock port to a TCP port of this machine, byte for byte. An enclave has no other way in. The
 * parent instance, which is not trusted, carries them: TLS and what is above it end in the service.
 */
export class Bridge {
  readonly #sockets = new StreamSockets();
  readonly #listener: number;
  readonly #options: BridgeOptions;
  readonly #open = new Set<Promise<void>>();

  constructor(options: BridgeOptions) {
    this.#options = options;
    this.#listener = this.#sockets.listen(options.from);
  }

  /** Takes connections until `stop`. */
  async run(): Promise<void> {
    for (;;) {
      while (this.#open.size >= (this.#options.limit ?? MAX_CONNECTIONS)) await Promise.race(this.#open);
      const descriptor = await this.#sockets.accept(this.#listener).catch(() => -1);
      if (descriptor === -1) break;
      const carried = this.#carry(descriptor).finally(() => this.#open.delete(carried));
      this.#open.add(carried);
    }
    this.#sockets.close(this.#listener);
  }

  /** Takes no more. The kernel wakes a listener in the file system at once, one of vsock at its next connection. */
  stop(): void {
    this.#sockets.end(this.#listener);
  }

  /** Until both sides are at their end; only then the number may be given to another connection. */
  async #carry(descriptor: number): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: this.#options.toPort, noDelay: true });
    // Whoever reads or writes is told as well.
    socket.on('error', () => undefined);
    const inward = this.#carryIn(descriptor, socket).catch(() => socket.destroy());
    const outward = this.#carryOut(socket, descriptor).catch(() => socket.destroy());
    await outward;
    this.#sockets.end(descriptor);
    await inward;
    this.#sockets.close(descriptor);
  }

  async #carryIn(descriptor: number, socket: Socket): Promise<void> {
    const memory = new Uint8Array(PIECE_BYTES);
    for (;;) {
      const bytes = await this.#sockets.receive(descriptor, memory);
      if (bytes === 0) break;
      await write(socket, memory.subarray(0, bytes));
    }
    socket.end();
  }

  async #carryOut(socket: Socket, descriptor: number): Promise<void> {
    for await (const piece of socket as AsyncIterable<Uint8Array>)
      await this.#sockets.send(descriptor, Uint8Array.from(piece));
  }
}

/** Until the bytes are written: the memory is used again then. */
function write(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
