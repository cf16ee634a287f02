import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { parseHclReport } from '../../attestation/evidence/azure/parse.ts';
import { readChain } from '../../attestation/evidence/dcap/certificationData.ts';
import { readPckCertificate, SGX_EXTENSION } from '../../attestation/evidence/dcap/pck.ts';
import type { Quote } from '../../attestation/evidence/dcap/quote.ts';
import type {
  CpuEvidence,
  DeviceEvidence,
  EncodedTpmQuote,
  Platform,
} from '../../attestation/evidence/evidence.ts';
import { parseNitroDocument } from '../../attestation/evidence/nitro/parse.ts';
import { parseDeviceReport, type DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { hasAttribute } from '../../attestation/evidence/tdx/attributes.ts';
import { parseTdxQuote } from '../../attestation/evidence/tdx/parse.ts';
import { parseTpmsAttest } from '../../attestation/evidence/tpm/parse.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';

/** Values by name; a value that the evidence does not state is absent. */
export type Facts = Readonly<Record<string, string>>;

/** What evidence says of a CPU. Byte strings are in hex. */
export interface CpuFacts {
  readonly platform: Platform;
  /** What names the machine and, where something does, the guest on it. */
  readonly machine: Facts;
  /** What was launched, and under which conditions. */
  readonly launched: Facts;
  /** Whether the host may look inside. */
  readonly debug: boolean;
  /** Security versions by what they are of: each component counts by itself. */
  readonly levels: Readonly<Record<string, readonly number[]>>;
}

/** What evidence says of a device. */
export interface DeviceFacts {
  readonly identity: string;
  readonly driver: Facts;
  /**
   * How often each measurement register was extended since the device was reset: loading a driver onto a running
   * device extends some of them.
   */
  readonly extensions: Facts;
  readonly firmware: Facts;
  readonly mode: Facts;
}

export interface HardwareFacts {
  readonly cpu: CpuFacts;
  readonly devices: readonly DeviceFacts[];
}

/** Registers of a TPM that only firmware and boot loader extend; others grow while a system runs. */
const BOOT_PCRS = 8;
/** Registers of an enclave that are locked once it runs. */
const LOCKED_PCRS = 16;
/** RTMR3 is the guest's own and may grow. */
const BOOT_RTMRS = 3;
/** MSRSCNT of the opaque data: 32-bit counters. */
const EXTENSION_COUNTS = 12;

/**
 * Reads what must stay as it is while an instance lives. Nothing is verified here: a host that forges a report can
 * make it look like the one before, and then no verifier takes the document. Throws `Refusal` for what cannot be read.
 */
export function readHardware(cpu: CpuEvidence, devices: readonly DeviceEvidence[]): HardwareFacts {
  return { cpu: { platform: cpu.platform, ...readCpu(cpu) }, devices: devices.map(readDevice) };
}

type Reading = Omit<CpuFacts, 'platform'>;

function readCpu(cpu: CpuEvidence): Reading {
  switch (cpu.platform) {
    case 'snp':
      return readSnp(cpu.report);
    case 'tdx':
      return readTdx(cpu.report);
    case 'nitro':
    case 'nitrotpm':
      return readNitro(cpu.report);
    case 'azure-snp':
      return joined(readSnp(parseHclReport(cpu.report).hardwareReport), readTpm(cpu.tpm));
    case 'azure-tdx':
      return joined(readTdx(cpu.quote), readTpm(cpu.tpm));
    case 'gcp-vtpm':
    case 'tpm':
      return readTpm(cpu.tpm);
  }
}

function readSnp(bytes: Uint8Array): Reading {
  const report = parseSnpReport(bytes);
  const { build, major, minor } = report.currentVersion;
  return {
    machine: { 'chip id': toHex(report.chipId), 'report id': toHex(report.reportId) },
    launched: {
      'launch measurement': toHex(report.measurement),
      'host data': toHex(report.hostData),
      'guest policy': report.policy.raw.toString(16),
      'guest SVN': String(report.guestSvn),
      'image id': toHex(report.imageId),
      'family id': toHex(report.familyId),
      'id key': toHex(report.idKeyDigest),
      'author key': toHex(report.authorKeyDigest),
      'privilege level': String(report.vmpl),
    },
    debug: report.policy.debug,
    // Each byte of TCB_VERSION is one component or zero, whatever the product.
    levels: {
      'reported TCB': [...report.reportedTcb],
      'committed TCB': [...report.committedTcb],
      'current TCB': [...report.currentTcb],
      firmware: [major * 2 ** 16 + minor * 2 ** 8 + build],
    },
  };
}

function readTdx(bytes: Uint8Array): Reading {
  const { quote, report } = parseTdxQuote(bytes);
  const boot = report.rtmrs.slice(0, BOOT_RTMRS).map((value, i) => [`RTMR${i}`, toHex(value)] as const);
  const platform = readPlatform(quote);
  return {
    machine: platform.machine,
    launched: {
      MRTD: toHex(report.mrTd),
      MRCONFIGID: toHex(report.mrConfigId),
      MROWNER: toHex(report.mrOwner),
      MROWNERCONFIG: toHex(report.mrOwnerConfig),
      MRSIGNERSEAM: toHex(report.mrSignerSeam),
      TDATTRIBUTES: report.tdAttributes.toString(16),
      XFAM: report.xfam.toString(16),
      ...(report.mrServiceTd && { 'service TDs': toHex(report.mrServiceTd) }),
      ...Object.fromEntries(boot),
    },
    debug: hasAttribute(report.tdAttributes, 'DEBUG') || !isZero(report.seamAttributes),
    levels: { ...platform.levels, 'TDX module': [...(report.teeTcbSvn2 ?? report.teeTcbSvn)] },
  };
}

/** What the PCK certificate says; a quote may come without one, and then nothing in it names the machine. */
function readPlatform({ signature }: Quote): Pick<Reading, 'machine' | 'levels'> {
  const chain = readChain(signature.certification) ?? [];
  const certificate = chain.find(({ extensions }) => extensions.has(SGX_EXTENSION));
  if (!certificate) return { machine: {}, levels: {} };
  const pck = readPckCertificate(certificate);
  return {
    machine: { PPID: pck.ppid, FMSPC: pck.fmspc },
    levels: { 'platform TCB': pck.tcbComponents, PCESVN: [pck.pceSvn] },
  };
}

function readNitro(bytes: Uint8Array): Reading {
  const { kind, moduleId, pcrs } = parseNitroDocument(bytes);
  const image = [0, 1, 2].map((index) => pcrs.get(index));
  return {
    machine: { 'module id': moduleId },
    launched: readPcrs(pcrs, kind === 'enclave' ? LOCKED_PCRS : BOOT_PCRS),
    // An enclave in debug mode has zeros there; a TPM has no such mode.
    debug: kind === 'enclave' && image.some((value) => !value || isZero(value)),
    levels: {},
  };
}

function readTpm({ message, pcrs }: EncodedTpmQuote): Reading {
  const { qualifiedSigner, clockInfo } = parseTpmsAttest(message);
  return {
    machine: { 'attestation key': toHex(qualifiedSigner), 'TPM starts': String(clockInfo.resetCount) },
    launched: readPcrs(pcrs.values, BOOT_PCRS),
    debug: false,
    levels: {},
  };
}

function readPcrs(values: ReadonlyMap<number, Uint8Array>, below: number): Facts {
  const kept = [...values].filter(([index]) => index < below);
  return Object.fromEntries(kept.map(([index, value]) => [`PCR${index}`, toHex(value)]));
}

function joined(hardware: Reading, tpm: Reading): Reading {
  return {
    machine: { ...hardware.machine, ...tpm.machine },
    launched: { ...hardware.launched, ...tpm.launched },
    debug: hardware.debug || tpm.debug,
    levels: { ...hardware.levels, ...tpm.levels },
  };
}

function readDevice({ kind, report: bytes, certificates: [leaf] }: DeviceEvidence): DeviceFacts {
  const report = parseDeviceReport(bytes, kind);
  const serial = leaf ? toHex(parseCertificate(leaf).serial) : 'without a certificate';
  const { firmwareId, fields } = report;
  const counts = fields.get(EXTENSION_COUNTS);
  return {
    identity: `${kind} ${serial}`,
    driver: report.kind === 'gpu' ? { driver: report.driverVersion } : {},
    extensions: counts ? { 'register extensions': toHex(counts) } : {},
    firmware: { ...versionsOf(report), ...(firmwareId && { 'firmware id': toHex(firmwareId) }) },
    mode: report.kind === 'gpu' ? { mode: report.mode } : { locked: String(report.locked) },
  };
}

function versionsOf(report: DeviceReport): Facts {
  if (report.kind === 'switch') return { BIOS: report.biosVersion };
  const { vbiosVersion, project, projectSku, chipSku, chip } = report;
  return { VBIOS: vbiosVersion, board: `${chip} ${project} ${projectSku} ${chipSku}` };
}
