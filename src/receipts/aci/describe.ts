import { ACI_VERSION, type AciKeyset } from '../../../attestation/aci/keyset.ts';
import { toBase64, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';

/** What the operator states of the source; nothing vouches for it. */
export interface AciProvenance {
  readonly repoUrl?: string | undefined;
  readonly repoCommit?: string | undefined;
  readonly imageDigest?: string | undefined;
}

/** A CPU report as a report of ACI has it. */
export interface AciEvidence {
  readonly teeType: 'tdx' | 'sev_snp';
  readonly evidence: object;
}

/** Thrown where the platform has no report that ACI knows. */
export class AciPlatformError extends Error {
  constructor(platform: string) {
    super(`evidence of ${platform} has no form in ACI`);
    this.name = 'AciPlatformError';
  }
}

interface ReportParts {
  readonly keyset: AciKeyset;
  readonly digest: string;
  readonly reportData: Uint8Array;
  readonly provenance: AciProvenance;
}

/** `GET /v1/aci/attestation` (ACI section 4.1). */
export function describeReport(
  { keyset, digest, reportData, provenance }: ReportParts,
  { teeType, evidence }: AciEvidence,
): object {
  return {
    api_version: ACI_VERSION,
    workload_keyset_digest: digest,
    attestation: {
      tee_type: teeType,
      workload_keyset: keyset,
      report_data: toHex(reportData.subarray(0, 32)),
      source_provenance: {
        repo_url: provenance.repoUrl ?? null,
        repo_commit: provenance.repoCommit ?? null,
        image_digest: provenance.imageDigest ?? null,
        image_provenance: null,
      },
      evidence,
    },
    service_capabilities: { supported_e2ee_versions: [], serving: 'direct' },
  };
}

/** `simulated` is said in words: ACI has none for it. Throws `AciPlatformError`. */
export function describeEvidence(cpu: CpuEvidence, reportData: Uint8Array, simulated: boolean): AciEvidence {
  const hardware = simulated ? 'SIMULATED' : 'hardware';
  if (cpu.platform === 'tdx') {
    const quote = { quote: toHex(cpu.report), quote_report_data: toHex(reportData) };
    return { teeType: 'tdx', evidence: { hardware, ...quote } };
  }
  if (cpu.platform === 'snp') {
    const certificates_b64 = cpu.certificates.map(toBase64);
    return { teeType: 'sev_snp', evidence: { hardware, report_b64: toBase64(cpu.report), certificates_b64 } };
  }
  throw new AciPlatformError(cpu.platform);
}
