import { concat } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { decodeForeign } from '../../../attestation/cbor/foreign.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';

/*
 * Requests and answers of the Nitro Security Module (aws-nitro-enclaves-nsm-api, api/mod.rs): a request is a map of its
 * name to its members, or its name alone; so is an answer, or a map of `Error` to the name of an error.
 */

/** Most that the driver takes and gives (Linux, include/uapi/linux/nsm.h). */
export const MAX_REQUEST_BYTES = 0x1000;
export const MAX_RESPONSE_BYTES = 0x3000;
const NULL = Uint8Array.of(0xf6);
const MAP_OF_ONE = Uint8Array.of(0xa1);
const MAP_OF_THREE = Uint8Array.of(0xa3);
const WHAT = 'the answer of the security module';
const MODULE_ID = /^[\x21-\x7e]{1,256}$/;
const MAX_PCRS = 32;

export type NsmName = 'Attestation' | 'DescribeNSM';

/** What a document is to carry besides the registers; absent is null. */
export interface AttestationAsk {
  readonly userData?: Uint8Array;
  readonly publicKey?: Uint8Array;
}

export function encodeAttestation({ userData, publicKey }: AttestationAsk): Uint8Array {
  const optional = (bytes: Uint8Array | undefined) => (bytes ? encodeDc(bytes) : NULL);
  return concat(
    ...[MAP_OF_ONE, encodeDc('Attestation'), MAP_OF_THREE],
    ...[encodeDc('user_data'), optional(userData)],
    ...[encodeDc('nonce'), NULL],
    ...[encodeDc('public_key'), optional(publicKey)],
  );
}

export function encodeDescription(): Uint8Array {
  return encodeDc('DescribeNSM');
}

/** The members of the answer to a request of this name. */
function readAnswer(bytes: Uint8Array, name: NsmName): ReadonlyMap<unknown, unknown> {
  const answer = decodeForeign(bytes, { maxDepth: 3, maxBytes: MAX_RESPONSE_BYTES });
  const map =
    answer instanceof Map && answer.size === 1 ? (answer as ReadonlyMap<unknown, unknown>) : undefined;
  const error = map?.get('Error');
  if (typeof error === 'string') {
    const said = JSON.stringify(error.slice(0, 40));
    throw new CollectError('DEVICE_REFUSED', `the security module answered ${name} with the error ${said}`);
  }
  const members: unknown = map?.get(name);
  if (members instanceof Map) return members;
  throw new Refusal('MALFORMED', `it is no answer to ${name}`);
}

/** The attestation document in an answer, as bytes of its own. */
export function readAttestation(bytes: Uint8Array): Uint8Array {
  return readEvidence(WHAT, () => {
    const document = readAnswer(bytes, 'Attestation').get('document');
    if (document instanceof Uint8Array && document.length > 0) return new Uint8Array(document);
    throw new Refusal('MALFORMED', 'it has no document');
  });
}

/** What the module says of itself; nothing signs it. */
export interface NsmDescription {
  readonly version: string;
  /** Instance id, `-enc` and id of the enclave. */
  readonly moduleId: string;
  readonly digest: string;
  readonly maxPcrs: number;
  /** Registers that the enclave cannot change any more. */
  readonly lockedPcrs: readonly number[];
}

export function readDescription(bytes: Uint8Array): NsmDescription {
  return readEvidence(WHAT, () => {
    const members = readAnswer(bytes, 'DescribeNSM');
    const count = (name: string, limit: number) => readCount(members.get(name), name, limit);
    const version = ['version_major', 'version_minor', 'version_patch'].map((name) => count(name, 0xffff));
    const [moduleId, digest, locked] = ['module_id', 'digest', 'locked_pcrs'].map((name) =>
      members.get(name),
    );
    if (typeof moduleId !== 'string' || !MODULE_ID.test(moduleId)) {
      throw new Refusal('MALFORMED', 'module_id is no identifier');
    }
    if (digest !== 'SHA256' && digest !== 'SHA384' && digest !== 'SHA512') {
      throw new Refusal('MALFORMED', 'digest is no name of a hash');
    }
    if (!Array.isArray(locked) || locked.length > MAX_PCRS) {
      throw new Refusal('MALFORMED', `locked_pcrs is no list of at most ${MAX_PCRS} registers`);
    }
    const lockedPcrs = locked.map((index: unknown) => readCount(index, 'locked_pcrs', MAX_PCRS - 1));
    return {
      version: version.join('.'),
      moduleId,
      digest,
      maxPcrs: count('max_pcrs', MAX_PCRS),
      lockedPcrs,
    };
  });
}

function readCount(value: unknown, name: string, limit: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= limit) return value;
  throw new Refusal('MALFORMED', `${name} is no number from 0 to ${limit}`);
}
