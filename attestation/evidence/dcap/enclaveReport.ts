import { isZero } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';

export const ENCLAVE_REPORT_BYTES = 384;

/** Bits of ATTRIBUTES.FLAGS (Intel SDM volume 3D, section «ATTRIBUTES»). */
export const ENCLAVE_FLAGS = {
  INIT: 0n,
  DEBUG: 1n,
  MODE64BIT: 2n,
  PROVISIONKEY: 4n,
  EINITTOKEN_KEY: 5n,
  CET: 6n,
  KSS: 7n,
  AEXNOTIFY: 10n,
} as const;
export type EnclaveFlag = keyof typeof ENCLAVE_FLAGS;

/** REPORTBODY of an SGX enclave: what the CPU says of it. Every quote holds one of the quoting enclave. */
export interface EnclaveReport {
  /** 16 bytes. */
  readonly cpuSvn: Uint8Array;
  readonly miscSelect: number;
  readonly cetAttributes: number;
  readonly isvExtProdId: Uint8Array;
  /** 16 bytes: FLAGS and XFRM, little endian. */
  readonly attributes: Uint8Array;
  readonly flags: bigint;
  readonly xfrm: bigint;
  readonly mrEnclave: Uint8Array;
  readonly mrSigner: Uint8Array;
  /** 64 bytes that the host chose at launch; zero unless KSS is set. */
  readonly configId: Uint8Array;
  readonly isvProdId: number;
  readonly isvSvn: number;
  readonly configSvn: number;
  readonly isvFamilyId: Uint8Array;
  /** 64 bytes chosen by the enclave. */
  readonly reportData: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Parses a REPORTBODY of exactly 384 bytes (Intel SDM volume 3D, section «REPORT»). Reserved bytes must be zero. */
export function parseEnclaveReport(bytes: Uint8Array): EnclaveReport {
  const reader = new ByteReader(bytes, 'enclave report');
  const cpuSvn = reader.take(16);
  const miscSelect = reader.u32le();
  const cetAttributes = reader.u8();
  reserved(reader, 11);
  const isvExtProdId = reader.take(16);
  const attributes = reader.take(16);
  const mrEnclave = reader.take(32);
  reserved(reader, 32);
  const mrSigner = reader.take(32);
  reserved(reader, 32);
  const configId = reader.take(64);
  const isvProdId = reader.u16le();
  const isvSvn = reader.u16le();
  const configSvn = reader.u16le();
  reserved(reader, 42);
  const isvFamilyId = reader.take(16);
  const reportData = reader.take(64);
  reader.end();
  return {
    cpuSvn, miscSelect, cetAttributes, isvExtProdId, attributes, ...splitAttributes(attributes), mrEnclave, mrSigner,
    configId, isvProdId, isvSvn, configSvn, isvFamilyId, reportData, bytes,
  }; // prettier-ignore
}

function splitAttributes(attributes: Uint8Array): Pick<EnclaveReport, 'flags' | 'xfrm'> {
  const reader = new ByteReader(attributes, 'enclave attributes');
  return { flags: reader.u64le(), xfrm: reader.u64le() };
}

export function hasFlag({ flags }: Pick<EnclaveReport, 'flags'>, name: EnclaveFlag): boolean {
  return ((flags >> ENCLAVE_FLAGS[name]) & 1n) === 1n;
}

function reserved(reader: ByteReader, length: number): void {
  const start = reader.offset;
  if (!isZero(reader.take(length))) {
    throw new Refusal('MALFORMED', `reserved bytes of the enclave report at offset ${start} are not zero`);
  }
}
