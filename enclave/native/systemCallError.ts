import { constants } from 'node:os';

/** Of two names for one number the first, such as EAGAIN before EWOULDBLOCK. */
const ERRNO_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno)
    .reverse()
    .map(([name, number]) => [number, name]),
);

/** A call that returned -1. */
export class SystemCallError extends Error {
  /** Such as `EIO`; the number where it has no name here. */
  readonly code: string;

  constructor(name: string, errno: number) {
    const code = ERRNO_NAMES.get(errno) ?? String(errno);
    super(`${name} failed with ${code}`);
    this.name = 'SystemCallError';
    this.code = code;
  }
}
