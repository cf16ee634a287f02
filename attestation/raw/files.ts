import { parseBundle } from '../bundle/bundle.ts';
import { parseCollateralFile } from '../bundle/collateralFile.ts';
import { equalBytes, fromUtf8 } from '../bytes/bytes.ts';
import { latin1 } from '../bytes/search.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../collateral.ts';
import { Refusal } from '../errors.ts';
import { withIssuerChains } from '../evidence/dcap/issuerChains.ts';
import type { CpuEvidence, DeviceEvidence } from '../evidence/evidence.ts';
import { driverRimId, vbiosRimId } from '../evidence/nvidia/rim.ts';
import { parseNitroDocument } from '../evidence/nitro/parse.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../evidence/snp/unwrap.ts';
import { certificatesIn } from '../recognition/certificates.ts';
import {
  parseEitherKind,
  pemCertificates,
  readDeviceFile,
  type ReadDevice,
} from '../recognition/deviceFile.ts';
import { recognise, type Recognised, type ShownKind } from '../recognition/recognise.ts';
import { splitReportAndChain } from '../recognition/reportWithChain.ts';
import { crlToDer } from '../x509/crlText.ts';
import { snpChainAmong } from './snpChain.ts';

/** A file as somebody has it; its name is for people. */
export interface RawFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** CPU evidence that can be judged from its own file and what is beside it. An SGX enclave is no platform of ours. */
export type RawCpu =
  | Extract<CpuEvidence, { platform: 'snp' | 'tdx' | 'nitro' | 'nitrotpm' }>
  | { readonly platform: 'sgx'; readonly report: Uint8Array };

/** What some files come to when they are laid side by side. */
export interface RawMaterial {
  readonly cpu: RawCpu | undefined;
  readonly devices: readonly DeviceEvidence[];
  /** The nonce that a request to the attestation service names, lower-case hex. */
  readonly askedNonce: string | undefined;
  readonly bootLog: Uint8Array | undefined;
  readonly collateral: Collateral;
}

/** Most files of one appraisal, and devices in them: the largest machine has 8 GPUs and 4 switches. */
const MAX_FILES = 64;
const MAX_DEVICES = 64;

const DEVICE_KINDS: readonly ShownKind[] = [
  'device-report',
  'device-report-chain',
  'device-evidence',
  'nras-request',
];

/** Whether files of this kind can be judged without a document of ours around them. */
export function isRawEvidence(kind: ShownKind): boolean {
  return isCpu(kind) || DEVICE_KINDS.includes(kind);
}

/**
 * Sorts files by what is in them. Refuses what cannot be read as what it looks like, and more than one CPU report:
 * each has keys and a nonce of its own. Files of other kinds are refused too: nothing that was given is left unjudged
 * in silence.
 */
export function readRawFiles(files: readonly RawFile[]): RawMaterial {
  if (files.length > MAX_FILES) throw new Refusal('MALFORMED', `more than ${MAX_FILES} files at once`);
  const known = files.map(({ name, bytes }) => ({ file: name, ...recognise(bytes) }));
  const cpus = known.filter(({ kind }) => isCpu(kind));
  if (cpus.length > 1) {
    throw new Refusal('MALFORMED', `one CPU report at a time: ${cpus.map(({ file }) => file).join(', ')}`);
  }
  const stray = known.find((each) => !isRawEvidence(each.kind) && !isBeside(each));
  if (stray) throw new Refusal('UNSUPPORTED', `${stray.file} (${stray.name}) has no part in raw evidence`);
  const loose = certificatesOf(known);
  const devices = known
    .filter(({ kind }) => DEVICE_KINDS.includes(kind))
    .map((each) => devicesOf(each, loose));
  const evidence = devices.flatMap((each) => each.devices);
  if (evidence.length > MAX_DEVICES) throw new Refusal('MALFORMED', `more than ${MAX_DEVICES} devices`);
  const [cpu] = cpus;
  return {
    cpu: cpu && CPU_READERS[cpu.kind]?.(cpu.bytes, snpChainAmong(loose)),
    devices: evidence.toSorted((a, b) => Number(a.kind === 'switch') - Number(b.kind === 'switch')),
    askedNonce: devices.map(({ nonce }) => nonce).find((nonce) => nonce !== undefined),
    bootLog: known.find(({ kind }) => kind === 'boot-log')?.bytes,
    collateral: collateralOf(known, loose, evidence),
  };
}

/** What vendors say in files that lie beside a document or bundle; refuses files of any other kind. */
export function collateralBeside(
  files: readonly RawFile[],
  devices: readonly DeviceEvidence[] = [],
): Collateral {
  const known = files.map(({ name, bytes }) => ({ file: name, ...recognise(bytes) }));
  const stray = known.find((each) => !isBeside(each));
  if (stray) throw new Refusal('UNSUPPORTED', `${stray.file} (${stray.name}) is no statement of a vendor`);
  return collateralOf(known, certificatesOf(known), devices);
}

type Known = Recognised & { readonly file: string };

function isBeside({ kind }: Known): boolean {
  return kind === 'boot-log' || kind === 'rim' || kind in STATEMENTS || isCertificates(kind);
}

/** Each once: people have the same one in several files. */
function certificatesOf(known: readonly Known[]): readonly Uint8Array[] {
  const found = known.flatMap((each) => certificatesIn(each) ?? []);
  return found.filter((der, i) => found.findIndex((other) => equalBytes(other, der)) === i);
}

function isCertificates(kind: ShownKind): boolean {
  return kind === 'certificates' || kind === 'thim-certificates';
}

