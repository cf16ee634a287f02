import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nativeMemory } from './memory.ts';

/** A service by context id and port, or one behind a socket in the file system. */
export type StreamAddress = { readonly cid: number; readonly port: number } | { readonly path: string };

/** Of sys/socket.h on Linux, x86-64 and AArch64. */
const AF_UNIX = 1;
export const AF_INET = 2;
const AF_VSOCK = 40;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;
export const MSG_NOSIGNAL = 0x4000;
/** `sun_path` with its closing NUL. */
const MAX_PATH_BYTES = 108;

/** How the C library takes an address: its family, and `struct sockaddr_vm` or `struct sockaddr_un`. */
export interface SocketName {
  readonly family: number;
  readonly name: Uint8Array;
}

/** Throws `RangeError` for a path that is too long. */
export function encodeSocketName(address: StreamAddress): SocketName {
  return 'path' in address
    ? { family: AF_UNIX, name: encodeUnixName(address.path) }
    : { family: AF_VSOCK, name: encodeVsockName(address.cid, address.port) };
}

/** `struct sockaddr_vm`: u16 family, u16 reserved, u32 port, u32 context id, 4 bytes of zero. */
function encodeVsockName(cid: number, port: number): Uint8Array {
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
