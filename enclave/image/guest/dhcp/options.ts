import type { ByteReader } from '../../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../../attestation/errors.ts';

/** Numbers of the options that are read (RFC 2132). */
const OPTION = {
  pad: 0,
  mask: 1,
  routers: 3,
  nameServers: 6,
  leaseSeconds: 51,
  overload: 52,
  type: 53,
  server: 54,
  renewSeconds: 58,
  rebindSeconds: 59,
  end: 255,
} as const;
const READ: ReadonlySet<number> = new Set(Object.values(OPTION));
/** As many as the resolver of the C library asks. */
const MAX_NAME_SERVERS = 3;

export interface DhcpOptions {
  readonly type: number;
  readonly mask: string | undefined;
  readonly router: string | undefined;
  readonly nameServers: readonly string[];
  /** The server that says so. */
  readonly server: string | undefined;
  /** Seconds. */
  readonly lease: number | undefined;
  readonly renew: number | undefined;
  readonly rebind: number | undefined;
}

/** Reads options to the end of the message: an end option, and zeros behind it. */
export function parseOptions(reader: ByteReader): DhcpOptions {
  const found = collect(reader);
  const type = found.get(OPTION.type);
  if (type?.length !== 1) throw new Refusal('MALFORMED', 'no type of a DHCP message');
  return {
    type: type[0] ?? 0,
    mask: readMask(found.get(OPTION.mask)),
    router: readAddresses(found.get(OPTION.routers))[0],
    nameServers: readAddresses(found.get(OPTION.nameServers)).slice(0, MAX_NAME_SERVERS),
    server: readAddresses(found.get(OPTION.server))[0],
    lease: readSeconds(found.get(OPTION.leaseSeconds)),
    renew: readSeconds(found.get(OPTION.renewSeconds)),
    rebind: readSeconds(found.get(OPTION.rebindSeconds)),
  };
}

/** Those that are read; a second one of a kind, or more of them in fields for names, is refused. */
function collect(reader: ByteReader): ReadonlyMap<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (;;) {
    const code = reader.u8();
    if (code === OPTION.pad) continue;
    if (code === OPTION.end) break;
    const value = reader.take(reader.u8());
    if (!READ.has(code)) continue;
    if (code === OPTION.overload) throw new Refusal('MALFORMED', 'options in the fields for names');
    if (found.has(code)) throw new Refusal('MALFORMED', `option ${code} comes twice`);
    found.set(code, value);
  }
  if (reader.take(reader.remaining).some((byte) => byte !== 0)) {
    throw new Refusal('MALFORMED', 'bytes follow the end of the options');
  }
  return found;
}

function readAddresses(value: Uint8Array | undefined): readonly string[] {
  if (!value) return [];
  if (value.length === 0 || value.length % 4 !== 0)
    throw new Refusal('MALFORMED', 'addresses of another size');
  return Array.from({ length: value.length / 4 }, (_, index) =>
    checkUnicast(readAddress(value.subarray(4 * index, 4 * index + 4))),
  );
}

/** Ones, then zeros; 32 ones are what Google Cloud gives. */
function readMask(value: Uint8Array | undefined): string | undefined {
  if (!value) return undefined;
  if (value.length !== 4) throw new Refusal('MALFORMED', 'a mask of another size');
  const bits = [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  if (!/^1{8,32}0*$/.test(bits)) throw new Refusal('MALFORMED', 'a mask that is none');
  return readAddress(value);
}

function readSeconds(value: Uint8Array | undefined): number | undefined {
  if (!value) return undefined;
  if (value.length !== 4) throw new Refusal('MALFORMED', 'a time of another size');
  return new DataView(value.buffer, value.byteOffset).getUint32(0);
}

export function readAddress(bytes: Uint8Array): string {
  return bytes.join('.');
}

/** An address of one machine that is not this one: neither 0/8 nor 127/8, nor from 224/4 on. */
export function checkUnicast(address: string): string {
  const first = Number(address.slice(0, address.indexOf('.')));
  if (first === 0 || first === 127 || first >= 224)
    throw new Refusal('MALFORMED', `${address} is no machine's`);
  return address;
}
