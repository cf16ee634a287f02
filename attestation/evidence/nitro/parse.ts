import { decodeForeign } from '../../cbor/foreign.ts';
import { HEADER, parseForeignSign1, type ForeignSign1 } from '../../cose/sign1.ts';
import { Refusal } from '../../errors.ts';

/** COSE algorithm ES384 (RFC 9053 section 2.1): the only one that AWS signs with. */
const ES384 = -35;
/** `r || s` on P-384. */
const SIGNATURE_BYTES = 96;
/** The payload is `bstr .size (1..16384)`; the envelope around it takes about 110 bytes more. */
const MAX_PAYLOAD_BYTES = 16 * 1024;
const MAX_DOCUMENT_BYTES = 17 * 1024;
const MAX_CERTIFICATE_BYTES = 1024;
/** AWS sends a root and three intermediates. */
const MAX_BUNDLE = 16;
const MAX_PCRS = 32;
/** `digest` is SHA384 in every document, so its registers have 48 bytes. */
const PCR_BYTES = 48;
/** AWS's CDDL gives all three optional members 0 to 1024 bytes; a public key is not empty. */
const MAX_OPTIONAL_BYTES = 1024;
/** Latest time that a Date holds, in milliseconds. */
const MAX_TIME = 8.64e15;
const MODULE_ID = /^[\x21-\x7e]{1,256}$/;

/** Whose registers they are: those of an enclave, or of the TPM that the Nitro hypervisor gives an instance. */
export type NitroKind = 'enclave' | 'tpm';

const PCR_MEMBER: Readonly<Record<NitroKind, string>> = { enclave: 'pcrs', tpm: 'nitrotpm_pcrs' };
const MEMBERS: readonly unknown[] = [
  'module_id',
  'digest',
  'timestamp',
  ...Object.values(PCR_MEMBER),
  'certificate',
  'cabundle',
  'public_key',
  'user_data',
  'nonce',
];

/** An attestation document as its bytes say; nothing in it is trusted until `verifyNitro` returns it. */
export interface NitroDocument {
  readonly kind: NitroKind;
  /** The hypervisor module that signed: instance id, then `-enc` or `-tpm` and an id. */
  readonly moduleId: string;
  /** When the hypervisor made the document, milliseconds since 1970. */
  readonly timestamp: number;
  /** SHA-384 registers by index. An enclave has 16 or more, a TPM 24. */
  readonly pcrs: ReadonlyMap<number, Uint8Array>;
  /** DER certificate of the signing key. */
  readonly certificate: Uint8Array;
  /** DER certificates above it, root first. */
  readonly cabundle: readonly Uint8Array[];
  /** The next three are chosen by the software that asked; undefined where it gave none. */
  readonly publicKey: Uint8Array | undefined;
  readonly userData: Uint8Array | undefined;
  readonly nonce: Uint8Array | undefined;
  /** Protected header and payload as received: the signature covers these bytes. */
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  /** `r || s`, 48 bytes each. */
  readonly signature: Uint8Array;
}

/**
 * Parses an attestation document of Nitro Enclaves or NitroTPM: a COSE_Sign1, with or without tag 18, around a CBOR
 * map of definite or indefinite length. Refused is what AWS's specification does not name: other algorithms, other
 * members, a member twice, other types or sizes, bytes after the end. Optional members are absent or null.
 */
export function parseNitroDocument(bytes: Uint8Array): NitroDocument {
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    throw malformed(`has ${bytes.length} bytes, more than ${MAX_DOCUMENT_BYTES}`);
  }
  const envelope = parseForeignSign1(bytes);
  const payload = checkEnvelope(envelope);
  const members = readMembers(payload);
  const kind = readKind(members);
  return {
    kind,
    moduleId: readModuleId(members.get('module_id')),
    timestamp: readTimestamp(members.get('timestamp')),
    pcrs: readPcrs(members.get(PCR_MEMBER[kind]), PCR_MEMBER[kind]),
    certificate: readBytes(members.get('certificate'), 'certificate', 1, MAX_CERTIFICATE_BYTES),
    cabundle: readBundle(members.get('cabundle')),
    publicKey: readOptional(members, 'public_key', 1),
    userData: readOptional(members, 'user_data', 0),
    nonce: readOptional(members, 'nonce', 0),
    protectedBytes: envelope.protectedBytes,
    payload,
    signature: envelope.signature,
  };
}

