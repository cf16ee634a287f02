import * as z from 'zod';
import type { TcbStatus } from '../evidence/dcap/tcbStatus.ts';
import { hex, orAny, unique } from './shapes.ts';

/** Statuses that a policy may accept. A revoked level, and one that Intel does not list, no policy accepts. */
const STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
] as const satisfies readonly TcbStatus[];
/** The TDX module was updated below a running TD. */
const TDX_STATUSES = [
  ...STATUSES,
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
] as const satisfies readonly TcbStatus[];

function tcbOf<const Names extends readonly [string, ...string[]]>(names: Names) {
  return z.strictObject({
    /** Converged statuses of platform, TDX module and quoting enclave; `UpToDate` is always among them. */
    statuses: unique(z.enum(names)).refine(
      (statuses) => (statuses as readonly string[]).includes('UpToDate'),
      'expected UpToDate among the statuses',
    ),
    /** Security advisories that may stand open where the status is not `UpToDate`. */
    advisories: orAny(unique(z.string().regex(/^INTEL-(?:SA|DOC)-\d{5}$/))),
    /** Where the status is not `UpToDate`: days between the level of the platform and the newest that Intel lists. */
    maximumDaysBehind: orAny(z.int().min(0).max(36_500)),
    /** Oldest state of Intel's knowledge, which rises with each TCB recovery; of TCB info and of QE identity. */
    minimumEvaluationDataNumber: orAny(
      z
        .int()
        .min(0)
        .max(2 ** 31 - 1),
    ),
  });
}

export const sgxTcb = tcbOf(STATUSES);
export const tdxTcb = tcbOf(TDX_STATUSES);

/** Which machines, by what Intel certifies of them. */
export const platform = z.strictObject({
  /** Platform provisioning ids: one for each machine. */
  ppids: orAny(unique(hex(16)).min(1)),
  /** Family, model, stepping, platform type and custom SKU. */
  fmspcs: orAny(unique(hex(6)).min(1)),
});

/** 64 bits as a number, most significant digit first: the bits that may be set. */
export const mask = hex(8);

export type QuoteTcbPolicy = z.infer<typeof tdxTcb> | z.infer<typeof sgxTcb>;
export type QuotePlatformPolicy = z.infer<typeof platform>;
