import { toHex } from '../../bytes/bytes.ts';
import { pass, skip, type Check } from '../../checks.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import { failOf, kept, reasons, SUBJECT, type Finding } from './findings.ts';
import { judgeIdBlock } from './idBlock.ts';
import type { SnpReport } from './parse.ts';
import { judgeReference } from './references.ts';
import type { VerifiedSnp } from './verify.ts';

/**
 * What was launched: by its measurement, or by the key that signed the measurement into the ID block. A policy that
 * accepts any measurement and any signer proves no software, whatever else it demands.
 */
export function checkMeasurement({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.measurement';
  const findings = [
    judgeMeasurement(report, policy),
    ...judgeHostData(report, policy),
    ...judgeIdBlock(report, policy),
  ];
  const failed = failOf(id, findings);
  if (failed) return failed;
  return policy.measurements === 'any' && policy.idBlock === 'any'
    ? skip(id, SUBJECT, 'NOT_REQUIRED', reasons(findings))
    : pass(id, SUBJECT, reasons(findings));
}

function judgeMeasurement({ measurement }: SnpReport, { measurements }: SnpPolicy): Finding {
  return measurements === 'any'
    ? kept(`launch measurement ${toHex(measurement)}; the policy accepts any`)
    : judgeReference('launch measurement', measurement, measurements, 'MEASUREMENT_MISMATCH');
}

/** The host gives it at launch and cannot change it: measured code compares what it gets later with it. */
function judgeHostData({ hostData: seen }: SnpReport, { hostData }: SnpPolicy): readonly Finding[] {
  return hostData === 'any' ? [] : [judgeReference('host data', seen, hostData, 'MEASUREMENT_MISMATCH')];
}
