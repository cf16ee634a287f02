import type { RefusalCode } from '../../errors.ts';

/** Statuses of a level of TCB info. */
export const PLATFORM_STATUSES = [
  'UpToDate',
  'SWHardeningNeeded',
  'ConfigurationNeeded',
  'ConfigurationAndSWHardeningNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;

/** Statuses of a level of a TDX module. */
export const MODULE_STATUSES = ['UpToDate', 'OutOfDate', 'Revoked'] as const;

/** Statuses of a level of a quoting enclave. Intel's verifier takes all but the first and the last as out of date. */
export const ENCLAVE_STATUSES = [
  'UpToDate',
  'ConfigurationNeeded',
  'OutOfDate',
  'OutOfDateConfigurationNeeded',
  'Revoked',
] as const;

export type PlatformStatus = (typeof PLATFORM_STATUSES)[number];
export type ModuleStatus = (typeof MODULE_STATUSES)[number];
export type EnclaveStatus = (typeof ENCLAVE_STATUSES)[number];

/** What a platform may come out as. `NotSupported`: Intel lists nothing that covers it, which no policy accepts. */
export const TCB_STATUSES = [
  ...PLATFORM_STATUSES,
  'TDRelaunchAdvised',
  'TDRelaunchAdvisedConfigurationNeeded',
  'NotSupported',
] as const;

export type TcbStatus = (typeof TCB_STATUSES)[number];

const REFUSAL_OF_STATUS: Readonly<Record<Exclude<TcbStatus, 'UpToDate'>, RefusalCode>> = {
  SWHardeningNeeded: 'TCB_SW_HARDENING_NEEDED',
  ConfigurationNeeded: 'TCB_CONFIGURATION_NEEDED',
  ConfigurationAndSWHardeningNeeded: 'TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED',
  OutOfDate: 'TCB_OUT_OF_DATE',
  OutOfDateConfigurationNeeded: 'TCB_OUT_OF_DATE_CONFIGURATION_NEEDED',
  TDRelaunchAdvised: 'TCB_TD_RELAUNCH_ADVISED',
  TDRelaunchAdvisedConfigurationNeeded: 'TCB_TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED',
  Revoked: 'TCB_REVOKED',
  NotSupported: 'TCB_NOT_SUPPORTED',
};

/** The code with which a policy that does not accept the status refuses it. */
export function refusalOfStatus(status: Exclude<TcbStatus, 'UpToDate'>): RefusalCode {
  return REFUSAL_OF_STATUS[status];
}

/** An enclave's status as it counts towards the platform's. */
export function enclaveStatusCounts(status: EnclaveStatus): ModuleStatus {
  return status === 'UpToDate' || status === 'Revoked' ? status : 'OutOfDate';
}

const OUT_OF_DATE: Readonly<Record<PlatformStatus, PlatformStatus>> = {
  UpToDate: 'OutOfDate',
  SWHardeningNeeded: 'OutOfDate',
  ConfigurationNeeded: 'OutOfDateConfigurationNeeded',
  ConfigurationAndSWHardeningNeeded: 'OutOfDateConfigurationNeeded',
  OutOfDate: 'OutOfDate',
  OutOfDateConfigurationNeeded: 'OutOfDateConfigurationNeeded',
  Revoked: 'Revoked',
};

/** The worst of the two, as Intel's library converges the platform with its TDX module and its quoting enclave. */
export function convergeStatus(platform: PlatformStatus, part: ModuleStatus): PlatformStatus {
  if (part === 'Revoked') return 'Revoked';
  return part === 'OutOfDate' ? OUT_OF_DATE[platform] : platform;
}

/**
 * The status of a guest that was launched on firmware of status `launch` and runs on that of status `current` (TD 1.5).
 * Where only the first is out of date, launching the guest anew is all that it lacks. A module below a running guest
 * that is revoked or out of date is so whatever came before, as where the guest moved to an older machine: Intel's
 * library only shows it, which would let a policy accept it.
 */
export function adviseRelaunch(
  launch: PlatformStatus | 'NotSupported',
  current: PlatformStatus | 'NotSupported' | undefined,
): TcbStatus {
  if (current === undefined || launch === 'NotSupported') return launch;
  if (current === 'NotSupported' || current === 'Revoked') return current;
  if (isOutOfDate(current)) return convergeStatus(launch, 'OutOfDate');
  if (!isOutOfDate(launch)) return launch;
  return needsConfiguration(launch) || needsConfiguration(current)
    ? 'TDRelaunchAdvisedConfigurationNeeded'
    : 'TDRelaunchAdvised';
}

function isOutOfDate(status: PlatformStatus): boolean {
  return status === 'OutOfDate' || status === 'OutOfDateConfigurationNeeded';
}

/** Whether Intel asks for another configuration of the platform. */
function needsConfiguration(status: PlatformStatus): boolean {
  return (
    status === 'ConfigurationNeeded' ||
    status === 'ConfigurationAndSWHardeningNeeded' ||
    status === 'OutOfDateConfigurationNeeded'
  );
}
