import { equalBytes } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { readVekCertificate } from './certificate.ts';
import { parseSnpReport } from './parse.ts';

const CHAIN_CERTIFICATES = 3;
/** More than these would only serve to make the verifier work. */
const MAX_SUPPLIED = 64;

/**
 * The chain that the evidence carries, completed from certificates that came apart from it: AMD gives them out by
 * chip, hosts do not always. Chosen by chip, firmware level and name only; `verifySnp` judges what comes out.
 */
export function completeSnpChain(
  report: Uint8Array,
  carried: readonly Uint8Array[],
  supplied: readonly Uint8Array[],
): readonly Uint8Array[] {
  if (carried.length >= CHAIN_CERTIFICATES || supplied.length === 0) return carried;
  const pool = supplied.slice(0, MAX_SUPPLIED).flatMap(readable);
  const [first] = carried;
  const vek = first ? readable(first)[0] : pool.find((certificate) => endorses(certificate, report));
  const intermediate = vek && pool.find((candidate) => isIssuerOf(candidate, vek));
  const root = intermediate && pool.find((candidate) => isIssuerOf(candidate, intermediate));
  return root ? [vek.der, intermediate.der, root.der] : carried;
}

/** Whether the certificate is for the chip and the firmware level of the report. */
function endorses(certificate: Certificate, bytes: Uint8Array): boolean {
  try {
    const { hwid, tcb } = readVekCertificate(certificate);
    const { chipId, reportedTcb } = parseSnpReport(bytes);
    return (
      hwid !== undefined && equalBytes(chipId.subarray(0, hwid.length), hwid) && equalBytes(tcb, reportedTcb)
    );
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function isIssuerOf({ subjectName }: Certificate, { issuerName }: Certificate): boolean {
  return equalBytes(subjectName, issuerName);
}

function readable(der: Uint8Array): readonly Certificate[] {
  try {
    return [parseCertificate(der)];
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}
