import { concat } from '../../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { GuestError } from '../errors.ts';
import { parseOptions, readAddress, type DhcpOptions } from './options.ts';

/** Bytes: below it some servers drop a message (RFC 951, section 3). */
const MIN_REQUEST_BYTES = 300;
/** Bytes of a message with the options that every client takes (RFC 2131, section 2), and of one Ethernet frame. */
const MIN_REPLY_BYTES = 241;
export const MAX_REPLY_BYTES = 1472;
const COOKIE = 0x63825363;
const NAMES_BYTES = 64 + 128;
/** Answers come as broadcasts: an interface without an address takes no others. */
const BROADCAST_FLAG = 0x8000;

export const TYPE = { discover: 1, offer: 2, request: 3, ack: 5, nak: 6 } as const;

/** What a client asks (RFC 2131, table 5). */
export interface DhcpRequest {
  readonly type: typeof TYPE.discover | typeof TYPE.request;
  readonly transaction: number;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** The address in use, dotted; none before there is one. */
  readonly current?: string;
  /** The address that was offered, and by which server. */
  readonly offered?: string;
  readonly server?: string;
}

/** What a server says, with what this image takes of it: nothing but addresses, a route and times. */
export interface DhcpReply extends DhcpOptions {
  readonly address: string;
}

export function encodeRequest(request: DhcpRequest): Uint8Array {
  const { type, transaction, mac, current, offered, server } = request;
  const fixed = new Uint8Array(236);
  const view = new DataView(fixed.buffer);
  fixed.set([1, 1, mac.length]);
  view.setUint32(4, transaction);
  view.setUint16(10, current === undefined ? BROADCAST_FLAG : 0);
  if (current !== undefined) fixed.set(addressBytes(current), 12);
  fixed.set(mac, 28);
  const options = concat(
    Uint8Array.of(0x63, 0x82, 0x53, 0x63),
    Uint8Array.of(53, 1, type),
    offered === undefined ? new Uint8Array() : concat(Uint8Array.of(50, 4), addressBytes(offered)),
    server === undefined ? new Uint8Array() : concat(Uint8Array.of(54, 4), addressBytes(server)),
    // Mask, routers, name servers, time of the lease, T1, T2.
    Uint8Array.of(55, 6, 1, 3, 6, 51, 58, 59),
    Uint8Array.of(57, 2, MAX_REPLY_BYTES >> 8, MAX_REPLY_BYTES & 0xff),
    Uint8Array.of(255),
  );
  const message = concat(fixed, options);
  return concat(message, new Uint8Array(Math.max(0, MIN_REQUEST_BYTES - message.length)));
}

/**
 * Reads the answer to a request. All of it is the host's word: anyone on the network can send it, so at most it names
 * another address, route or name server. Undefined for an answer to somebody else; throws `GUEST_LEASE_REFUSED`.
 */
export function parseReply(
  bytes: Uint8Array,
  { transaction, mac }: Pick<DhcpRequest, 'transaction' | 'mac'>,
): DhcpReply | undefined {
  if (bytes.length < MIN_REPLY_BYTES || bytes.length > MAX_REPLY_BYTES) {
    throw new GuestError('GUEST_LEASE_REFUSED', `a DHCP message of ${bytes.length} bytes`);
  }
  try {
    return readReply(new ByteReader(bytes, 'DHCP message'), transaction, mac);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new GuestError('GUEST_LEASE_REFUSED', error.message, { cause: error });
  }
}

function readReply(reader: ByteReader, transaction: number, mac: Uint8Array): DhcpReply | undefined {
  const [operation, hardware, size] = reader.take(4);
  const isOurs = reader.u32be() === transaction;
  reader.take(8); // seconds, flags, address of the client
  const address = readAddress(reader.take(4));
  reader.take(8); // next server, relay
  const to = reader.take(16);
  reader.take(NAMES_BYTES);
  if (operation !== 2 || hardware !== 1 || size !== 6 || !isOurs) return undefined;
  if (mac.some((byte, index) => to[index] !== byte)) return undefined;
  if (reader.u32be() !== COOKIE) throw new Refusal('MALFORMED', 'no magic cookie');
  return { address, ...parseOptions(reader) };
}

export function addressBytes(address: string): Uint8Array {
  return Uint8Array.from(address.split('.'), Number);
}
