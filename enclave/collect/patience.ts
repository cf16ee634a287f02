import { setTimeout as delay } from 'node:timers/promises';

/** Waits for work that may never end, and not longer than so many milliseconds; what comes of it is not looked at. */
export async function waitAtMost(milliseconds: number, work: Promise<unknown>): Promise<void> {
  const patience = new AbortController();
  const { signal } = patience;
  const enough = delay(milliseconds, undefined, { signal }).catch(() => undefined);
  await Promise.race([work.catch(() => undefined), enough]);
  patience.abort();
}
