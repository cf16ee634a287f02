import { equalBytes, isZero, toHex, utf8 } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import type { HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { parseRuntimeClaims, type RuntimeClaims } from './claims.ts';

/** NV index 0x01400001 has 2600 bytes; room is left for a larger one. */
const MAX_REPORT_BYTES = 16 * 1024;
const SIGNATURE = utf8('HCLA');
const OFFSET = { hardwareReport: 0x20, runtimeData: 0x4c0, claims: 0x4d4 } as const;
/** Field for the hardware report: an SNP report fills it, a TDREPORT leaves 160 bytes of zero. */
const HARDWARE_FIELD_BYTES = OFFSET.runtimeData - OFFSET.hardwareReport;
const RUNTIME_HEADER_BYTES = OFFSET.claims - OFFSET.runtimeData;
const REPORT_DATA_BYTES = 64;
/** The request whose report is left for the guest: that for a certificate of the attestation key. */
const AK_CERT_REQUEST = 2;
/** Version 2 has a field more before the claims and goes to the host only. */
const RUNTIME_VERSION = 1;
const HASHES: Readonly<Record<number, HashName>> = { 1: 'sha256', 2: 'sha384', 3: 'sha512' };

/** Hardware whose report is inside: 1184 bytes of SNP, or a TDREPORT of 1024 bytes. */
export type HclPlatform = 'snp' | 'tdx';

interface Layout {
  readonly platform: HclPlatform;
  readonly size: number;
  /** Offset of the 64 bytes of report data in the hardware report. */
  readonly reportData: number;
}

const LAYOUTS: Readonly<Record<number, Layout>> = {
  2: { platform: 'snp', size: 1184, reportData: 0x50 },
  4: { platform: 'tdx', size: 1024, reportData: 128 },
};

/** An HCL report as its bytes say; nothing in it is trusted until hardware vouches for it. */
export interface HclReport {
  readonly platform: HclPlatform;
  /** 1 or 2. */
  readonly version: number;
  /** SNP report, or TDREPORT: the latter has no signature that anyone but the machine can check. */
  readonly hardwareReport: Uint8Array;
  /** Report data of the hardware report, 64 bytes. */
  readonly reportData: Uint8Array;
  /** Hash of the claims in the report data. */
  readonly hash: HashName;
  /** The claims as received: these bytes are hashed. */
  readonly claimsBytes: Uint8Array;
  readonly claims: RuntimeClaims;
}

/**
 * Parses the report that the paravisor of an Azure confidential VM leaves in NV index 0x01400001 of its virtual TPM.
 * No header in it is signed, so every size must agree with the others. What follows the claims is the rest of the NV
 * index: it is passed over, whatever it holds.
 */
export function parseHclReport(bytes: Uint8Array): HclReport {
  if (bytes.length > MAX_REPORT_BYTES) {
    throw malformed(`has ${bytes.length} bytes, more than ${MAX_REPORT_BYTES}`);
  }
  const reader = new ByteReader(bytes, 'HCL report');
  const header = readHeader(reader);
  const field = reader.take(HARDWARE_FIELD_BYTES);
  const { layout, hash, claimsSize } = readRuntimeHeader(reader);
  if (header.size !== OFFSET.claims + claimsSize) {
    throw malformed(`states ${header.size} bytes, its claims end at ${OFFSET.claims + claimsSize}`);
  }
  const claimsBytes = reader.take(claimsSize);
  const hardwareReport = field.subarray(0, layout.size);
  if (!isZero(field.subarray(layout.size))) throw malformed('has bytes behind the hardware report');
  return {
    platform: layout.platform,
    version: header.version,
    hardwareReport,
    reportData: hardwareReport.subarray(layout.reportData, layout.reportData + REPORT_DATA_BYTES),
    hash,
    claimsBytes,
    claims: parseRuntimeClaims(claimsBytes),
  };
}

/** Offsets 0x00 to 0x1f. The size is that of the report up to the end of the claims. */
function readHeader(reader: ByteReader): { readonly version: number; readonly size: number } {
  const signature = reader.take(SIGNATURE.length);
  if (!equalBytes(signature, SIGNATURE)) throw malformed(`starts with ${toHex(signature)}, not «HCLA»`);
  const version = reader.u32le();
  if (version !== 1 && version !== 2) throw unsupported('version', version);
  const size = reader.u32le();
  const requestType = reader.u32le();
  if (requestType !== AK_CERT_REQUEST) throw unsupported('request type', requestType);
  const status = reader.u32le();
  if (status !== 0) throw malformed(`has status ${status}`);
  if (!isZero(reader.take(12))) throw malformed('has reserved header bytes that are not zero');
  return { version, size };
}

/** Offsets 0x4c0 to 0x4d3. */
function readRuntimeHeader(reader: ByteReader): {
  readonly layout: Layout;
  readonly hash: HashName;
  readonly claimsSize: number;
} {
  const size = reader.u32le();
  const version = reader.u32le();
  if (version !== RUNTIME_VERSION) throw unsupported('runtime data version', version);
  const reportType = reader.u32le();
  const layout = LAYOUTS[reportType];
  if (!layout) throw unsupported('hardware report type', reportType);
  const hashType = reader.u32le();
  const hash = HASHES[hashType];
  if (!hash) throw unsupported('hash type', hashType);
  const claimsSize = reader.u32le();
  if (size !== RUNTIME_HEADER_BYTES + claimsSize) {
    throw malformed(`has runtime data of ${size} bytes around claims of ${claimsSize}`);
  }
  return { layout, hash, claimsSize };
}

function unsupported(what: string, value: number): Refusal {
  return new Refusal('UNSUPPORTED', `HCL report of unknown ${what} ${value}`);
}

function malformed(problem: string): Refusal {
  return new Refusal('MALFORMED', `the HCL report ${problem}`);
}
