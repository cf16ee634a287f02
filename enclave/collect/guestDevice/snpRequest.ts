import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { REPORT_BYTES } from '../../../attestation/evidence/snp/parse.ts';
import { unwrapReportResponse } from '../../../attestation/evidence/snp/unwrap.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import { nativeMemory } from '../../native/memory.ts';

/** Linux, include/uapi/linux/sev-guest.h: `_IOWR('S', n, 32 bytes)`. */
export const SNP_GET_REPORT = 0xc0205300;
export const SNP_GET_EXT_REPORT = 0xc0205302;
/** VMM errors, bits 63 to 32 of `exitinfo2` (GHCB specification, SNP Guest Request). */
export const VMM_INVALID_LENGTH = 1;
export const VMM_BUSY = 2;

const ARGUMENT_BYTES = 32;
/** 64 bytes of report data, u32 VMPL, 28 reserved. */
const REQUEST_BYTES = 96;
/** The same, u64 address and u32 length of the buffer for certificates, 4 bytes of padding. */
const EXTENDED_REQUEST_BYTES = 112;
const RESPONSE_BYTES = 4000;
/** Status, size and 24 reserved bytes before the report (SNP firmware ABI, MSG_REPORT_RSP). */
const RESPONSE_HEAD_BYTES = 32;
const MESSAGE_VERSION = 1;
const INVALID_PARAMETER = 0x16;

/** The memory of one request, laid out as the driver wants it. */
export interface SnpRequest {
  readonly number: number;
  readonly argument: Uint8Array;
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  /** Empty where no certificates are asked for. */
  readonly certificates: Uint8Array;
}

export interface SnpAsk {
  /** 64 bytes. */
  readonly reportData: Uint8Array;
  readonly vmpl: number;
  /** Bytes for the certificate table, whole pages of 4 KiB; 0 asks for the report alone. */
  readonly certificateBytes: number;
}

export function encodeSnpRequest(ask: SnpAsk, address: (memory: Uint8Array) => bigint): SnpRequest {
  const extended = ask.certificateBytes > 0;
  const argument = nativeMemory(ARGUMENT_BYTES);
  const request = nativeMemory(extended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES);
  const response = nativeMemory(RESPONSE_BYTES);
  const certificates = nativeMemory(ask.certificateBytes);
  request.set(ask.reportData);
  const fields = viewOf(request);
  fields.setUint32(64, ask.vmpl, true);
  if (extended) {
    fields.setBigUint64(96, address(certificates), true);
    fields.setUint32(104, certificates.length, true);
  }
  const head = viewOf(argument);
  head.setUint8(0, MESSAGE_VERSION);
  head.setBigUint64(8, address(request), true);
  head.setBigUint64(16, address(response), true);
  return {
    number: extended ? SNP_GET_EXT_REPORT : SNP_GET_REPORT,
    argument,
    request,
    response,
    certificates,
  };
}

/** What firmware and host said of a request that failed. */
export interface SnpFailure {
  /** Error of the firmware (SNP firmware ABI, status codes); 0xff where the driver did not come to ask it. */
  readonly firmware: number;
  /** Error of the host's monitor. */
  readonly vmm: number;
  /** Bytes that the host says its certificates take. */
  readonly neededBytes: number;
}

export function readSnpFailure({ argument, request }: SnpRequest): SnpFailure {
  const head = viewOf(argument);
  return {
    firmware: head.getUint32(24, true),
    vmm: head.getUint32(28, true),
    neededBytes: request.length === EXTENDED_REQUEST_BYTES ? viewOf(request).getUint32(104, true) : 0,
  };
}

/**
 * The report of an answered request, as bytes of its own. The firmware's message is authenticated by the driver; a
 * status in it other than 0 is the firmware's refusal.
 */
export function readSnpResponse({ response }: SnpRequest): Uint8Array {
  const status = new ByteReader(response, 'MSG_REPORT_RSP').u32le();
  if (status !== 0) {
    const remark =
      status === INVALID_PARAMETER ? ': the guest may run at another VMPL than was asked for' : '';
    const code = `0x${status.toString(16)}`;
    throw new CollectError('DEVICE_REFUSED', `the SNP firmware gave no report, status ${code}${remark}`);
  }
  const message = response.subarray(0, RESPONSE_HEAD_BYTES + REPORT_BYTES);
  return readEvidence('the answer of the SNP firmware', () => unwrapReportResponse(message)).slice();
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
