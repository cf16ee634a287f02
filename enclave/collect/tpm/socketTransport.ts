import { connect, type Socket } from 'node:net';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { CollectError } from '../errors.ts';
import type { Deadline } from './deadline.ts';
import { isWhole } from './responseSize.ts';
import { deviceError } from '../systemError.ts';
import type { TpmTransport } from './transport.ts';

export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

function connected(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
}

interface Waiting {
  readonly resolve: (response: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

/** The data port of swtpm, which serves one connection at a time: a second one waits. */
export class SocketTransport implements TpmTransport {
  readonly #address: SocketAddress;
  readonly #name: string;
  #socket: Socket | undefined;
  #received: Uint8Array = new Uint8Array();
  #waiting: Waiting | undefined;
  #failure: unknown;

  constructor(address: SocketAddress) {
    this.#address = address;
    this.#name = `${address.host}:${address.port}`;
  }

  async open(deadline: Deadline): Promise<void> {
    const { host, port } = this.#address;
    const socket = connect({ host, port, noDelay: true });
    this.#socket = socket;
    try {
      await deadline.wait(connected(socket), `connecting to ${this.#name}`);
    } catch (error) {
      socket.destroy();
      throw deviceError(error, `connecting to ${this.#name}`);
    }
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(deviceError(error, `a command to ${this.#name}`)));
    socket.on('close', () => this.#fail(lost(this.#name)));
  }

  async exchange(command: Uint8Array, deadline: Deadline): Promise<Uint8Array> {
    if (this.#failure !== undefined) throw asError(this.#failure);
    const socket = this.#socket;
    if (!socket) throw lost(this.#name);
    if (this.#waiting) throw new CollectError('DEVICE_BUSY', `${this.#name} works on another command`);
    const response = new Promise<Uint8Array>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    socket.write(command);
    try {
      return await deadline.wait(response, `a command to ${this.#name}`);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  close(): Promise<void> {
    this.#failure ??= new CollectError('STOPPED', `the connection to ${this.#name} is closed`);
    this.#socket?.destroy();
    return Promise.resolve();
  }

  #take(chunk: Uint8Array): void {
    try {
      this.#received = concat(this.#received, chunk);
      if (!this.#waiting) {
        throw new CollectError('EVIDENCE_MALFORMED', `${this.#name} sent bytes that nobody asked for`);
      }
      if (!isWhole(this.#received)) return;
    } catch (error) {
      this.#fail(error);
      return;
    }
    const { resolve } = this.#waiting;
    const response = this.#received;
    this.#waiting = undefined;
    this.#received = new Uint8Array();
    resolve(response);
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#waiting?.reject(error);
    this.#waiting = undefined;
    this.#socket?.destroy();
  }
}

function lost(name: string): CollectError {
  return new CollectError('DEVICE_LOST', `${name} closed the connection`);
}

function asError(failure: unknown): Error {
  return failure instanceof Error ? failure : new Error(String(failure));
}
