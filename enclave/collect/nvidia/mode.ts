import { CollectError } from '../errors.ts';
import type { SystemSettings, SystemState } from './structures.ts';

/** What the driver says, from the older and the newer of its two functions. */
export interface StatedMode {
  readonly state: SystemState;
  /** Undefined where the driver is older than the function (before CUDA 12.4), and so than Protected PCIe. */
  readonly settings: SystemSettings | undefined;
}

const ENVIRONMENTS = ['unavailable', 'simulation', 'production'] as const;
const PRODUCTION = 2;
const SIMULATION = 1;
const ON = 1;
const MULTI_GPU_MODES = ['none', 'protected PCIe', 'NVLink encryption'] as const;
const PROTECTED_PCIE = 1;

/**
 * Whether switches belong to the evidence. Throws where the machine protects nothing: the driver says so of itself, and
 * that spares a request which the verifier would refuse. Where the two functions differ, the worse one counts.
 */
export function isProtectedPcie({ state, settings }: StatedMode): boolean {
  const stated = settings ? [state, settings] : [state];
  const multiGpuMode = settings?.multiGpuMode ?? 0;
  if (multiGpuMode >= MULTI_GPU_MODES.length) {
    throw new CollectError('DEVICE_REFUSED', `multi-GPU mode ${multiGpuMode} is not known`);
  }
  if (stated.some(({ devToolsMode }) => devToolsMode !== 0)) {
    throw new CollectError('DEVTOOLS_ON', 'the driver says that DevTools mode is on');
  }
  if (stated.some(({ environment }) => environment === SIMULATION || environment > PRODUCTION)) {
    throw off(`the driver says that the environment is ${environmentText(stated)}`);
  }
  // Protected PCIe protects the GPUs together with the switches, and leaves the feature of single GPUs off.
  if (multiGpuMode === PROTECTED_PCIE) return true;
  if (stated.some(({ ccFeature }) => ccFeature !== ON)) {
    throw off('the driver says that the feature is off');
  }
  if (stated.some(({ environment }) => environment !== PRODUCTION)) {
    throw off(`the driver says that the environment is ${environmentText(stated)}`);
  }
  return false;
}

/** For people. */
export function describeMode({ state, settings }: StatedMode): string {
  const { environment, ccFeature, devToolsMode } = settings ?? state;
  const multiGpu = settings
    ? (MULTI_GPU_MODES[settings.multiGpuMode] ?? String(settings.multiGpuMode))
    : 'not stated';
  return [
    `confidential computing ${ccFeature === ON ? 'on' : 'off'}`,
    `environment ${ENVIRONMENTS[environment] ?? environment}`,
    `DevTools ${devToolsMode === 0 ? 'off' : 'on'}`,
    `multi-GPU mode ${multiGpu}`,
  ].join(', ');
}

function environmentText(stated: readonly SystemState[]): string {
  return stated.map(({ environment }) => ENVIRONMENTS[environment] ?? String(environment)).join(' and ');
}

function off(reason: string): CollectError {
  return new CollectError('CONFIDENTIAL_COMPUTING_OFF', reason);
}
