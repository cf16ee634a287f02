import { toBase64 } from '../../../attestation/bytes/bytes.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { ReleaseError } from './errors.ts';
import type { TrusteeOptions } from './trustee.ts';

/** Evidence over 64 bytes of report data, of nobody else's making: calls are serial with those of the service. */
export type CollectCpu = (reportData: Uint8Array) => Promise<CpuEvidence>;

/**
 * How a TDX machine attests to Trustee: the quote and the CC event log of ACPI, in base64 (`TdxEvidence` of
 * confidential-containers/guest-components). Other TEEs have JSON forms of libraries that nobody has written down.
 */
export function tdxToTrustee(
  collect: CollectCpu,
  eventLog: () => Promise<Uint8Array | undefined>,
): Pick<TrusteeOptions, 'tee' | 'attest'> {
  return {
    tee: 'tdx',
    attest: async (reportData) => {
      const evidence = await collect(reportData);
      if (evidence.platform !== 'tdx') {
        throw new ReleaseError(
          'ATTESTATION_FAILED',
          `evidence of ${evidence.platform} has no form for Trustee here`,
        );
      }
      const log = await eventLog();
      return {
        primary: { cc_eventlog: log ? toBase64(log) : null, quote: toBase64(evidence.report) },
      };
    },
  };
}