type CpuReader = (bytes: Uint8Array, beside: readonly Uint8Array[]) => RawCpu;

/** Kinds that are evidence of a CPU, each of which stands alone. */
const CPU_READERS: Readonly<Partial<Record<ShownKind, CpuReader>>> = {
  'snp-report': (report, certificates) => ({ platform: 'snp', report, certificates }),
  'snp-extended-report': (bytes, certificates) => {
    const carried = unwrapExtendedReport(bytes);
    return carried.certificates.length > 0 ? carried : { ...carried, certificates };
  },
  'snp-report-response': (bytes, certificates) => ({
    platform: 'snp',
    report: unwrapReportResponse(bytes),
    certificates,
  }),
  'tdx-quote': (report) => ({ platform: 'tdx', report }),
  'sgx-quote': (report) => ({ platform: 'sgx', report }),
  'nitro-document': (report) => ({ platform: nitroPlatform(report), report }),
};

function isCpu(kind: ShownKind): boolean {
  return kind in CPU_READERS;
}

/** One that cannot be read is refused where it is judged. */
function nitroPlatform(bytes: Uint8Array): 'nitro' | 'nitrotpm' {
  try {
    return parseNitroDocument(bytes).kind === 'tpm' ? 'nitrotpm' : 'nitro';
  } catch (error) {
    if (error instanceof Refusal) return 'nitro';
    throw error;
  }
}

interface ReadDevices {
  readonly devices: readonly DeviceEvidence[];
  readonly nonce?: string | undefined;
}

/** Certificates that lie beside a report that lies alone are its chain, leaf first. */
function devicesOf({ kind, bytes }: Known, loose: readonly Uint8Array[]): ReadDevices {
  if (kind === 'device-report') return { devices: [deviceOf({ report: bytes, certificates: loose })] };
  if (kind === 'device-report-chain') {
    const { report, chain } = splitReportAndChain(bytes);
    return { devices: [deviceOf({ report, certificates: pemCertificates(fromUtf8(chain)) })] };
  }
  const { devices, nonce } = readDeviceFile(bytes);
  return { devices: devices.map((read) => deviceOf(read())), nonce };
}

/** A report that cannot be read is taken for a GPU's: it is refused where it is judged. */
function deviceOf({ report, certificates }: Pick<ReadDevice, 'report' | 'certificates'>): DeviceEvidence {
  return { kind: reportOf(report)?.kind ?? 'gpu', report, certificates };
}

function reportOf(report: Uint8Array) {
  try {
    return parseEitherKind(report);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** What vendors say, by kind of file. */
const STATEMENTS: Readonly<Partial<Record<ShownKind, (bytes: Uint8Array) => Partial<Collateral>>>> = {
  collateral: parseCollateralFile,
  bundle: (bytes) => parseBundle(bytes).collateral,
  crl: (bytes) => ({ crls: [crlToDer(bytes)] }),
  'tcb-info': (body) => ({ tcbInfos: [{ body, issuerChain: [] }] }),
  'qe-identity': (body) => ({ qeIdentities: [{ body, issuerChain: [] }] }),
  'ocsp-response': (bytes) => ({ ocspResponses: [bytes] }),
};

function collateralOf(
  known: readonly Known[],
  certificates: readonly Uint8Array[],
  devices: readonly DeviceEvidence[],
): Collateral {
  const statements = known.map(({ kind, bytes }): Collateral => ({
    ...NO_COLLATERAL,
    ...STATEMENTS[kind]?.(bytes),
  }));
  const manifests = known.filter(({ kind }) => kind === 'rim').map(({ bytes }) => bytes);
  const own = { ...NO_COLLATERAL, certificates, rims: rimsOf(manifests, devices) };
  return withIssuerChains(statements.reduce(mergeCollateral, own));
}

/** Of a VBIOS, five bytes in hex; that of a driver is decimal. */
const VBIOS_VERSION = /^[0-9a-f]{2}(?:\.[0-9a-f]{2}){4}$/i;
/** The head of a manifest, where its `Meta` stands: characters looked at. */
const HEAD = 64 * 1024;

/**
 * The manifests under the ids that the devices ask for, by part and version. What a manifest says of itself only
 * chooses: the verifier judges whether it is genuine and for the device.
 */
function rimsOf(
  manifests: readonly Uint8Array[],
  devices: readonly DeviceEvidence[],
): ReadonlyMap<string, Uint8Array> {
  const read = manifests.map((bytes) => {
    const [, version = ''] = /\bcolloquialVersion\s*=\s*"([^"]{1,64})"/.exec(latin1(bytes, 0, HEAD)) ?? [];
    return { bytes, version, isFirmware: VBIOS_VERSION.test(version) };
  });
  const rims = new Map<string, Uint8Array>();
  for (const { report } of devices) {
    const parsed = reportOf(report);
    if (!parsed) continue;
    const [driver, firmware] =
      parsed.kind === 'gpu' ? [parsed.driverVersion, parsed.vbiosVersion] : ['', parsed.biosVersion];
    const supply = (id: string | undefined, isFirmware: boolean, wanted: string) => {
      const rivals = read.filter((each) => each.isFirmware === isFirmware);
      const found = rivals.find(({ version }) => version.toUpperCase() === wanted.toUpperCase()) ?? rivals[0];
      if (id !== undefined && found) rims.set(id, found.bytes);
    };
    supply(driverRimId(parsed), false, driver);
    supply(vbiosRimId(parsed), true, firmware);
  }
  return rims;
}
