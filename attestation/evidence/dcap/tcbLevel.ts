import { equalBytes, toHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import type { VerifiedDcapCollateral } from './collateral.ts';
import type { PckIdentity } from './pck.ts';
import type { QeIdentity } from './qeIdentity.ts';
import { judgePart, type PartJudgement } from './partJudgement.ts';
import type { TcbInfo, TcbLevel } from './tcbInfo.ts';
import {
  adviseRelaunch,
  convergeStatus,
  enclaveStatusCounts,
  type EnclaveStatus,
  type ModuleStatus,
  type PlatformStatus,
  type TcbStatus,
} from './tcbStatus.ts';
import {
  judgeForeignModule,
  judgeModule,
  majorOf,
  maskBytes,
  type ModuleJudgement,
  type TdxModuleReport,
} from './tdxModule.ts';

/** What a verified quote states of firmware beside its PCK certificate. */
export interface TcbReport {
  /** ISVSVN of the quoting enclave. */
  readonly qeIsvSvn: number;
  /** TDX only. */
  readonly tdxModule?: TdxModuleReport | undefined;
}

export interface QeJudgement extends PartJudgement<EnclaveStatus> {
  readonly isvSvn: number;
}

/** Platform and TDX module at one version of the module, converged with the quoting enclave. */
export interface TcbEvaluation {
  readonly status: PlatformStatus | 'NotSupported';
  readonly platform: PartJudgement<PlatformStatus>;
  /** TDX with a module of major version 1 or higher, or one that is not Intel's. */
  readonly module: ModuleJudgement | undefined;
}

/** What Intel says of a platform's firmware as a whole, and of its parts. */
export interface TcbJudgement extends Omit<TcbEvaluation, 'status'> {
  /** The worst of the parts, as Intel's library converges them. */
  readonly status: TcbStatus;
  readonly qe: QeJudgement;
  /** The same with the TDX module that is loaded now instead of that at launch of the guest; TD 1.5 only. */
  readonly current: TcbEvaluation | undefined;
  /** Of all parts, sorted, each once. */
  readonly advisoryIds: readonly string[];
  /** Date of the platform's level, milliseconds since 1970. */
  readonly tcbDate: number | undefined;
  /** Date of the newest level of the platform, of any TDX module or of the quoting enclave. */
  readonly newestTcbDate: number;
  /** Distinct dates of levels that are newer than the platform's: TCB recoveries that it lacks. */
  readonly levelsBehind: number | undefined;
  /** The lower one of TCB info and QE identity. */
  readonly tcbEvaluationDataNumber: number;
}

/**
 * Judges firmware by Intel's statements, by the rule of Intel's quote verification library. Never refuses a platform:
 * what no level covers is `NotSupported`. Which statuses are good enough is a policy's to say.
 */
export function judgeTcb(collateral: VerifiedDcapCollateral, report: TcbReport): TcbJudgement {
  const { tcbInfo, qeIdentity } = collateral;
  const tdx = tdxOf(tcbInfo, report);
  const qe = judgeQe(qeIdentity, report.qeIsvSvn);
  const foreign = tdx && judgeForeignModule(tcbInfo, tdx);
  const launch = evaluate(collateral, qe, tdx?.teeTcbSvn, foreign);
  const current = tdx?.teeTcbSvn2 && evaluate(collateral, qe, tdx.teeTcbSvn2);
  const parts = [launch.platform, launch.module, qe, current?.platform, current?.module];
  const { tcbDate } = launch.platform;
  const dates = datesOf(tcbInfo.tcbLevels);
  const partDates = [...tcbInfo.tdxModuleIdentities, qeIdentity].flatMap(({ tcbLevels }) =>
    datesOf(tcbLevels),
  );
  return {
    ...launch,
    status: adviseRelaunch(launch.status, current?.status),
    qe,
    current,
    advisoryIds: [...new Set(parts.flatMap((part) => part?.advisoryIds ?? []))].sort(),
    tcbDate,
    newestTcbDate: Math.max(...dates, ...partDates),
    levelsBehind: tcbDate === undefined ? undefined : new Set(dates.filter((date) => date > tcbDate)).size,
    tcbEvaluationDataNumber: Math.min(tcbInfo.tcbEvaluationDataNumber, qeIdentity.tcbEvaluationDataNumber),
  };
}

function datesOf(levels: readonly { readonly tcbDate: number }[]): readonly number[] {
  return levels.map(({ tcbDate }) => tcbDate);
}

function tdxOf({ tee }: TcbInfo, { tdxModule }: TcbReport): TdxModuleReport | undefined {
  if ((tee === 'tdx') !== (tdxModule !== undefined)) {
    throw new Refusal('COLLATERAL_MISMATCH', `TCB info of ${tee.toUpperCase()} for a report of another TEE`);
  }
  return tdxModule;
}

/** Every one of the 16 SGX components and the PCE at least as new as the level's. */
function coversSgx(level: TcbLevel, { tcbComponents, pceSvn }: PckIdentity): boolean {
  return atLeast(tcbComponents, level.sgxComponents, 0) && pceSvn >= level.pceSvn;
}

/**
 * Every TDX component at least as new as the level's. Components 0 and 1 are the module's version; from major version
 * 1 on they are judged by its own identity instead.
 */
function coversTdx({ tdxComponents }: TcbLevel, teeTcbSvn: Uint8Array): boolean {
  return tdxComponents !== undefined && atLeast(teeTcbSvn, tdxComponents, majorOf(teeTcbSvn) > 0 ? 2 : 0);
}

function atLeast(seen: ArrayLike<number>, least: readonly number[], from: number): boolean {
  return least.every((svn, i) => i < from || (seen[i] ?? -1) >= svn);
}

/** The first level that everything covers, and the module by its own identity. */
function evaluate(
  { pck, tcbInfo }: VerifiedDcapCollateral,
  qe: QeJudgement,
  teeTcbSvn?: Uint8Array,
  foreign?: ModuleJudgement,
): TcbEvaluation {
  const level = tcbInfo.tcbLevels.find(
    (candidate) => coversSgx(candidate, pck) && (!teeTcbSvn || coversTdx(candidate, teeTcbSvn)),
  );
  const tdx = teeTcbSvn ? `, TDX ${Array.from(teeTcbSvn).join(' ')}` : '';
  const seen = `SGX components ${pck.tcbComponents.join(' ')}, PCE ${pck.pceSvn}${tdx}`;
  const platform = judgePart(level, seen);
  const module = foreign ?? (teeTcbSvn && judgeModule(tcbInfo, teeTcbSvn));
  return { status: converge(platform.status, module?.status ?? 'UpToDate', qe.status), platform, module };
}

function judgeQe({ tcbLevels }: QeIdentity, isvSvn: number): QeJudgement {
  const level = tcbLevels.find((candidate) => isvSvn >= candidate.isvSvn);
  return { isvSvn, ...judgePart(level, `quoting enclave with ISVSVN ${isvSvn}`) };
}

function converge(
  platform: PlatformStatus | 'NotSupported',
  module: ModuleStatus | 'NotSupported',
  qe: EnclaveStatus | 'NotSupported',
): PlatformStatus | 'NotSupported' {
  if (platform === 'NotSupported' || module === 'NotSupported' || qe === 'NotSupported')
    return 'NotSupported';
  return convergeStatus(convergeStatus(platform, module), enclaveStatusCounts(qe));
}

/** Fields of a quoting enclave's report that tell which enclave it is. */
export interface QeReport {
  /** Little endian in memory. */
  readonly miscSelect: number;
  /** 16 bytes. */
  readonly attributes: Uint8Array;
  /** 32 bytes. */
  readonly mrSigner: Uint8Array;
  readonly isvProdId: number;
}

/** Whether the report is of the enclave that Intel names. Its version is `judgeTcb`'s to judge. */
export function checkQeIdentity(report: QeReport, identity: QeIdentity): void {
  const misc = new Uint8Array(4);
  new DataView(misc.buffer).setUint32(0, report.miscSelect, true);
  compare('masked MISCSELECT', maskBytes(misc, identity.miscSelectMask), identity.miscSelect);
  compare('masked ATTRIBUTES', maskBytes(report.attributes, identity.attributesMask), identity.attributes);
  compare('MRSIGNER', report.mrSigner, identity.mrSigner);
  if (report.isvProdId !== identity.isvProdId) {
    throw new Refusal(
      'QE_IDENTITY_MISMATCH',
      `ISVPRODID of the quoting enclave is ${report.isvProdId}, that of ${identity.id} is ${identity.isvProdId}`,
    );
  }
}

function compare(field: string, seen: Uint8Array, wanted: Uint8Array): void {
  if (equalBytes(seen, wanted)) return;
  throw new Refusal(
    'QE_IDENTITY_MISMATCH',
    `${field} of the quoting enclave is ${toHex(seen)}, Intel names ${toHex(wanted)}`,
  );
}
