import type koffi from 'koffi';

/** Room for the calls of a driver's library, of which nothing is published; koffi gives 128 KiB. */
const STACK_BYTES = 1024 * 1024;

/**
 * Widens the stack that native calls run on. koffi takes sizes until the first library of the process is loaded, so
 * every part that may be the first calls this.
 */
export function widenNativeStack({ config }: Pick<typeof koffi, 'config'>): void {
  if ((config().async_stack_size ?? 0) >= STACK_BYTES) return;
  try {
    config({ async_stack_size: STACK_BYTES });
  } catch {
    // Another part of the process has loaded a library before: its sizes stay.
  }
}
