import { toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { Reference, SnpPolicy } from '../../policy/policy.ts';
import { formatTcb, type SnpTcb } from './product.ts';
import type { VerifiedSnp } from './verify.ts';

const SUBJECT = 'cpu';

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

function checkDebug({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.debug';
  const bit = `bit 19 of guest policy 0x${report.policy.raw.toString(16)}`;
  if (!report.policy.debug) return pass(id, SUBJECT, `${bit} is 0: debugging is off`);
  if (policy.debug === 'refused') return fail(id, SUBJECT, 'DEBUG_ENABLED', `${bit} is 1: debugging is on`);
  return skip(id, SUBJECT, 'NOT_REQUIRED', `${bit} is 1: debugging is on, which the policy accepts`);
}

function checkGuestPolicy({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.guest-policy';
  const { raw, migrationAgent, smt } = report.policy;
  const violations: string[] = [];
  if (migrationAgent && policy.migration === 'refused') violations.push('a migration agent (bit 18)');
  if (smt && policy.smt === 'refused') violations.push('simultaneous multithreading (bit 16)');
  const seen = `guest policy 0x${raw.toString(16)}`;
  if (violations.length > 0) {
    return fail(id, SUBJECT, 'GUEST_POLICY_VIOLATED', `${seen} allows ${violations.join(' and ')}`);
  }
  const allowed = (bit: boolean) => (bit ? 'allowed' : 'not allowed');
  return pass(id, SUBJECT, `${seen}: migration ${allowed(migrationAgent)}, multithreading ${allowed(smt)}`);
}

function checkPrivilege({ report }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.privilege';
  const seen = `requested at VMPL ${report.vmpl}; the policy names ${policy.vmpls.join(', ')}`;
  return policy.vmpls.includes(report.vmpl)
    ? pass(id, SUBJECT, seen)
    : fail(id, SUBJECT, 'PRIVILEGE_LEVEL_MISMATCH', seen);
}

/** The reported TCB is the one the signing key was derived from: older firmware cannot sign with that key. */
function checkTcb({ tcb: { reported } }: VerifiedSnp, { minimumTcb }: SnpPolicy): Check {
  const id = 'cpu.tcb';
  if (minimumTcb === 'any') {
    return skip(
      id,
      SUBJECT,
      'NOT_REQUIRED',
      `reported TCB ${formatTcb(reported)}; the policy sets no minimum`,
    );
  }
  const names = ['fmc', 'bootloader', 'tee', 'snp', 'microcode'] as const;
  const behind = names.filter((name) => (reported[name] ?? minimumTcb[name]) < minimumTcb[name]);
  const floor: SnpTcb = { ...minimumTcb, fmc: reported.fmc === undefined ? undefined : minimumTcb.fmc };
  const seen = `reported TCB ${formatTcb(reported)}; minimum ${formatTcb(floor)}`;
  return behind.length === 0
    ? pass(id, SUBJECT, seen)
    : fail(id, SUBJECT, 'TCB_OUT_OF_DATE', `${behind.join(', ')} behind: ${seen}`);
}

function checkIdentity({ report, product, vek }: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.identity';
  const chipId = toHex(report.chipId);
  if (!policy.products.includes(product)) {
    const reason = `the chip is of ${product}; the policy names ${policy.products.join(', ')}`;
    return fail(id, SUBJECT, 'DEVICE_NOT_ALLOWED', reason);
  }
  if (!policy.endorsementKeys.includes(vek.kind)) {
    const reason = `signed by a ${vek.kind}; the policy names ${policy.endorsementKeys.join(', ')}`;
    return fail(id, SUBJECT, 'UNTRUSTED_KEY', reason);
  }
  if (policy.chipIds === 'any') {
    return pass(id, SUBJECT, `${product}, ${vek.kind}, chip ${chipId}; the policy allows any chip`);
  }
  return vek.kind === 'vcek' && policy.chipIds.includes(chipId)
    ? pass(id, SUBJECT, `${product}, ${vek.kind}, chip ${chipId} is listed`)
    : fail(id, SUBJECT, 'DEVICE_NOT_ALLOWED', `chip ${chipId} is not among ${policy.chipIds.length} listed`);
}

function checkMeasurement({ report }: VerifiedSnp, { measurements }: SnpPolicy): Check {
  const id = 'cpu.measurement';
  const seen = toHex(report.measurement);
  if (measurements === 'any') {
    return skip(id, SUBJECT, 'NOT_REQUIRED', `launch measurement ${seen}; the policy accepts any`);
  }
  const known = measurements.find(({ value }) => value === seen);
  if (known) return pass(id, SUBJECT, `launch measurement ${seen} is ${known.name}`);
  const nearest = nearestReference(seen, measurements);
  if (!nearest) {
    return fail(id, SUBJECT, 'REFERENCE_VALUES_MISSING', `no reference value for launch measurement ${seen}`);
  }
  const reason = `launch measurement is ${seen}; nearest of ${measurements.length} is ${nearest.name}: ${nearest.value}`;
  return fail(id, SUBJECT, 'MEASUREMENT_MISMATCH', reason);
}

/** The reference with most hex digits in place: it exposes a value that was copied wrongly or cut. */
function nearestReference(seen: string, references: readonly Reference[]): Reference | undefined {
  const common = ({ value }: Reference) => Array.from(value).filter((digit, i) => digit === seen[i]).length;
  return references.toSorted((a, b) => common(b) - common(a))[0];
}
