import { randomBytes } from 'node:crypto';
import { concat, fromHex, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import type { ChipName } from '../../attestation/evidence/nvidia/certificates.ts';
import {
  authorityExtensions,
  extension,
  issueCertificate,
  keyIdentifierExtensions,
  readAuthority,
  signerExtension,
  simulatedName,
} from '../../enclave/collect/simulated/certificate.ts';
import * as der from '../../enclave/collect/simulated/der.ts';
import { SIMULATED_ROOTS } from '../../enclave/collect/simulated/roots.ts';
import { generateP384, type KeyPair, signP384 } from '../../enclave/collect/simulated/signing.ts';

/** An instant at which everything minted here is in date. */
export const NOW = Date.parse('2026-06-01T12:00:00Z');
export const NONCE = new Uint8Array(32).fill(0x5a);
export const FIRMWARE_ID = new Uint8Array(48).fill(0x0f);

/** Words of certificates and first bytes of GPU_INFO. */
const CHIPS: Readonly<Record<ChipName, { readonly word: string; readonly code: string }>> = {
  GH100: { word: 'GH100', code: '8001' },
  GB100: { word: 'GB100', code: 'a001' },
  GB20X: { word: 'GB20X', code: 'b001' },
  LS10: { word: 'LS_10', code: '' },
};
const FLAG = { spt: 0, mpt: 1, ppcie: 2 } as const;
const NOT_BEFORE = new Date('2020-10-17T00:00:00Z');
const NOT_AFTER = new Date('9999-12-31T23:59:59Z');

export type Mode = keyof typeof FLAG;
/** Opaque fields by id; undefined leaves one out. */
export type Fields = ReadonlyMap<number, Uint8Array | undefined>;

export interface DeviceSpec {
  readonly chip?: ChipName;
  readonly mode?: Mode;
  /** 8 bytes in hex that the boot ROM certificate gives the device. */
  readonly pdi?: string;
  /** Merged over those of the chip. */
  readonly fields?: Fields;
  /** By RIM index, merged over values that are all distinct. */
  readonly measurements?: ReadonlyMap<number, Uint8Array>;
}

/** A device of our own with genuine formats below the published simulated provisioner. */
export interface MintedDevice {
  readonly kind: DeviceEvidence['kind'];
  readonly pdi: string;
  readonly certificates: readonly Uint8Array[];
  /** Signs a report; `changes` are merged over what it was minted with. */
  evidence(nonce?: Uint8Array, changes?: DeviceSpec): Promise<DeviceEvidence>;
}

export async function mintDevice(spec: DeviceSpec = {}): Promise<MintedDevice> {
  const { chip = 'GH100', pdi = toHex(randomBytes(8)) } = spec;
  const kind = chip === 'LS10' ? 'switch' : 'gpu';
  const [bootRom, firmware] = await Promise.all([generateP384(), generateP384()]);
  const certificates = issueChain(chip, pdi, bootRom, firmware);
  return {
    kind,
    pdi,
    certificates,
    async evidence(nonce = NONCE, changes = {}) {
      const merged = { ...spec, ...changes, chip };
      const fields = new Map([...(spec.fields ?? []), ...(changes.fields ?? [])]);
      const transcript = encodeTranscript(nonce, { ...merged, fields });
      const report = concat(transcript, await signP384(transcript, firmware.privateKey));
      return { kind, report, certificates };
    },
  };
}

export interface Machine {
  readonly gpus: readonly MintedDevice[];
  readonly switches: readonly MintedDevice[];
}

/** An HGX baseboard in protected PCIe: every GPU names every switch and the other way round. */
export async function mintMachine(spec: DeviceSpec = {}): Promise<Machine> {
  const gpuPdis = Array.from({ length: 8 }, () => toHex(randomBytes(8)));
  const switchPdis = Array.from({ length: 4 }, () => toHex(randomBytes(8)));
  const links = new Map([[22, linksField(switchPdis)]]);
  const [gpus, switches] = await Promise.all([
    Promise.all(gpuPdis.map((pdi) => mintDevice({ ...spec, mode: 'ppcie', pdi, fields: links }))),
    Promise.all(
      switchPdis.map((pdi) => {
        const fields = new Map([
          [22, fromHex(pdi)],
          [26, portsField(gpuPdis)],
        ]);
        return mintDevice({ chip: 'LS10', pdi, fields });
      }),
    ),
  ]);
  return { gpus, switches };
}

/** Field 22 of a GPU: 18 links, the last two of them not active, PDIs in reversed byte order. */
export function linksField(switchPdis: readonly string[]): Uint8Array {
  const field = new Uint8Array(144);
  for (let i = 0; i < 16 && switchPdis.length > 0; i++) {
    field.set(fromHex(switchPdis[i % switchPdis.length]!).toReversed(), 8 * i);
  }
  return field;
}

/** Field 26 of a switch: PDIs of up to eight GPUs, then the map of ports. */
export function portsField(gpuPdis: readonly string[]): Uint8Array {
  const field = new Uint8Array(128).fill(0xff, 64);
  for (const [i, pdi] of gpuPdis.entries()) field.set(fromHex(pdi), 8 * i);
  return field;
}

/** What a minted device measures at an index unless told otherwise. */
export function measurementOf(index: number): Uint8Array {
  return new Uint8Array(48).fill(index + 1);
}

function issueChain(chip: ChipName, pdi: string, bootRom: KeyPair, firmware: KeyPair): readonly Uint8Array[] {
  const provisioner = readAuthority(SIMULATED_ROOTS.deviceProvisioner);
  const { word } = CHIPS[chip];
  const name = simulatedName(`${word} A01 BROM ${pdi}`);
  const validity = { notBefore: NOT_BEFORE, notAfter: NOT_AFTER };
  const bootRomCertificate = issueCertificate(
    {
      ...validity,
      subject: name,
      serial: concat(Uint8Array.of(chip === 'LS10' ? 0x50 : 0x41), fromHex(pdi)),
      publicKey: bootRom.publicKey,
      extensions: [
        ...authorityExtensions(undefined, 'certificates'),
        ...keyIdentifierExtensions(bootRom.publicKey, provisioner.key),
      ],
    },
    provisioner,
  );
  const leaf = issueCertificate(
    {
      ...validity,
      subject: simulatedName(`${word} A01 FMC LF`),
      serial: concat(Uint8Array.of(0x53), randomBytes(19)),
      publicKey: firmware.publicKey,
      extensions: [
        signerExtension(),
        deviceInfo(`NVIDIA:${word}:0011223344556677`),
        firmwareIdExtension(chip, bootRom),
      ],
    },
    { name, key: bootRom.privateKey },
  );
  const { deviceIdentity, deviceRoot } = SIMULATED_ROOTS;
  const above = [deviceIdentity, deviceRoot].map((root) => readAuthority(root).certificate);
  return [leaf, bootRomCertificate, provisioner.certificate, ...above];
}

function deviceInfo(text: string): Uint8Array {
  const otherName = der.tagged(0, der.oid('1.3.6.1.4.1.412.274.1'), der.tagged(0, der.utf8String(text)));
  return extension('2.5.29.17', der.sequence(otherName));
}

/** CompositeDeviceID of Hopper and LS10; TcbInfo of Blackwell, where an all-zero digest follows. */
function firmwareIdExtension(chip: ChipName, { publicKey }: KeyPair): Uint8Array {
  const fwid = (digest: Uint8Array) =>
    der.sequence(der.oid('2.16.840.1.101.3.4.2.2'), der.octetString(digest));
  if (chip === 'GB100' || chip === 'GB20X') {
    const fwids = der.tagged(6, fwid(FIRMWARE_ID), fwid(new Uint8Array(48)));
    return extension('2.23.133.5.4.1.1', der.sequence(fwids));
  }
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return extension('2.23.133.5.4.1', der.sequence(der.smallInteger(1), spki, fwid(FIRMWARE_ID)));
}

function encodeTranscript(nonce: Uint8Array, spec: DeviceSpec & { readonly chip: ChipName }): Uint8Array {
  const count = spec.chip === 'LS10' ? 31 : 64;
  const blocks = Array.from({ length: count }, (_, i) =>
    concat(Uint8Array.of(i + 1), fromHex('013300013000'), spec.measurements?.get(i) ?? measurementOf(i)),
  );
  const record = concat(...blocks);
  const opaque = concat(
    ...[...opaqueFields(spec)].flatMap(([id, data]) => (data ? [u16(id), u16(data.length), data] : [])),
  );
  return concat(
    fromHex('11e001ff'),
    nonce,
    fromHex('0011600000'),
    Uint8Array.of(count),
    u16(record.length),
    Uint8Array.of(0),
    record,
    randomBytes(32),
    u16(opaque.length),
    opaque,
  );
}

function opaqueFields({ chip, mode = 'spt', fields = new Map() }: DeviceSpec & { chip: ChipName }): Fields {
  return new Map([...(chip === 'LS10' ? SWITCH_FIELDS : gpuFields(chip, mode)), ...fields]);
}

const SWITCH_FIELDS: Fields = new Map([
  [6, utf8('96.10.55.00.01')],
  [25, fromHex('0100')],
]);

function gpuFields(chip: ChipName, mode: Mode): Fields {
  const hopper: Fields = new Map([[21, fromHex(mode === 'ppcie' ? 'aa' : '55')]]);
  const blackwell: Fields = new Map([
    [33, fromHex('0707')],
    [35, utf8(chip === 'GB20X' ? 'GB202\0' : 'GB100\0')],
  ]);
  return new Map([
    [6, fromHex('009f009604000000')],
    [15, utf8('882\0')],
    [17, utf8('1010\0')],
    [18, utf8('0200\0')],
    [3, utf8('550.90.07\0')],
    [4, fromHex(`${CHIPS[chip].code}000000000000`)],
    [11, fromHex('55')],
    [20, FIRMWARE_ID],
    ...(chip === 'GH100' ? hopper : blackwell),
    [34, fromHex('0100')],
    [36, u16(FLAG[mode])],
  ]);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}
