import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import { parseThimCertificates } from '../../../attestation/evidence/snp/thim.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import { askMetadata, unreachable, type MetadataOptions } from './metadata.ts';

export const CERTIFICATION_PATH = '/metadata/THIM/amd/certification';
/** Three certificates in PEM: about 7 KB. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** The one algorithm of SNP reports. */
const REPORT_SIGNATURE = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' } as const;

/** Certificates of the key that signs the reports of this machine, asked for again when it is another. */
export class VcekSource {
  readonly #metadata: MetadataOptions;
  #cached: readonly Uint8Array[] | undefined;

  constructor(metadata: MetadataOptions) {
    this.#metadata = metadata;
  }

  /** VCEK, ASK and ARK in DER for an SNP report. A host that sends those of another chip is not believed. */
  async certificatesFor(snpReport: Uint8Array): Promise<readonly Uint8Array[]> {
    if (this.#cached && (await isSignedBy(snpReport, this.#cached))) return this.#cached;
    const answer = await askMetadata(this.#metadata, { path: CERTIFICATION_PATH, maximum: MAX_ANSWER_BYTES });
    const certificates = readCertificates(answer);
    if (!(await isSignedBy(snpReport, certificates))) {
      throw new CollectError(
        'EVIDENCE_MISMATCH',
        'the VCEK of the host is not of the key that signed the SNP report',
      );
    }
    this.#cached = certificates;
    return certificates;
  }
}

async function isSignedBy(snpReport: Uint8Array, [vcek]: readonly Uint8Array[]): Promise<boolean> {
  if (!vcek) return false;
  const { signedBytes, signature } = readEvidence('the SNP report', () => parseSnpReport(snpReport));
  const { spki } = readEvidence('the VCEK', () => parseCertificate(vcek));
  try {
    return await nodeCrypto.verify(REPORT_SIGNATURE, spki, signedBytes, signature);
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function readCertificates(answer: Uint8Array): readonly Uint8Array[] {
  try {
    return parseThimCertificates(answer).certificates;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw unreachable(CERTIFICATION_PATH, `sent no certificates: ${error.message}`, error);
  }
}
