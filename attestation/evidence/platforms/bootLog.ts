import { fail, pass, skip, type Check } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import type { CpuPolicy } from '../../policy/cpu.ts';
import { notReached } from '../../verdict/steps.ts';
import { registerName } from '../bootlog/log.ts';
import { parseBootLog } from '../bootlog/parse.ts';
import { checkBootLog, type BootLogJudgement } from '../bootlog/verify.ts';
import type { AppraisalContext } from '../context.ts';
import type { BootRegisters, CpuJudgement } from './judgement.ts';

const ID = 'cpu.boot-log';

/**
 * Registers that firmware extends and logs whole: PCR 0 to 7 (TCG PC Client Platform Firmware Profile, PCR usage) and
 * RTMR 0 and 1, to which the virtual firmware of a TD maps those (UEFI specification, confidential computing event
 * log). Others are extended by boot loaders, kernels and applications too, which need not write to the same log.
 */
const LAST_OF_FIRMWARE: Readonly<Record<BootRegisters['kind'], number>> = { pcr: 7, rtmr: 1 };

/** Whether the boot log that came with the evidence leads to the registers that the hardware signed. */
export function judgeBootLog(
  bytes: Uint8Array | undefined,
  { machine, registers }: Pick<CpuJudgement, 'machine' | 'registers'>,
  subject: string,
  { policy, crypto }: AppraisalContext,
): Check {
  if (!bytes) return absent(policy.cpu.bootLog, subject);
  if (!machine) return notReached(ID, subject, 'the CPU evidence did not verify');
  if (!registers) {
    const reason = 'this evidence signs no registers of measured boot: nothing proves the log';
    return fail(ID, subject, 'EVENT_LOG_MISMATCH', reason);
  }
  try {
    const log = parseBootLog(bytes, registers.kind);
    return describe(checkBootLog(log, registers.values, registers.bank, crypto), registers.kind, subject);
  } catch (error) {
    if (error instanceof Refusal) return fail(ID, subject, error.code, error.message);
    throw error;
  }
}

function absent(wanted: CpuPolicy['bootLog'], subject: string): Check {
  return wanted === 'required'
    ? fail(ID, subject, 'EVIDENCE_INCOMPLETE', 'the policy requires a boot log and there is none')
    : skip(ID, subject, 'NOT_REQUIRED', 'no boot log came with the evidence');
}

/** A log that leaves out a register of the firmware is not that of the whole boot: somebody cut it. */
function describe(judgement: BootLogJudgement, kind: BootRegisters['kind'], subject: string): Check {
  const { log, events, matched, unexplained, unjudged } = judgement;
  const names = (registers: readonly number[]) =>
    registers.map((register) => registerName(log, register)).join(', ');
  const cut = unexplained.filter((register) => register <= LAST_OF_FIRMWARE[kind]);
  if (cut.length > 0) {
    const reason = `the boot log says nothing of ${names(cut)}, which firmware extended`;
    return fail(ID, subject, 'EVENT_LOG_MISMATCH', reason);
  }
  if (matched.length === 0) {
    return fail(ID, subject, 'EVENT_LOG_MISMATCH', 'the boot log extends no signed register');
  }
  const reasons = [`${events.length} events in ${log.format} lead to ${names(matched)}`];
  if (unexplained.length > 0) reasons.push(`extended besides: ${names(unexplained)}`);
  if (unjudged.length > 0) reasons.push(`not signed, so not proved: ${names(unjudged)}`);
  return pass(ID, subject, reasons.join('; '));
}
