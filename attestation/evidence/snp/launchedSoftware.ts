import type { Check } from '../../checks.ts';
import { conclude, judgeReference, type Finding } from '../../policy/finding.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import { judgeIdBlock } from './idBlock.ts';
import type { SnpReport } from './parse.ts';
import type { VerifiedSnp } from './verify.ts';

/**
 * What was launched: by its measurement, or by the key that signed the measurement into the ID block. A policy that
 * accepts any measurement and any signer proves no software, whatever else it demands.
 */
export function checkMeasurement({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const findings = [
    judgeReference('launch measurement', report.measurement, policy.measurements),
    ...judgeHostData(report, policy),
    ...judgeIdBlock(report, policy),
  ];
  const named = policy.measurements !== 'any' || policy.idBlock !== 'any';
  return conclude('cpu.measurement', 'cpu', findings, named);
}

/** The host gives it at launch and cannot change it: measured code compares what it gets later with it. */
function judgeHostData({ hostData: seen }: SnpReport, { hostData }: SnpPolicy): readonly Finding[] {
  return hostData === 'any' ? [] : [judgeReference('host data', seen, hostData)];
}
