import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nativeMemory } from '../../native/memory.ts';
import { AF_INET, SOCK_CLOEXEC, SOCK_DGRAM } from '../../native/sockets.ts';
import { addressBytes } from './dhcp/message.ts';
import type { SystemCalls } from './systemCalls.ts';

/** linux/sockios.h, linux/if.h, linux/route.h. */
const REQUEST = {
  addRoute: 0x890b,
  setFlags: 0x8914,
  setAddress: 0x8916,
  setMask: 0x891c,
} as const;
const FLAG_UP = 0x1;
const FLAG_RUNNING = 0x40;
const ROUTE_UP = 0x1;
const ROUTE_GATEWAY = 0x2;
const ROUTE_HOST = 0x4;
/** Bytes of a name with its NUL, of `struct ifreq`, and of `struct rtentry`. */
const NAME_BYTES = 16;
const IFREQ_BYTES = 40;
const RTENTRY_BYTES = 120;

export interface Addresses {
  readonly address: string;
  readonly mask: string;
  readonly router: string | undefined;
}

/** One network interface of this machine, such as `eth0`. */
export class NetworkInterface {
  readonly name: string;
  readonly #calls: SystemCalls;

  constructor(name: string, calls: SystemCalls) {
    if (!/^[\w.-]{1,15}$/.test(name)) throw new TypeError(`${name} is no name of an interface`);
    this.name = name;
    this.#calls = calls;
  }

  up(): void {
    const request = this.#request();
    new DataView(request.buffer).setUint16(NAME_BYTES, FLAG_UP | FLAG_RUNNING, true);
    this.#ioctl(REQUEST.setFlags, request);
  }

  /** Takes the address; the former one and its routes go. A gateway beyond the mask gets a route of its own first. */
  configure({ address, mask, router }: Addresses): void {
    this.#ioctl(REQUEST.setAddress, this.#request(address));
    this.#ioctl(REQUEST.setMask, this.#request(mask));
    if (router === undefined) return;
    if (!isInside(router, address, mask)) {
      this.#addRoute({ to: router, mask: '255.255.255.255', flags: ROUTE_UP | ROUTE_HOST });
    }
    this.#addRoute({ to: '0.0.0.0', mask: '0.0.0.0', gateway: router, flags: ROUTE_UP | ROUTE_GATEWAY });
  }

  /** Without an address nothing comes in or goes out, until there is another. */
  unconfigure(): void {
    this.#ioctl(REQUEST.setAddress, this.#request('0.0.0.0'));
  }

  #request(address?: string): Uint8Array {
    const request = nativeMemory(IFREQ_BYTES);
    request.set(utf8(this.name));
    if (address !== undefined) request.set(socketAddress(address), NAME_BYTES);
    return request;
  }

  #addRoute({ to, mask, gateway, flags }: Route): void {
    const name = nativeMemory(NAME_BYTES);
    name.set(utf8(this.name));
    const entry = nativeMemory(RTENTRY_BYTES);
    entry.set(socketAddress(to), 8);
    if (gateway !== undefined) entry.set(socketAddress(gateway), 24);
    entry.set(socketAddress(mask), 40);
    const view = new DataView(entry.buffer);
    view.setUint16(56, flags, true);
    view.setBigUint64(88, this.#calls.address(name), true);
    this.#ioctl(REQUEST.addRoute, entry);
    // Keeps the name where it is until the kernel has read it.
    name.fill(0);
  }

  #ioctl(request: number, argument: Uint8Array): void {
    const socket = this.#calls.call('socket', AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    try {
      this.#calls.call('ioctl', socket, request, argument);
    } finally {
      this.#calls.call('close', socket);
    }
  }
}

interface Route {
  readonly to: string;
  readonly mask: string;
  readonly gateway?: string;
  readonly flags: number;
}

/** `struct sockaddr_in`, 16 bytes. */
export function socketAddress(address: string, port = 0): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, AF_INET, true);
  view.setUint16(2, port);
  bytes.set(addressBytes(address), 4);
  return bytes;
}

export function isInside(address: string, network: string, mask: string): boolean {
  const [a, b, bits] = [addressBytes(address), addressBytes(network), addressBytes(mask)];
  return bits.every((byte, index) => ((a[index] ?? 0) & byte) === ((b[index] ?? 0) & byte));
}
