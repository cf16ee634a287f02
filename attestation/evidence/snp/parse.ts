import { concat, isZero } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { parseGuestPolicy, parsePlatformInfo, type GuestPolicy, type PlatformInfo } from './flags.ts';
import { TCB_BYTES, type Cpuid } from './product.ts';

export const REPORT_BYTES = 0x4a0;
/** The signature covers bytes 0x000 to 0x29f. */
export const SIGNED_BYTES = 0x2a0;
const OLDEST_VERSION = 2;
const NEWEST_VERSION = 5;
const ECDSA_P384_SHA384 = 1;
/** R and S are 72-byte fields, little endian, of which P-384 fills 48. */
const SCALAR_FIELD_BYTES = 72;
const SCALAR_BYTES = 48;
const SIGNING_KEYS: Readonly<Record<number, 'vcek' | 'vlek' | 'none'>> = { 0: 'vcek', 1: 'vlek', 7: 'none' };

export interface KeyInfo {
  /** Whether `authorKeyDigest` holds the digest of a key that signed the id key. */
  readonly authorKeyEnabled: boolean;
  /** Whether the host masked the chip's own key: such a report is not signed. */
  readonly maskChipKey: boolean;
  readonly signingKey: 'vcek' | 'vlek' | 'none';
}

export interface FirmwareVersion {
  readonly major: number;
  readonly minor: number;
  readonly build: number;
}

/** An attestation report as its bytes say; nothing in it is trusted until `verifySnp` returns it. */
export interface SnpReport {
  readonly version: number;
  readonly guestSvn: number;
  readonly policy: GuestPolicy;
  readonly familyId: Uint8Array;
  readonly imageId: Uint8Array;
  /** 0 to 3 where the guest asked; all ones where the host did. */
  readonly vmpl: number;
  /** The four TCB_VERSIONs are 8 raw bytes; `splitTcb` reads them once the product is known. */
  readonly currentTcb: Uint8Array;
  readonly reportedTcb: Uint8Array;
  readonly committedTcb: Uint8Array;
  readonly launchTcb: Uint8Array;
  readonly platformInfo: PlatformInfo;
  readonly keyInfo: KeyInfo;
  /** 64 bytes chosen by the guest. */
  readonly reportData: Uint8Array;
  /** SHA-384 launch digest. */
  readonly measurement: Uint8Array;
  readonly hostData: Uint8Array;
  readonly idKeyDigest: Uint8Array;
  readonly authorKeyDigest: Uint8Array;
  readonly reportId: Uint8Array;
  readonly reportIdMa: Uint8Array;
  /** Absent in version 2. */
  readonly cpuid: Cpuid | undefined;
  /** 64 bytes; all zero where the host masks it and under a VLEK. */
  readonly chipId: Uint8Array;
  readonly currentVersion: FirmwareVersion;
  readonly committedVersion: FirmwareVersion;
  /** Bit vectors of mitigations; version 5 only. */
  readonly launchMitigations: bigint | undefined;
  readonly currentMitigations: bigint | undefined;
  readonly signedBytes: Uint8Array;
  /** `r || s`, 48 bytes each, big endian. */
  readonly signature: Uint8Array;
}

/**
 * Parses an ATTESTATION_REPORT (SNP firmware ABI, MSG_REPORT_RSP) of exactly 1184 bytes, versions 2 to 5. Reserved
 * bytes must be zero: the tail after the signature is not signed, and whoever carries the report could write there.
 */
export function parseSnpReport(bytes: Uint8Array): SnpReport {
  if (bytes.length !== REPORT_BYTES) {
    throw new Refusal('MALFORMED', `the SNP report has ${bytes.length} bytes, not ${REPORT_BYTES}`);
  }
  const reader = new ByteReader(bytes, 'SNP report');
  const version = readVersion(reader);
  const head = readHead(reader);
  const body = readBody(reader, version);
  const tail = readTail(reader, version);
  const signature = readSignature(reader);
  reader.end();
  return { version, ...head, ...body, ...tail, signedBytes: bytes.subarray(0, SIGNED_BYTES), signature };
}

function readVersion(reader: ByteReader): number {
  const version = reader.u32le();
  if (version < OLDEST_VERSION || version > NEWEST_VERSION) {
    throw new Refusal(
      'UNSUPPORTED',
      `SNP report version ${version} is not ${OLDEST_VERSION} to ${NEWEST_VERSION}`,
    );
  }
  return version;
}

