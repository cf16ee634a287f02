import { Discontinuity, type DiscontinuityCode } from './continuity.ts';

/** A code that a room gives to a failure. */
const CODE = /^[A-Z][A-Z0-9_]{2,63}$/;

/** Codes of a collector that say what `Discontinuity` says, before there is evidence to compare. */
const LOSSES: Readonly<Record<string, DiscontinuityCode>> = {
  DEVICE_LOST: 'DEVICES_CHANGED',
  DEVICE_MISSING: 'DEVICES_CHANGED',
  CONFIDENTIAL_COMPUTING_OFF: 'DEVICE_MODE_CHANGED',
  DEVTOOLS_ON: 'DEVICE_MODE_CHANGED',
};

/** Why no evidence could be had, as anybody may know it: messages can name paths and devices. */
export interface EvidenceFailureFacts {
  /** That of a collector, of the self-check or of the log; `UNKNOWN` where nobody foresaw it. */
  readonly code: string;
  /** What a person can do about it. */
  readonly advice: string | undefined;
}

export function describeEvidenceFailure(error: Error): EvidenceFailureFacts {
  const { code, advice } = error as { readonly code?: unknown; readonly advice?: unknown };
  return {
    code: typeof code === 'string' && CODE.test(code) ? code : 'UNKNOWN',
    advice: typeof advice === 'string' ? advice : undefined,
  };
}

/** A device that gave evidence before and now is gone, or out of its mode, is not what it was. */
export function asDiscontinuity(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code } = describeEvidenceFailure(error);
  const meant = Object.hasOwn(LOSSES, code) ? LOSSES[code] : undefined;
  return meant ? new Discontinuity(meant, `${code}: ${error.message}`) : error;
}
