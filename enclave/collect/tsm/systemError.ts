import { CollectError } from '../errors.ts';
import { deviceError, systemCode, type ErrnoMeanings } from '../systemError.ts';

/**
 * What errors of configfs and of the providers behind it mean (drivers/virt/coco in Linux). ENOENT and ENXIO say at the
 * door that nothing is there, and later, as here, that it went away.
 */
const MEANINGS: ErrnoMeanings = {
  EACCES: 'PERMISSION_DENIED',
  EPERM: 'PERMISSION_DENIED',
  EROFS: 'PERMISSION_DENIED',
  EBUSY: 'DEVICE_BUSY',
  EINTR: 'DEVICE_BUSY',
  ETIMEDOUT: 'DEVICE_TIMEOUT',
  EFBIG: 'EVIDENCE_MALFORMED',
  // sev-guest: the key that guest and firmware share is disabled until the machine starts again. The driver does that
  // itself after an answer that it cannot read, and after a host that throttled it for a minute.
  ENOTTY: 'DEVICE_LOST',
  ENOENT: 'DEVICE_LOST',
  ENXIO: 'DEVICE_LOST',
  ENODEV: 'DEVICE_LOST',
};
/** What a fresh request may overcome: the quoting service is at an earlier one, a signal came, the host was slow. */
const TRANSIENT: ReadonlySet<string> = new Set(['EBUSY', 'EINTR', 'ETIMEDOUT']);
const REMARKS: Readonly<Record<string, string>> = {
  ENOTTY: ' (the firmware has disabled the key of this guest until the machine starts again)',
  ENXIO: ' (the driver is gone, or the firmware refused)',
};

/** The error number by name, of what the file system threw or of what was made of it. */
export function errnoOf(error: unknown): string | undefined {
  return systemCode(error instanceof CollectError ? error.cause : error);
}

/** An error of the file system as one of collection; others pass through. */
export function toCollectError(error: unknown, doing: string): unknown {
  const remark = REMARKS[errnoOf(error) ?? ''] ?? '';
  return deviceError(error, `${doing}${remark}`, MEANINGS);
}

export function isTransient(error: unknown): boolean {
  return TRANSIENT.has(errnoOf(error) ?? '');
}

/** Nothing that asks again can help before the machine starts again. */
export function isFinal(error: unknown): boolean {
  return errnoOf(error) === 'ENOTTY';
}
