import { fail, pass, skip, type Check } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import type { QuoteTcbPolicy } from '../../policy/dcap.ts';
import { isoDay } from '../../x509/time.ts';
import { judgeTcb, type TcbJudgement, type TcbReport } from './tcbLevel.ts';
import { refusalOfStatus, type TcbStatus } from './tcbStatus.ts';
import type { VerifiedQuote } from './verify.ts';

const ID = 'cpu.tcb';
const DAY = 86_400_000;

/** Judges the firmware of the platform by Intel's statements under the policy. Without statements it never passes. */
export function checkTcb(
  { collateral }: Pick<VerifiedQuote, 'collateral'>,
  report: TcbReport,
  policy: QuoteTcbPolicy,
): Check {
  if (collateral instanceof Refusal) {
    return fail(ID, 'cpu', collateral.code, `the firmware level is not known: ${collateral.message}`);
  }
  const judged = judgeTcb(collateral, report);
  const seen = describe(judged);
  const { tcbEvaluationDataNumber: number } = judged;
  const least = policy.minimumEvaluationDataNumber;
  if (least !== 'any' && number < least) {
    return fail(ID, 'cpu', 'COLLATERAL_EXPIRED', `TCB evaluation ${number} is before ${least}: ${seen}`);
  }
  if (judged.status === 'UpToDate') return pass(ID, 'cpu', seen);
  const objection = objectionTo(judged.status, judged, policy);
  return objection
    ? fail(ID, 'cpu', refusalOfStatus(judged.status), `${objection}: ${seen}`)
    : skip(ID, 'cpu', 'NOT_REQUIRED', `the policy accepts ${judged.status}: ${seen}`);
}

/** Why the policy does not accept a status below `UpToDate`; undefined where it does. */
function objectionTo(status: TcbStatus, judged: TcbJudgement, policy: QuoteTcbPolicy): string | undefined {
  const accepted: readonly string[] = policy.statuses;
  if (!accepted.includes(status)) return `the policy accepts ${accepted.join(', ')}`;
  const { advisories, maximumDaysBehind: most } = policy;
  const open = advisories === 'any' ? [] : judged.advisoryIds.filter((id) => !advisories.includes(id));
  if (open.length > 0) return `the policy does not accept ${open.join(', ')}`;
  if (most === 'any') return undefined;
  const behind = daysBehind(judged);
  return behind === undefined || behind > most ? `the policy accepts ${most} days behind` : undefined;
}

/** Days from the oldest part that is not up to date to the newest level that Intel lists for any of them. */
function daysBehind({ platform, module, qe, current, newestTcbDate }: TcbJudgement): number | undefined {
  const dates: (number | undefined)[] = [];
  for (const part of [platform, module, qe, current?.platform, current?.module])
    if (part && part.status !== 'UpToDate') dates.push(part.tcbDate);
  const known = dates.filter((date) => date !== undefined);
  if (known.length < dates.length) return undefined;
  return known.length === 0 ? 0 : Math.max(0, Math.ceil((newestTcbDate - Math.min(...known)) / DAY));
}

function describe(judged: TcbJudgement): string {
  const { status, platform, module, qe, current, advisoryIds, newestTcbDate, levelsBehind } = judged;
  const behind = daysBehind(judged);
  const distance = behind === undefined ? 'unknown' : `${behind} days and ${levelsBehind ?? 0} levels`;
  const parts = [platform, module, qe].flatMap((part) => (part ? [part.reason] : []));
  const now = [current?.platform, current?.module].flatMap((part) => (part ? [part.reason] : []));
  const advisories = advisoryIds.length > 0 ? advisoryIds.join(', ') : 'none';
  return [
    status,
    ...parts,
    ...now.filter((reason) => !parts.includes(reason)).map((reason) => `now ${reason}`),
    `newest level of ${isoDay(newestTcbDate)}, behind by ${distance}`,
    `advisories: ${advisories}`,
    `evaluation ${judged.tcbEvaluationDataNumber}`,
  ].join('; ');
}
