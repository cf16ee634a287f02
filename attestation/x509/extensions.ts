import { Refusal } from '../errors.ts';
import { decodeBoolean, decodeOid, decodeUint, DerReader, readOnly, TAG } from './der.ts';

export interface Extension {
  readonly critical: boolean;
  /** Content of the extnValue OCTET STRING. */
  readonly value: Uint8Array;
}

export type Extensions = ReadonlyMap<string, Extension>;

export const BASIC_CONSTRAINTS = '2.5.29.19';
export const KEY_USAGE = '2.5.29.15';
export const EXTENDED_KEY_USAGE = '2.5.29.37';
/** Bits 0, 5 and 6 of keyUsage; bit 0 is the highest of the first byte. */
export const DIGITAL_SIGNATURE = 0x80;
const KEY_CERT_SIGN = 0x04;
const CRL_SIGN = 0x02;

/** Extensions by OID (RFC 5280 section 4.1.2.9): a list with one of them twice would have two meanings. */
export function readExtensions(list: DerReader, what: string): Extensions {
  const extensions = new Map<string, Extension>();
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const oid = decodeOid(extension.take(TAG.oid).content);
    const flag = extension.optional(TAG.boolean);
    const critical = flag !== undefined && decodeBoolean(flag, `${what} extension ${oid}`);
    const { content: value } = extension.take(TAG.octetString);
    extension.end();
    if (extensions.has(oid)) throw new Refusal('MALFORMED', `${what} has extension ${oid} twice`);
    extensions.set(oid, { critical, value });
  }
  return extensions;
}

/** basicConstraints (RFC 5280 section 4.2.1.9); a certificate without it is no authority. */
export function readBasicConstraints(extensions: Extensions): {
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
} {
  const extension = extensions.get(BASIC_CONSTRAINTS);
  if (!extension) return { isCa: false, pathLength: undefined };
  const constraints = new DerReader(extension.value, 'basicConstraints').enterLast(TAG.sequence);
  const ca = constraints.optional(TAG.boolean);
  const length = constraints.optional(TAG.integer);
  constraints.end();
  return {
    isCa: ca !== undefined && decodeBoolean(ca, 'basicConstraints'),
    pathLength: length && decodeUint(length, 'pathLenConstraint'),
  };
}

/** keyUsage (RFC 5280 section 4.2.1.3); undefined when the extension is absent. */
export function readKeyUsage(extensions: Extensions): {
  readonly maySignCertificates: boolean | undefined;
  readonly maySignCrls: boolean | undefined;
} {
  const bits = keyUsageBits(extensions);
  return {
    maySignCertificates: bits === undefined ? undefined : (bits & KEY_CERT_SIGN) !== 0,
    maySignCrls: bits === undefined ? undefined : (bits & CRL_SIGN) !== 0,
  };
}

/** The first byte of keyUsage's BIT STRING; unused bits are zero (X.690 section 11.2.1). Undefined without one. */
export function keyUsageBits(extensions: Extensions): number | undefined {
  const extension = extensions.get(KEY_USAGE);
  if (!extension) return undefined;
  const { content } = readOnly(extension.value, TAG.bitString, 'keyUsage');
  const [unused = 8, ...bytes] = content;
  const last = bytes.at(-1) ?? 0;
  const unusedBits = last & ((1 << unused) - 1);
  if (unused > 7 || unusedBits !== 0 || (bytes.length === 0 && unused > 0) || bytes.length > 2) {
    throw new Refusal('MALFORMED', 'keyUsage is no BIT STRING of at most 9 bits');
  }
  return bytes[0] ?? 0;
}
