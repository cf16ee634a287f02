import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { CollectError } from '../errors.ts';

/*
 * Structures of nvml.h: natural alignment, every integer an unsigned int of 32 bits, little endian on each platform that
 * the driver is made for. A library fills them in place. Lengths in them are its word and may be anything.
 */

/** nvmlConfComputeSystemState_t: environment, ccFeature, devToolsMode. */
export const STATE_BYTES = 12;
/** nvmlSystemConfComputeSettings_v1_t: version, environment, ccFeature, devToolsMode, multiGpuMode. */
const SETTINGS_BYTES = 20;
/** NVML_STRUCT_VERSION: size, and the version from bit 24. */
const SETTINGS_V1 = (1 << 24) | SETTINGS_BYTES;
/** nvmlConfComputeGpuCertificate_t: two sizes, certChain[4096], attestationCertChain[5120]. */
export const CERTIFICATE_BYTES = 9224;
const CERT_CHAIN_BYTES = 4096;
export const ATTESTATION_CHAIN_BYTES = 5120;
/**
 * nvmlConfComputeGpuAttestationReport_t: isCecAttestationReportPresent, two sizes, nonce[32] (input),
 * attestationReport[8192], cecAttestationReport[4096].
 */
export const REPORT_STRUCTURE_BYTES = 12332;
export const MAX_REPORT_BYTES = 8192;
const REPORT_NONCE_OFFSET = 12;
const NONCE_BYTES = 32;

/** What the driver says of confidential computing on this machine. It is not evidence: the reports are. */
export interface SystemState {
  readonly environment: number;
  readonly ccFeature: number;
  readonly devToolsMode: number;
}

export interface SystemSettings extends SystemState {
  readonly multiGpuMode: number;
}

export function readState(bytes: Uint8Array): SystemState {
  const reader = new ByteReader(bytes, 'nvmlConfComputeSystemState_t');
  const state = stateOf(reader);
  reader.end();
  return state;
}

/** A structure for the library to fill; it looks at the version first. */
export function settingsRequest(): Uint8Array {
  const bytes = new Uint8Array(SETTINGS_BYTES);
  new DataView(bytes.buffer).setUint32(0, SETTINGS_V1, true);
  return bytes;
}

export function readSettings(bytes: Uint8Array): SystemSettings {
  const reader = new ByteReader(bytes, 'nvmlSystemConfComputeSettings_v1_t');
  const version = reader.u32le();
  if (version !== SETTINGS_V1) {
    throw new CollectError(
      'EVIDENCE_MALFORMED',
      `the settings came back as version 0x${version.toString(16)}`,
    );
  }
  const settings = { ...stateOf(reader), multiGpuMode: reader.u32le() };
  reader.end();
  return settings;
}

function stateOf(reader: ByteReader): SystemState {
  return { environment: reader.u32le(), ccFeature: reader.u32le(), devToolsMode: reader.u32le() };
}

/** The attestation chain, which is another than `certChain`. */
export function readCertificateChain(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, 'nvmlConfComputeGpuCertificate_t');
  reader.take(4);
  const size = reader.u32le();
  reader.take(CERT_CHAIN_BYTES);
  const chain = reader.take(ATTESTATION_CHAIN_BYTES);
  reader.end();
  return filled(chain, size, 'certificate chain');
}

/** A structure for the library to fill, with the nonce in its place. */
export function reportRequest(nonce: Uint8Array): Uint8Array {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`a nonce has ${NONCE_BYTES} bytes`);
  const bytes = new Uint8Array(REPORT_STRUCTURE_BYTES);
  bytes.set(nonce, REPORT_NONCE_OFFSET);
  return bytes;
}

/** The report of the GPU; the one of a board controller (CEC) is not asked for. */
export function readReport(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, 'nvmlConfComputeGpuAttestationReport_t');
  reader.take(4);
  const size = reader.u32le();
  reader.take(4 + NONCE_BYTES);
  const report = reader.take(MAX_REPORT_BYTES);
  reader.take(REPORT_STRUCTURE_BYTES - reader.offset);
  reader.end();
  return filled(report, size, 'attestation report');
}

/** A copy of the first `size` bytes: a size beyond the array would read memory of ours. */
export function filled(array: Uint8Array, size: number, what: string): Uint8Array {
  if (size === 0) throw new CollectError('EVIDENCE_MALFORMED', `the ${what} is empty`);
  if (size > array.length) {
    const reason = `the ${what} is said to have ${size} bytes, and has room for ${array.length}`;
    throw new CollectError('EVIDENCE_MALFORMED', reason);
  }
  return array.slice(0, size);
}

/** Printable ASCII up to a NUL, which must be there. */
export function readText(bytes: Uint8Array, what: string): string {
  const end = bytes.indexOf(0);
  const text = String.fromCharCode(...bytes.subarray(0, Math.max(end, 0)));
  if (end < 1 || !/^[\x20-\x7e]+$/.test(text)) {
    throw new CollectError('EVIDENCE_MALFORMED', `the ${what} is not text`);
  }
  return text;
}
