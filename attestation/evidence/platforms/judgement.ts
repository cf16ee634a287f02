import type { Anchor } from '../../anchors.ts';
import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { fail, pass, type Check, type CheckId } from '../../checks.ts';
import { notReached } from '../../verdict/steps.ts';

/** What a platform's evidence came to. */
export interface CpuJudgement {
  /** In the order of the list of checks of that platform. */
  readonly checks: readonly Check[];
  /** The anchors that its chains led to; empty where it did not verify. */
  readonly anchors: readonly Anchor[];
  /** What names the machine: chip id, PPID, module id or attestation key. Undefined where it did not verify. */
  readonly machine: Uint8Array | undefined;
  /** Registers of measured boot under the hardware's signature, for a boot log to be replayed to. */
  readonly registers?: BootRegisters | undefined;
}

export interface BootRegisters {
  readonly kind: 'pcr' | 'rtmr';
  /** Not SHA-1: two logs can be made that lead to one value. */
  readonly bank: 'sha256' | 'sha384' | 'sha512';
  /** PCRs, or RTMRs 0 to 3. */
  readonly values: ReadonlyMap<number, Uint8Array>;
}

const NOT_REACHED = 'the CPU report did not verify';

export const NOT_VERIFIED = { anchors: [], machine: undefined } as const;

/** The 64 bytes that the statement and the device reports give must be those in the report, once it has verified. */
export function checkReportData(
  received: Uint8Array | undefined,
  expected: Uint8Array,
  subject: string,
): Check {
  const id = 'cpu.binding';
  if (!received) return notReached(id, subject, NOT_REACHED);
  if (equalBytes(received, expected)) {
    return pass(id, subject, 'report data commits to the statement and the devices');
  }
  const reason = `report data is ${toHex(received)}, the statement and devices give ${toHex(expected)}`;
  return fail(id, subject, 'BINDING_MISMATCH', reason);
}

/** Checks that a policy decides of a hardware report. */
const APPRAISED: readonly CheckId[] = [
  'cpu.debug',
  'cpu.guest-policy',
  'cpu.privilege',
  'cpu.tcb',
  'cpu.identity',
  'cpu.measurement',
];

/** The checks under the policy; not reached where the report did not verify. */
export function appraiseReport<Verified extends object>(
  subject: string,
  verified: Verified | undefined,
  appraise: (verified: Verified) => readonly Check[],
): readonly Check[] {
  if (!verified) return APPRAISED.map((id) => notReached(id, subject, NOT_REACHED));
  return appraise(verified).map((check) => ({ ...check, subject }));
}

/** Steps of refused evidence: which lists were looked at before is not known, so that nothing passes for it. */
export function withoutRevocation(checks: readonly Check[]): readonly Check[] {
  return checks.map((check) => {
    const { id, subject, result } = check;
    return id === 'cpu.revocation' && result === 'pass'
      ? notReached(id, subject, 'the evidence was refused')
      : check;
  });
}
