import { isZero, toHex } from '../../bytes/bytes.ts';
import type { Check } from '../../checks.ts';
import {
  conclude,
  judgeDebugBit,
  judgeReference,
  kept,
  violated,
  waived,
  type Finding,
} from '../../policy/finding.ts';
import type { TdxPolicy } from '../../policy/tdx.ts';
import { judgeMask, judgeProtection, judgeWeakness } from '../dcap/attributeRules.ts';
import { checkIdentity } from '../dcap/identityCheck.ts';
import { checkTcb } from '../dcap/tcbCheck.ts';
import { hasAttribute, unknownAttributes, type TdAttribute } from './attributes.ts';
import type { TdReport } from './parse.ts';
import type { VerifiedTdx } from './verify.ts';

/** Judges a verified TD under the policy. The checks come in the order of the list of checks. */
export function appraiseTdx(verified: VerifiedTdx, policy: TdxPolicy): readonly Check[] {
  const { report, quote } = verified;
  const firmware = { qeIsvSvn: quote.signature.qeReport.isvSvn, tdxModule: report };
  return [
    checkDebug(report, policy),
    checkGuestPolicy(report, policy),
    checkPrivilege(report, policy),
    checkTcb(verified, firmware, policy.tcb),
    checkIdentity(verified, policy.platform),
    checkMeasurement(report, policy),
  ];
}

function attributesText({ tdAttributes }: TdReport): string {
  return `TDATTRIBUTES 0x${tdAttributes.toString(16)}`;
}

function checkDebug(report: TdReport, policy: TdxPolicy): Check {
  const set = hasAttribute(report.tdAttributes, 'DEBUG');
  return judgeDebugBit(`bit 0 of ${attributesText(report)}`, set, policy.debug);
}

function checkGuestPolicy(report: TdReport, { attributes, xfam }: TdxPolicy): Check {
  const has = (name: TdAttribute) => hasAttribute(report.tdAttributes, name);
  const weakness = (name: TdAttribute, accepted: 'refused' | 'accepted') =>
    judgeWeakness(name, has(name), accepted);
  const protection = (name: TdAttribute, demanded: 'required' | 'any') =>
    judgeProtection(name, has(name), demanded);
  return conclude(
    'cpu.guest-policy',
    'cpu',
    [
      judgeUnknown(report),
      ...weakness('HGS_PLUS_PROF', attributes.hgsPlusProfiling),
      ...weakness('PERF_PROF', attributes.perfProfiling),
      ...weakness('PMT_PROF', attributes.pmtProfiling),
      ...protection('ICSSD', attributes.icssd),
      ...protection('SERVTD_EXT', attributes.servtdExt),
      ...protection('LASS', attributes.lass),
      ...protection('SEPT_VE_DISABLE', attributes.septVeDisable),
      ...weakness('MIGRATABLE', attributes.migratable),
      ...protection('PKS', attributes.pks),
      ...weakness('KL', attributes.keyLocker),
      ...weakness('TPA', attributes.tpa),
      ...weakness('PERFMON', attributes.perfmon),
      judgeMask('XFAM', report.xfam, xfam),
    ],
    true,
  );
}

function judgeUnknown(report: TdReport): Finding {
  const unknown = unknownAttributes(report.tdAttributes);
  const seen = attributesText(report);
  if (unknown === 0n) return kept(seen);
  return violated('GUEST_POLICY_VIOLATED', `${seen} has unknown bits 0x${unknown.toString(16)}`);
}

/** What stands above the TD: the TDX module, and service TDs that can reach into it. */
function checkPrivilege(report: TdReport, policy: TdxPolicy): Check {
  const serviceTd = judgeServiceTd(report, policy.mrServiceTd);
  const findings = [
    judgeReference('MRSEAM', report.mrSeam, policy.mrSeam),
    judgeZeroOr('MRSIGNERSEAM', report.mrSignerSeam, policy.mrSignerSeam),
    judgeZeroOr('SEAMATTRIBUTES', report.seamAttributes, policy.seamAttributes),
    serviceTd,
  ];
  return conclude('cpu.privilege', 'cpu', findings, serviceTd.kind === 'kept');
}

function judgeServiceTd({ mrServiceTd }: TdReport, accepted: TdxPolicy['mrServiceTd']): Finding {
  const name = 'MRSERVICETD';
  if (mrServiceTd)
    return judgeZeroOr(name, mrServiceTd, accepted === 'zero-when-present' ? 'zero' : accepted);
  const unstated = `a TD 1.0 body states no ${name}`;
  return accepted === 'any' || accepted === 'zero-when-present'
    ? waived(`${unstated}, which the policy accepts`)
    : violated('PRIVILEGE_LEVEL_MISMATCH', `${unstated}, which the policy pins`);
}

function judgeZeroOr(name: string, value: Uint8Array, accepted: 'zero' | TdxPolicy['mrSeam']): Finding {
  if (accepted !== 'zero') return judgeReference(name, value, accepted);
  if (isZero(value)) return kept(`${name} is zero`);
  return violated('PRIVILEGE_LEVEL_MISMATCH', `${name} is ${toHex(value)}, the policy demands zero`);
}

/**
 * MRTD is the virtual firmware alone; RTMR0 to RTMR2 are what it started. A pass needs the policy to name MRTD and at
 * least one of them: less does not say which software runs.
 */
function checkMeasurement(report: TdReport, policy: TdxPolicy): Check {
  const [rtmr0, rtmr1, rtmr2, rtmr3] = report.rtmrs;
  const firmware = judgeReference('MRTD', report.mrTd, policy.mrTd);
  const started = [
    judgeReference('RTMR0', rtmr0, policy.rtmr0),
    judgeReference('RTMR1', rtmr1, policy.rtmr1),
    judgeReference('RTMR2', rtmr2, policy.rtmr2),
  ];
  const rest = [
    judgeReference('RTMR3', rtmr3, policy.rtmr3),
    judgeReference('MRCONFIGID', report.mrConfigId, policy.mrConfigId),
    judgeReference('MROWNER', report.mrOwner, policy.mrOwner),
    judgeReference('MROWNERCONFIG', report.mrOwnerConfig, policy.mrOwnerConfig),
  ];
  const named = firmware.kind === 'kept' && started.some(({ kind }) => kind === 'kept');
  return conclude('cpu.measurement', 'cpu', [firmware, ...started, ...rest], named);
}
