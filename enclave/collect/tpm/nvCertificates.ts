import { isZero } from '../../../attestation/bytes/bytes.ts';
import { readElement } from '../../../attestation/x509/der.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import { nvText, readNv } from './nv.ts';
import type { TpmSession } from './session.ts';

/** Bytes: more than four indices of a virtual TPM hold together. */
const MAX_BYTES = 8 * 1024;
const MAX_CERTIFICATES = 8;

/** Where a TPM keeps the certificates of its attestation key: of the index that the configuration names. */
export interface NvCertificates {
  readonly nvIndex: number;
}

/** Certificates as they were given, or those of an NV index in DER, one behind the other. Throws `CollectError`. */
export async function readCertificates(
  session: TpmSession,
  source: readonly Uint8Array[] | NvCertificates,
): Promise<readonly Uint8Array[]> {
  if (!('nvIndex' in source)) return source;
  const { nvIndex } = source;
  const content = await readNv(session, nvIndex, MAX_BYTES);
  if (!content)
    throw new CollectError('DEVICE_MISSING', `the TPM has nothing in NV index ${nvText(nvIndex)}`);
  const certificates = readEvidence(`NV index ${nvText(nvIndex)}`, () => splitCertificates(content));
  if (certificates.length > 0 && certificates.length <= MAX_CERTIFICATES) return certificates;
  const reason = `NV index ${nvText(nvIndex)} has ${certificates.length} certificates`;
  throw new CollectError('EVIDENCE_MALFORMED', reason);
}

/** Elements of DER, each with its length, and zeros to the end of the index. What they are, the verifier judges. */
export function splitCertificates(content: Uint8Array): readonly Uint8Array[] {
  const certificates: Uint8Array[] = [];
  for (let rest = content; !isZero(rest);) {
    const { encoded } = readElement(rest, 'certificate');
    certificates.push(encoded);
    rest = rest.subarray(encoded.length);
  }
  return certificates;
}
