import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import { type DeviceReport, parseDeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';

/** Finds the nonce again inside a report: a driver may answer with an older one, or with one for somebody else. */
export function readNoncedReport(
  bytes: Uint8Array,
  kind: 'gpu' | 'switch',
  nonce: Uint8Array,
  device: string,
): DeviceReport {
  const report = readEvidence(`the report of ${device}`, () => parseDeviceReport(bytes, kind));
  if (!equalBytes(report.nonce, nonce)) {
    const reason = `the report of ${device} is for nonce ${toHex(report.nonce)}, wanted ${toHex(nonce)}`;
    throw new CollectError('EVIDENCE_MISMATCH', reason);
  }
  return report;
}
