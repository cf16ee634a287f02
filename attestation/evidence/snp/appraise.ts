import { fail, pass, type Check } from '../../checks.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import { checkIdentity } from './chipIdentity.ts';
import { checkDebug, checkGuestPolicy } from './guestPolicy.ts';
import { checkMeasurement } from './launchedSoftware.ts';
import { checkTcb } from './tcbMinimum.ts';
import type { VerifiedSnp } from './verify.ts';

/** Judges a verified report under the policy. The checks come in the order of the list of checks. */
export function appraiseSnp(verified: VerifiedSnp, policy: SnpPolicy): readonly Check[] {
  return [
    checkDebug(verified, policy),
    checkGuestPolicy(verified, policy),
    checkPrivilege(verified, policy),
    checkTcb(verified, policy),
    checkIdentity(verified, policy),
    checkMeasurement(verified, policy),
  ];
}

function checkPrivilege({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.privilege';
  const seen = `requested at VMPL ${report.vmpl}; the policy names ${policy.vmpls.join(', ')}`;
  return policy.vmpls.includes(report.vmpl)
    ? pass(id, 'cpu', seen)
    : fail(id, 'cpu', 'PRIVILEGE_LEVEL_MISMATCH', seen);
}
