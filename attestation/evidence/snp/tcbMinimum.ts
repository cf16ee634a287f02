import type { Check } from '../../checks.ts';
import { conclude, kept, violated, type Finding } from '../../policy/finding.ts';
import type { SnpPolicy, SnpTcbMinimum } from '../../policy/snp.ts';
import type { FirmwareVersion, SnpReport } from './parse.ts';
import { formatTcb, type SnpTcb } from './product.ts';
import type { VerifiedSnp } from './verify.ts';

/**
 * The firmware levels. The reported TCB is the one that the signing key was derived from: older firmware cannot
 * sign with that key. All else is what the firmware of that level says of itself, so without a minimum of the
 * reported TCB nothing is proved, though any other rule can still refuse.
 */
export function checkTcb(verified: VerifiedSnp, policy: SnpPolicy): Check {
  const id = 'cpu.tcb';
  const findings = [
    ...(['reported', 'committed', 'launch'] as const).flatMap((level) => judgeTcb(level, verified, policy)),
    ...judgeFirmware(verified, policy),
    ...judgeMitigations('launch', verified.report.launchMitigations, verified.report, policy),
    ...judgeMitigations('current', verified.report.currentMitigations, verified.report, policy),
  ];
  if (policy.minimumTcb.reported !== 'any') return conclude(id, 'cpu', findings, true);
  const seen = `reported TCB ${formatTcb(verified.tcb.reported)}; the policy sets no minimum for it`;
  return conclude(id, 'cpu', [kept(seen), ...findings], false);
}

function judgeTcb(
  level: 'reported' | 'committed' | 'launch',
  verified: VerifiedSnp,
  { minimumTcb }: SnpPolicy,
): readonly Finding[] {
  const minimums = minimumTcb[level];
  if (minimums === 'any') return [];
  const ours = minimums.filter((minimum) => isFor(minimum, verified));
  if (ours.length > 0) return ours.map((minimum) => compareTcb(level, verified.tcb[level], minimum));
  const { product, report } = verified;
  const reason = `no minimum of the ${level} TCB is given for ${product}${cpuidText(report)}`;
  return [violated('REFERENCE_VALUES_MISSING', reason)];
}

/** A report that does not state its CPUID meets every minimum of its product: it may be of any of these chips. */
function isFor(
  { product, cpuid }: SnpTcbMinimum,
  { product: seen, report }: Pick<VerifiedSnp, 'product' | 'report'>,
): boolean {
  if (product !== seen) return false;
  if (cpuid === 'any' || !report.cpuid) return true;
  return cpuid.model === report.cpuid.model && cpuid.stepping === report.cpuid.stepping;
}

function cpuidText({ cpuid }: SnpReport): string {
  return cpuid ? ` model 0x${cpuid.model.toString(16)} stepping ${cpuid.stepping}` : '';
}

function compareTcb(level: string, seen: SnpTcb, minimum: SnpTcbMinimum): Finding {
  const floor: SnpTcb = { ...minimum, fmc: minimum.product === 'turin' ? minimum.fmc : undefined };
  const names = ['fmc', 'bootloader', 'tee', 'snp', 'microcode'] as const;
  const behind = names.filter((name) => (seen[name] ?? 0) < (floor[name] ?? 0));
  const reason = `${level} TCB ${formatTcb(seen)}; minimum ${formatTcb(floor)}`;
  return behind.length === 0
    ? kept(reason)
    : violated('TCB_OUT_OF_DATE', `${behind.join(', ')} behind: ${reason}`);
}

/** The committed version: the host can no longer load an older one. */
function judgeFirmware({ report, product }: VerifiedSnp, { minimumFirmware }: SnpPolicy): readonly Finding[] {
  if (minimumFirmware === 'any') return [];
  const seen = report.committedVersion;
  const minimum = minimumFirmware.find((candidate) => candidate.product === product);
  if (!minimum) {
    return [violated('REFERENCE_VALUES_MISSING', `no minimum firmware version is given for ${product}`)];
  }
  const reason = `committed firmware ${versionText(seen)}; minimum ${versionText(minimum)}`;
  return [isOlder(seen, minimum) ? violated('TCB_OUT_OF_DATE', `firmware behind: ${reason}`) : kept(reason)];
}

function isOlder(a: FirmwareVersion, b: FirmwareVersion): boolean {
  if (a.major !== b.major) return a.major < b.major;
  return a.minor === b.minor ? a.build < b.build : a.minor < b.minor;
}

function versionText({ major, minor, build }: FirmwareVersion): string {
  return `${major}.${minor}.${build}`;
}

function judgeMitigations(
  when: 'launch' | 'current',
  vector: bigint | undefined,
  { version }: SnpReport,
  { requiredMitigations }: SnpPolicy,
): readonly Finding[] {
  const bits = requiredMitigations[when];
  if (bits === 'any') return [];
  if (vector === undefined) {
    const reason = `a report of version ${version} states no ${when} mitigations, ${bits.join(', ')} are required`;
    return [violated('TCB_OUT_OF_DATE', reason)];
  }
  const wanting = bits.filter((bit) => ((vector >> BigInt(bit)) & 1n) === 0n);
  const seen = `${when} mitigations 0x${vector.toString(16)}`;
  return [
    wanting.length === 0
      ? kept(`${seen} have ${bits.join(', ')}`)
      : violated('TCB_OUT_OF_DATE', `${seen} lack ${wanting.join(', ')}`),
  ];
}
