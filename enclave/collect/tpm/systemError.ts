import { CollectError, type CollectErrorCode } from '../errors.ts';

const CODES: Readonly<Record<string, CollectErrorCode>> = {
  ENOENT: 'DEVICE_MISSING',
  ENXIO: 'DEVICE_MISSING',
  ENOTDIR: 'DEVICE_MISSING',
  ECONNREFUSED: 'DEVICE_MISSING',
  EHOSTUNREACH: 'DEVICE_MISSING',
  ENOTFOUND: 'DEVICE_MISSING',
  EACCES: 'PERMISSION_DENIED',
  EPERM: 'PERMISSION_DENIED',
  EBUSY: 'DEVICE_BUSY',
  EAGAIN: 'DEVICE_BUSY',
  ETIME: 'DEVICE_TIMEOUT',
  ETIMEDOUT: 'DEVICE_TIMEOUT',
  ENODEV: 'DEVICE_LOST',
  EPIPE: 'DEVICE_LOST',
  ECONNRESET: 'DEVICE_LOST',
};

/** Errors of the operating system have a code such as `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What an error of the operating system means for the device; other errors stay as they are. */
export function deviceError(error: unknown, doing: string): unknown {
  const code = systemCode(error);
  if (code === undefined || error instanceof CollectError) return error;
  return new CollectError(CODES[code] ?? 'DEVICE_REFUSED', `${doing}: ${code}`, { cause: error });
}
