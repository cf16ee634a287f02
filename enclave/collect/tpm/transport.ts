import type { Deadline } from './deadline.ts';
import { DeviceTransport } from './deviceTransport.ts';
import { SocketTransport } from './socketTransport.ts';

/** Where a TPM answers: a character device of the kernel, or a socket on which swtpm takes raw commands. */
export type TpmAddress =
  | { readonly kind: 'device'; readonly path: string }
  | { readonly kind: 'socket'; readonly host: string; readonly port: number };

/** The kernel's resource manager: each descriptor has objects and sessions of its own. */
export const RESOURCE_MANAGER: TpmAddress = { kind: 'device', path: '/dev/tpmrm0' };

/** One way to a TPM, for one collection. Commands go one at a time. */
export interface TpmTransport {
  /** Comes first, once. */
  open(deadline: Deadline): Promise<void>;
  /**
   * The response to one command, as many bytes as its header says and no more. After any error the transport is out
   * of step with the TPM and takes nothing else.
   */
  exchange(command: Uint8Array, deadline: Deadline): Promise<Uint8Array>;
  /** Ends once no call into the device is under way any more, which may be after its deadline. */
  close(): Promise<void>;
}

export function transportTo(address: TpmAddress): TpmTransport {
  return address.kind === 'device' ? new DeviceTransport(address.path) : new SocketTransport(address);
}

/** `/dev/tpmrm0` or `127.0.0.1:2321`, for messages. */
export function addressText(address: TpmAddress): string {
  return address.kind === 'device' ? address.path : `${address.host}:${address.port}`;
}
