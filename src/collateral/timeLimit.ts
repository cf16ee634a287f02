import { CollateralError } from './errors.ts';

/**
 * Runs with a signal that ends it after `milliseconds`, or when `outer` does. The signal's reason is what `run` has to
 * throw then.
 */
export async function withTimeLimit<T>(
  milliseconds: number,
  outer: AbortSignal | undefined,
  late: string,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer?.throwIfAborted();
  const controller = new AbortController();
  const follow = (): void => {
    controller.abort(outer?.reason);
  };
  const timer = setTimeout(() => {
    controller.abort(new CollateralError('timeout', `${late} within ${milliseconds / 1000} s`));
  }, milliseconds);
  outer?.addEventListener('abort', follow, { once: true });
  try {
    return await run(controller.signal);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', follow);
  }
}
