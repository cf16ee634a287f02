import { concat, utf8 } from '../../../../../attestation/bytes/bytes.ts';
import { addressBytes } from '../../../../../enclave/image/guest/dhcp/message.ts';

// What a DHCP server answers.

export const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

export interface Answer {
  readonly transaction: number;
  readonly address?: string;
  readonly mac?: Uint8Array;
  /** Number and content of each option, after the type. */
  readonly options?: readonly (readonly [number, Uint8Array])[];
  readonly type?: number;
  readonly operation?: number;
  readonly cookie?: Uint8Array;
  /** Behind the end option. */
  readonly behind?: Uint8Array;
}

export function answer({
  transaction,
  address = '10.0.2.15',
  mac = MAC,
  options = [],
  ...rest
}: Answer): Uint8Array {
  const fixed = Buffer.alloc(236);
  fixed.set([rest.operation ?? 2, 1, 6]);
  fixed.writeUInt32BE(transaction, 4);
  fixed.set(addressBytes(address), 16);
  fixed.set(mac, 28);
  fixed.set(utf8('a server'), 44);
  const all = [...(rest.type === undefined ? [] : [[53, Uint8Array.of(rest.type)] as const]), ...options];
  return concat(
    fixed,
    rest.cookie ?? Uint8Array.of(0x63, 0x82, 0x53, 0x63),
    ...all.map(([code, content]) => concat(Uint8Array.of(code, content.length), content)),
    Uint8Array.of(255),
    rest.behind ?? new Uint8Array(8),
  );
}

export function seconds(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** What an ordinary server says beside the address. */
export const USUAL: NonNullable<Answer['options']> = [
  [1, addressBytes('255.255.255.0')],
  [3, concat(addressBytes('10.0.2.2'), addressBytes('10.0.2.9'))],
  [6, concat(...['10.0.2.3', '1.1.1.1', '8.8.8.8', '9.9.9.9'].map(addressBytes))],
  [51, seconds(86_400)],
  [54, addressBytes('10.0.2.2')],
  [58, seconds(43_200)],
  [59, seconds(75_600)],
  [15, utf8('example')],
];