/** Exactly `{1: -35}` protected and nothing unprotected: no header may offer another algorithm or key. */
function checkEnvelope(envelope: ForeignSign1): Uint8Array {
  const { protectedHeader, unprotectedHeader, payload, signature } = envelope;
  const algorithm = protectedHeader.get(HEADER.alg);
  if (algorithm !== ES384) {
    const detail = `the attestation document names algorithm ${String(algorithm)}, not ${ES384} (ES384)`;
    throw new Refusal('ALGORITHM_MISMATCH', detail);
  }
  if (protectedHeader.size !== 1) throw malformed('has protected headers besides the algorithm');
  if (unprotectedHeader.size !== 0) throw malformed('has unprotected headers');
  if (signature.length !== SIGNATURE_BYTES) {
    throw malformed(`has a signature of ${signature.length} bytes, not ${SIGNATURE_BYTES}`);
  }
  if (payload === undefined || payload.length === 0 || payload.length > MAX_PAYLOAD_BYTES) {
    throw malformed(`has a payload of ${payload?.length ?? 0} bytes, not 1 to ${MAX_PAYLOAD_BYTES}`);
  }
  return payload;
}

/** `decodeForeign` refuses a key twice and bytes after the map. */
function readMembers(payload: Uint8Array): ReadonlyMap<unknown, unknown> {
  const members = decodeForeign(payload, { maxDepth: 4, maxBytes: MAX_PAYLOAD_BYTES });
  if (!(members instanceof Map)) throw malformed('is not a map');
  for (const key of members.keys()) {
    if (!MEMBERS.includes(key)) {
      throw malformed(`has the unknown member ${JSON.stringify(String(key).slice(0, 40))}`);
    }
  }
  if (members.get('digest') !== 'SHA384') throw malformed('does not name digest SHA384');
  return members;
}

function readKind(members: ReadonlyMap<unknown, unknown>): NitroKind {
  const [kind, second] = (['enclave', 'tpm'] as const).filter((item) => members.has(PCR_MEMBER[item]));
  if (kind === undefined) throw malformed('has no registers');
  if (second !== undefined) throw malformed('has registers of both an enclave and a TPM');
  return kind;
}

function readModuleId(value: unknown): string {
  if (typeof value === 'string' && MODULE_ID.test(value)) return value;
  throw malformed('member module_id is not 1 to 256 printable characters');
}

/** The decoder gives integers of 64 bits as BigInt, as AWS writes this one. */
function readTimestamp(value: unknown): number {
  const time = typeof value === 'bigint' ? Number(value) : value;
  if (typeof time === 'number' && Number.isInteger(time) && time > 0 && time <= MAX_TIME) return time;
  throw malformed('member timestamp is not a positive number of milliseconds');
}

function readPcrs(value: unknown, member: string): ReadonlyMap<number, Uint8Array> {
  if (!(value instanceof Map) || value.size === 0 || value.size > MAX_PCRS) {
    throw malformed(`member ${member} is not a map of 1 to ${MAX_PCRS} registers`);
  }
  const pcrs = new Map<number, Uint8Array>();
  for (const [index, register] of value as ReadonlyMap<unknown, unknown>) {
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index >= MAX_PCRS) {
      throw malformed(`member ${member} has an index outside 0 to ${MAX_PCRS - 1}`);
    }
    pcrs.set(index, readBytes(register, `PCR${index}`, PCR_BYTES, PCR_BYTES));
  }
  return pcrs;
}

function readBundle(value: unknown): readonly Uint8Array[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_BUNDLE) {
    throw malformed(`member cabundle is not an array of 1 to ${MAX_BUNDLE} certificates`);
  }
  return value.map((item: unknown, i) => readBytes(item, `cabundle ${i}`, 1, MAX_CERTIFICATE_BYTES));
}

function readOptional(
  members: ReadonlyMap<unknown, unknown>,
  member: string,
  minimum: number,
): Uint8Array | undefined {
  const value = members.get(member);
  if (value === null || !members.has(member)) return undefined;
  return readBytes(value, member, minimum, MAX_OPTIONAL_BYTES);
}

/** The decoder returns Buffer on Node: every runtime gets the same plain view. */
function readBytes(value: unknown, what: string, minimum: number, maximum: number): Uint8Array {
  const inRange = value instanceof Uint8Array && value.length >= minimum && value.length <= maximum;
  if (inRange) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const size = minimum === maximum ? `${minimum}` : `${minimum} to ${maximum}`;
  throw malformed(`member ${what} is not a byte string of ${size} bytes`);
}

function malformed(problem: string): Refusal {
  return new Refusal('MALFORMED', `the attestation document ${problem}`);
}
