import { toHex } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { parseQuoteSignature, type QuoteSignature } from './quoteSignature.ts';
import type { Tee } from './tcbInfo.ts';

/** Guests hand out quotes in buffers of up to 128 KiB. */
export const MAX_QUOTE_BYTES = 128 * 1024;
const INTEL_QE_VENDOR = '939a7233f79c4ca9940a0db3957f0607';
const ECDSA_P256 = 2;
const KEY_TYPES: Readonly<Record<number, string>> = { 0: 'EPID', 1: 'EPID', 3: 'ECDSA P-384' };
const TEE_SGX = 0;
const TEE_TDX = 0x81;

export type QuoteBodyKind = 'sgx' | 'td10' | 'td15';

const BODY_BYTES: Readonly<Record<QuoteBodyKind, number>> = { sgx: 384, td10: 584, td15: 648 };
/** Body types of version 5. */
const BODY_KINDS: Readonly<Record<number, QuoteBodyKind>> = { 1: 'sgx', 2: 'td10', 3: 'td15' };

/** A quote as its bytes say; nothing in it is trusted until `verifyQuote` returns it. */
export interface Quote {
  readonly version: 3 | 4 | 5;
  readonly tee: Tee;
  /** 20 bytes; the first 16 name the platform's quoting enclave instance. */
  readonly userData: Uint8Array;
  readonly bodyKind: QuoteBodyKind;
  readonly body: Uint8Array;
  /** Header and body, the descriptor of version 5 included. */
  readonly signedBytes: Uint8Array;
  readonly signature: QuoteSignature;
}

/**
 * Parses an ECDSA quote of version 3, 4 or 5 (Intel DCAP quote generation library, appendix «Quote Format»; for TDX
 * «Intel TDX DCAP Quoting Library API», appendix 3). Bytes after the quote are passed over: guests and firmware hand
 * it out in a fixed buffer, and nothing signs them. Inside a stated length nothing may be left over.
 */
export function parseQuote(bytes: Uint8Array): Quote {
  if (bytes.length > MAX_QUOTE_BYTES) {
    throw new Refusal('MALFORMED', `a quote of ${bytes.length} bytes exceeds ${MAX_QUOTE_BYTES}`);
  }
  const reader = new ByteReader(bytes, 'quote');
  const { version, tee, userData } = readHeader(reader);
  const bodyKind = version === 5 ? readDescriptor(reader, tee) : tee === 'sgx' ? 'sgx' : 'td10';
  const body = reader.take(BODY_BYTES[bodyKind]);
  const signedBytes = bytes.subarray(0, reader.offset);
  const signature = parseQuoteSignature(reader.take(reader.u32le()), version);
  return { version, tee, userData, bodyKind, body, signedBytes, signature };
}

/** 48 bytes: version, key type, TEE type, QE and PCE SVN, vendor, user data. */
function readHeader(reader: ByteReader): Pick<Quote, 'version' | 'tee' | 'userData'> {
  const version = reader.u16le();
  if (version !== 3 && version !== 4 && version !== 5) {
    throw new Refusal('UNSUPPORTED', `quote version ${version} is not 3, 4 or 5`);
  }
  checkKeyType(reader.u16le());
  const tee = readTee(reader.u32le(), version);
  reader.take(4); // SVNs of QE and PCE, which the QE report and the PCK certificate state under a signature of Intel's
  const vendor = toHex(reader.take(16));
  if (vendor !== INTEL_QE_VENDOR) {
    throw new Refusal('UNSUPPORTED', `QE vendor ${vendor} is not Intel (${INTEL_QE_VENDOR})`);
  }
  return { version, tee, userData: reader.take(20) };
}

function checkKeyType(type: number): void {
  if (type === ECDSA_P256) return;
  const name = KEY_TYPES[type] ?? 'unknown';
  throw new Refusal(
    'UNSUPPORTED',
    `attestation key type ${type} (${name}) is not ${ECDSA_P256} (ECDSA P-256)`,
  );
}

/** Version 3 reserves the field: it is of SGX alone. */
function readTee(type: number, version: number): Tee {
  if (type === TEE_SGX) return 'sgx';
  if (type === TEE_TDX && version !== 3) return 'tdx';
  throw new Refusal('UNSUPPORTED', `TEE type 0x${type.toString(16)} in a quote of version ${version}`);
}

/** Body type (u16) and size (u32) of version 5. */
function readDescriptor(reader: ByteReader, tee: Tee): QuoteBodyKind {
  const type = reader.u16le();
  const size = reader.u32le();
  const kind = BODY_KINDS[type];
  if (!kind) throw new Refusal('UNSUPPORTED', `quote body type ${type} is not 1, 2 or 3`);
  if ((kind === 'sgx') !== (tee === 'sgx')) {
    throw new Refusal('MALFORMED', `quote body type ${type} in a quote of ${tee.toUpperCase()}`);
  }
  if (size !== BODY_BYTES[kind]) {
    throw new Refusal(
      'MALFORMED',
      `quote body type ${type} has ${BODY_BYTES[kind]} bytes, the quote states ${size}`,
    );
  }
  return kind;
}
