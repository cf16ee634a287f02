import { equalBytes, isZero, toHex } from '../../bytes/bytes.ts';
import { judgePart, notSupported, type PartJudgement } from './partJudgement.ts';
import type { TcbInfo, TdxModule, TdxModuleIdentity } from './tcbInfo.ts';
import type { ModuleStatus } from './tcbStatus.ts';

/** What a TD report says of the TDX module below the guest. */
export interface TdxModuleReport {
  /** TEE_TCB_SVN, 16 bytes: the module's version at launch of the guest in 0 (SVN) and 1 (major), microcode in 2. */
  readonly teeTcbSvn: Uint8Array;
  /** TEE_TCB_SVN2, 16 bytes: the same now; TD 1.5 only. */
  readonly teeTcbSvn2?: Uint8Array | undefined;
  /** MRSIGNERSEAM, 48 bytes. */
  readonly mrSignerSeam: Uint8Array;
  /** SEAMATTRIBUTES, 8 bytes. */
  readonly seamAttributes: Uint8Array;
}

export interface ModuleJudgement extends PartJudgement<ModuleStatus> {
  /** `TDX_01`; `TDX_00` for the module of the TCB info itself. */
  readonly id: string;
  readonly isvSvn: number;
}

/** Judges a module by the identity of its major version; undefined for version 0, which is in the platform's level. */
export function judgeModule(tcbInfo: TcbInfo, teeTcbSvn: Uint8Array): ModuleJudgement | undefined {
  if (majorOf(teeTcbSvn) === 0) return undefined;
  const id = moduleId(teeTcbSvn);
  const isvSvn = teeTcbSvn[0] ?? 0;
  const identity = findModule(tcbInfo, id);
  if (!identity) return { id, isvSvn, ...notSupported(`no identity of TDX module ${id} in the TCB info`) };
  const level = identity.tcbLevels.find((candidate) => isvSvn >= candidate.isvSvn);
  return { id, isvSvn, ...judgePart(level, `TDX module ${id} with ISVSVN ${isvSvn}`) };
}

/** A module of another signer or with other attributes than Intel names for it; undefined where it is Intel's. */
export function judgeForeignModule(tcbInfo: TcbInfo, report: TdxModuleReport): ModuleJudgement | undefined {
  const { teeTcbSvn } = report;
  const id = moduleId(teeTcbSvn);
  const isvSvn = teeTcbSvn[0] ?? 0;
  const isListed = majorOf(teeTcbSvn) > 0;
  const named = isListed ? findModule(tcbInfo, id) : tcbInfo.tdxModule;
  // A module that is to be listed and is not, is judged so by `judgeModule`.
  if (!named)
    return isListed ? undefined : { id, isvSvn, ...notSupported('the TCB info names no TDX module') };
  const difference = differenceOf(named, report);
  return difference === undefined
    ? undefined
    : { id, isvSvn, ...notSupported(`TDX module ${id} ${difference}`) };
}

function moduleId(teeTcbSvn: Uint8Array): string {
  return `TDX_${majorOf(teeTcbSvn).toString(16).padStart(2, '0').toUpperCase()}`;
}

function findModule({ tdxModuleIdentities }: TcbInfo, id: string): TdxModuleIdentity | undefined {
  return tdxModuleIdentities.find((identity) => identity.id === id);
}

/** Another signer than Intel's, or attributes: a module with any bit of SEAMATTRIBUTES set is none for production. */
function differenceOf(
  module: TdxModule,
  { mrSignerSeam, seamAttributes }: TdxModuleReport,
): string | undefined {
  if (!equalBytes(mrSignerSeam, module.mrSigner)) {
    return `has MRSIGNERSEAM ${toHex(mrSignerSeam)}, Intel names ${toHex(module.mrSigner)}`;
  }
  const masked = maskBytes(seamAttributes, module.attributesMask);
  if (!isZero(seamAttributes) || !equalBytes(masked, module.attributes)) {
    return `has SEAMATTRIBUTES ${toHex(seamAttributes)}, Intel names ${toHex(module.attributes)} and all must be zero`;
  }
  return undefined;
}

/** Major version of the TDX module. */
export function majorOf(teeTcbSvn: Uint8Array): number {
  return teeTcbSvn[1] ?? 0;
}

/** The bits of `bytes` that the mask selects; a mask that is too short selects nothing of the rest. */
export function maskBytes(bytes: Uint8Array, mask: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => byte & (mask[i] ?? 0));
}