/** Offsets 0x004 to 0x04f. */
function readHead(reader: ByteReader) {
  const guestSvn = reader.u32le();
  const policy = parseGuestPolicy(reader.u64le());
  const familyId = reader.take(16);
  const imageId = reader.take(16);
  const vmpl = reader.u32le();
  const algorithm = reader.u32le();
  if (algorithm !== ECDSA_P384_SHA384) {
    throw new Refusal(
      'UNSUPPORTED',
      `SNP signature algorithm ${algorithm} is not 1 (ECDSA P-384 with SHA-384)`,
    );
  }
  const currentTcb = reader.take(TCB_BYTES);
  const platformInfo = parsePlatformInfo(reader.u64le());
  const keyInfo = parseKeyInfo(reader.u32le());
  reserved(reader, 4);
  return { guestSvn, policy, familyId, imageId, vmpl, currentTcb, platformInfo, keyInfo };
}

function parseKeyInfo(bits: number): KeyInfo {
  const signingKey = SIGNING_KEYS[(bits >>> 2) & 7];
  if (!signingKey || bits >>> 5 !== 0) {
    throw new Refusal('UNSUPPORTED', `SNP key information 0x${bits.toString(16)} has reserved values`);
  }
  return { authorKeyEnabled: (bits & 1) !== 0, maskChipKey: (bits & 2) !== 0, signingKey };
}

/** Offsets 0x050 to 0x19f. */
function readBody(reader: ByteReader, version: number) {
  return {
    reportData: reader.take(64),
    measurement: reader.take(48),
    hostData: reader.take(32),
    idKeyDigest: reader.take(48),
    authorKeyDigest: reader.take(48),
    reportId: reader.take(32),
    reportIdMa: reader.take(32),
    reportedTcb: reader.take(TCB_BYTES),
    cpuid: readCpuid(reader, version),
  };
}

/** Version 2 reserves the three bytes that later versions fill. */
function readCpuid(reader: ByteReader, version: number): Cpuid | undefined {
  if (version < 3) {
    reserved(reader, 24);
    return undefined;
  }
  const cpuid = { family: reader.u8(), model: reader.u8(), stepping: reader.u8() };
  reserved(reader, 21);
  return cpuid;
}

/** Offsets 0x1a0 to 0x29f. */
function readTail(reader: ByteReader, version: number) {
  const chipId = reader.take(64);
  const committedTcb = reader.take(TCB_BYTES);
  const currentVersion = readFirmwareVersion(reader);
  const committedVersion = readFirmwareVersion(reader);
  const launchTcb = reader.take(TCB_BYTES);
  const hasMitigations = version >= 5;
  const launchMitigations = hasMitigations ? reader.u64le() : undefined;
  const currentMitigations = hasMitigations ? reader.u64le() : undefined;
  reserved(reader, SIGNED_BYTES - reader.offset);
  return {
    chipId,
    committedTcb,
    currentVersion,
    committedVersion,
    launchTcb,
    launchMitigations,
    currentMitigations,
  };
}

function readFirmwareVersion(reader: ByteReader): FirmwareVersion {
  const [build, minor, major] = [reader.u8(), reader.u8(), reader.u8()];
  reserved(reader, 1);
  return { major, minor, build };
}

function readSignature(reader: ByteReader): Uint8Array {
  const r = readScalar(reader, 'R');
  const s = readScalar(reader, 'S');
  reserved(reader, reader.remaining);
  return concat(r, s);
}

function readScalar(reader: ByteReader, name: string): Uint8Array {
  const field = reader.take(SCALAR_FIELD_BYTES);
  if (!isZero(field.subarray(SCALAR_BYTES))) {
    throw new Refusal('MALFORMED', `${name} of the SNP signature is longer than ${SCALAR_BYTES} bytes`);
  }
  return field.subarray(0, SCALAR_BYTES).toReversed();
}

function reserved(reader: ByteReader, length: number): void {
  const start = reader.offset;
  if (!isZero(reader.take(length))) {
    throw new Refusal(
      'MALFORMED',
      `reserved bytes of the SNP report at offset 0x${start.toString(16)} are not zero`,
    );
  }
}
