import * as z from 'zod';
import { fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';
import { parsePemChain } from '../../x509/certificate.ts';

/** An answer has about 7 KB: three certificates. */
const MAX_BYTES = 64 * 1024;
const MAX_CA_CERTIFICATES = 4;

/**
 * Members of Azure's answer. Nobody signs it: what it has besides means nothing here and is passed over, like unknown
 * entries of a certificate table.
 */
const answer = z.object({
  vcekCert: z.string(),
  certificateChain: z.string(),
  /** TCB_VERSION that the VCEK is for, as one number: its highest byte first. */
  tcbm: z.string().regex(/^[0-9A-Fa-f]{16}$/, 'expected 16 hex digits'),
});

/** Certificates out of the cache of an Azure host, in the order in which `verifySnp` takes them. */
export interface ThimCertificates {
  /** DER: VCEK, ASK, ARK as the host has them. */
  readonly certificates: readonly Uint8Array[];
  /** What the host says that the VCEK is for, laid out as in reports; the certificate itself says it under AMD's key. */
  readonly tcb: Uint8Array;
}

/**
 * Parses the answer of Azure's host cache (THIM, `/metadata/THIM/amd/certification`): JSON with PEM certificates.
 * The host can withhold or exchange them, which the chain and the endorsement show.
 */
export function parseThimCertificates(bytes: Uint8Array): ThimCertificates {
  if (bytes.length > MAX_BYTES) {
    throw new Refusal('MALFORMED', `THIM answer of ${bytes.length} bytes exceeds ${MAX_BYTES}`);
  }
  const { vcekCert, certificateChain, tcbm } = readAnswer(bytes);
  const vcek = parsePemChain(vcekCert, 1);
  const issuers = parsePemChain(certificateChain, MAX_CA_CERTIFICATES);
  return {
    certificates: [...vcek, ...issuers].map(({ der }) => der),
    tcb: fromHex(tcbm.toLowerCase()).reverse(),
  };
}

function readAnswer(bytes: Uint8Array): z.infer<typeof answer> {
  const result = answer.safeParse(parseJson(bytes, 'the THIM answer'));
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `${path.join('.') || 'the whole'}: ${message}`,
  );
  throw new Refusal('MALFORMED', `THIM answer: ${problems.join('; ')}`);
}
