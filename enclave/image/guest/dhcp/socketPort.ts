import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nativeCopy } from '../../../native/memory.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET } from '../../../native/sockets.ts';
import { socketAddress } from '../interface.ts';
import type { SystemCalls } from '../systemCalls.ts';
import type { DhcpPort } from './lease.ts';

/** Of sys/socket.h on Linux. */
const SOCK_NONBLOCK = 0o4000;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;
const CLIENT_PORT = 68;
const SERVER_PORT = 67;
/** Messages that wait to be read: more than a server sends at once. */
const MAX_WAITING = 32;

/** The client port on one interface, which sends and receives there also before it has an address. */
export function openDhcpPort(calls: SystemCalls, interfaceName: string): DhcpPort {
  const descriptor = calls.call('socket', AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const name = nativeCopy(utf8(`${interfaceName}\0`));
  calls.call('setsockopt', descriptor, SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
  const one = nativeCopy(Uint8Array.of(1, 0, 0, 0));
  calls.call('setsockopt', descriptor, SOL_SOCKET, SO_REUSEADDR, one, one.length);
  calls.call('setsockopt', descriptor, SOL_SOCKET, SO_BROADCAST, one, one.length);
  const any = nativeCopy(socketAddress('0.0.0.0', CLIENT_PORT));
  calls.call('bind', descriptor, any, any.length);
  const socket = createSocket('udp4');
  socket.bind({ fd: descriptor });
  return new SocketPort(socket);
}

class SocketPort implements DhcpPort {
  readonly #socket: Socket;
  readonly #waiting: Uint8Array[] = [];
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (message: Uint8Array, { port }: RemoteInfo) => {
      if (port !== SERVER_PORT || this.#waiting.length >= MAX_WAITING) return;
      this.#waiting.push(message);
      this.#wake?.();
    });
    // A network that is away for a while is asked again at the next attempt.
    socket.on('error', () => undefined);
  }

  /** What came before is no answer to this. */
  async send(message: Uint8Array, to: string): Promise<void> {
    this.#waiting.length = 0;
    await new Promise<void>((resolve) => {
      this.#socket.send(message, SERVER_PORT, to, () => resolve());
    });
  }

  async receive(timeoutMs: number): Promise<Uint8Array | undefined> {
    if (this.#waiting.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    return this.#waiting.shift();
  }
}
