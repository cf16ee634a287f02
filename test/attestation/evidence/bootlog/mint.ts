import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';

export type BankName = HashName | 'sm3_256';

const IDS: Readonly<Record<BankName, readonly [id: number, bytes: number]>> = {
  sha1: [0x04, 20],
  sha256: [0x0b, 32],
  sha384: [0x0c, 48],
  sha512: [0x0d, 64],
  sm3_256: [0x12, 32],
};

export interface MintedEvent {
  /** As the log writes it: in a CCEL 1 to 4 for RTMR 0 to 3. */
  readonly register: number;
  readonly type: number;
  readonly data: Uint8Array;
  /** What the digests are over, where it is not the data. */
  readonly measured?: Uint8Array;
}

export function le(value: number | bigint, bytes: 1 | 2 | 4 | 8): Uint8Array {
  let rest = BigInt(value);
  return Uint8Array.from({ length: bytes }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
}

export function utf16(text: string): Uint8Array {
  return concat(...Array.from(text, (character) => le(character.charCodeAt(0), 2)));
}

export function digest(bank: HashName, bytes: Uint8Array): Uint8Array {
  return nodeCrypto.hash(bank, bytes);
}

/** SM3 is not computed: nothing here reads its digests. */
function bankDigest(bank: BankName, { type, data, measured }: MintedEvent): Uint8Array {
  const [, bytes] = IDS[bank];
  if (bank === 'sm3_256' || type === EV.NO_ACTION) return new Uint8Array(bytes);
  return digest(bank, measured ?? data);
}

export function sized(data: Uint8Array): Uint8Array {
  return concat(le(data.length, 4), data);
}

export function sha1Event(event: MintedEvent): Uint8Array {
  return concat(le(event.register, 4), le(event.type, 4), bankDigest('sha1', event), sized(event.data));
}

export function event2(event: MintedEvent, banks: readonly BankName[]): Uint8Array {
  const digests = banks.map((bank) => concat(le(IDS[bank][0], 2), bankDigest(bank, event)));
  return concat(le(event.register, 4), le(event.type, 4), le(banks.length, 4), ...digests, sized(event.data));
}

/** TCG_EfiSpecIDEvent of version 2.0, with the banks given as id and size. */
export function specId(algorithms: readonly (readonly [id: number, bytes: number])[]): Uint8Array {
  return concat(
    utf8('Spec ID Event03\0'),
    le(0, 4),
    Uint8Array.of(0, 2, 0, 2),
    le(algorithms.length, 4),
    ...algorithms.map(([id, bytes]) => concat(le(id, 2), le(bytes, 2))),
    Uint8Array.of(0),
  );
}

export function header(banks: readonly BankName[], register = 0): Uint8Array {
  return sha1Event({ register, type: EV.NO_ACTION, data: specId(banks.map((bank) => IDS[bank])) });
}

/** A log of a TPM with the given banks. */
export function tcg2Log(
  events: readonly MintedEvent[],
  banks: readonly BankName[] = ['sha1', 'sha256'],
): Uint8Array {
  return concat(header(banks), ...events.map((event) => event2(event, banks)));
}

export function sha1Log(events: readonly MintedEvent[]): Uint8Array {
  return concat(...events.map(sha1Event));
}

/** A CCEL area: the log, then 0xFF. */
export function ccelLog(events: readonly MintedEvent[], filling = 64): Uint8Array {
  const log = concat(header(['sha384'], 1), ...events.map((event) => event2(event, ['sha384'])));
  return concat(log, new Uint8Array(filling).fill(0xff));
}

export function startupLocality(locality: number): MintedEvent {
  return { register: 0, type: EV.NO_ACTION, data: concat(utf8('StartupLocality\0'), le(locality, 1)) };
}

/** UEFI_VARIABLE_DATA of the global variable GUID. */
export function variable(name: string, value: Uint8Array): Uint8Array {
  const guid = Uint8Array.from('61dfe48bca93d211aa0d00e098032b8c'.match(/../g) ?? [], (pair) =>
    parseInt(pair, 16),
  );
  return concat(guid, le(name.length, 8), le(value.length, 8), utf16(name), value);
}

export function tagged(tag: number, data: Uint8Array): Uint8Array {
  return concat(le(tag, 4), sized(data));
}

export function separator(register: number): MintedEvent {
  return { register, type: EV.SEPARATOR, data: new Uint8Array(4) };
}

/** A boot as firmware, boot loader and kernel log it, with data that each digests in its own way. */
export const BOOT: readonly MintedEvent[] = [
  { register: 0, type: EV.S_CRTM_VERSION, data: utf16('Firmware 1\0') },
  { register: 7, type: EV.EFI_VARIABLE_DRIVER_CONFIG, data: variable('SecureBoot', Uint8Array.of(1)) },
  separator(7),
  {
    register: 1,
    type: EV.EFI_VARIABLE_BOOT,
    data: variable('BootOrder', Uint8Array.of(1, 0)),
    measured: Uint8Array.of(1, 0),
  },
  { register: 4, type: EV.EFI_ACTION, data: utf8('Calling EFI Application from Boot Option') },
  ...[0, 1, 2, 3, 4, 5, 6].map(separator),
  {
    register: 4,
    type: EV.EFI_BOOT_SERVICES_APPLICATION,
    data: concat(new Uint8Array(24), le(4, 8), Uint8Array.of(0x7f, 0xff, 4, 0)),
    measured: utf8('the image'),
  },
  { register: 8, type: EV.IPL, data: utf8('grub_cmd: linux /kernel\0'), measured: utf8('linux /kernel') },
  {
    register: 8,
    type: EV.IPL,
    data: utf8('kernel_cmdline: /kernel quiet\0'),
    measured: utf8('/kernel quiet'),
  },
  { register: 9, type: EV.IPL, data: utf8('/kernel\0'), measured: utf8('the kernel') },
  {
    register: 9,
    type: EV.EVENT_TAG,
    data: tagged(0x8f3b_22ec, utf8('Linux initrd\0')),
    measured: utf8('initrd'),
  },
];

/** The same events as a TD logs them. */
export const TD_BOOT: readonly MintedEvent[] = [
  ...BOOT.map((event) => ({ ...event, register: [0, 1, 7].includes(event.register) ? 1 : 2 })),
  { register: 4, type: EV.EVENT_TAG, data: tagged(0x4141_454c, utf8('example.com load model 7')) },
];

export interface MintedRuntimeEvent {
  readonly name: string;
  readonly payload: Uint8Array;
}

const RUNTIME_TYPE = 0x0800_0001;

/** The digest of a dstack runtime event of version 1, made from its parts. */
export function runtimeDigest({ name, payload }: MintedRuntimeEvent): Uint8Array {
  return digest('sha384', concat(le(RUNTIME_TYPE, 4), utf8(':'), utf8(name), utf8(':'), payload));
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export function runtimeRecord(event: MintedRuntimeEvent): Record<string, unknown> {
  return {
    imr: 3,
    event_type: RUNTIME_TYPE,
    digest: hex(runtimeDigest(event)),
    event: event.name,
    event_payload: hex(event.payload),
  };
}

export const FIRMWARE_RECORD = {
  imr: 0,
  event_type: EV.SEPARATOR,
  digest: hex(digest('sha384', new Uint8Array(4))),
  event: '',
  event_payload: '00000000',
};

export function dstackLog(records: readonly unknown[]): Uint8Array {
  return utf8(JSON.stringify(records));
}

/** Registers by the definition of extend, without the code under test: H(old || H(measured)) for each event. */
export function expectedRegisters(
  events: readonly MintedEvent[],
  bank: HashName,
  start: (register: number) => Uint8Array,
): ReadonlyMap<number, Uint8Array> {
  const values = new Map<number, Uint8Array>();
  for (const { register, type, data, measured } of events) {
    if (type === EV.NO_ACTION) continue;
    const before = values.get(register) ?? start(register);
    values.set(register, digest(bank, concat(before, digest(bank, measured ?? data))));
  }
  return values;
}
