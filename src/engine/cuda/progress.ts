/** What an installation is doing. */
export type Phase = 'fetch' | 'check' | 'extract';

/** Told of bytes that were done; `total` is undefined where nobody knows it. */
export type OnProgress = (phase: Phase, done: number, total: number | undefined) => void;

/** Counts bytes of one phase. */
export function counter(onProgress: OnProgress, phase: Phase, total: number | undefined) {
  let done = 0;
  onProgress(phase, done, total);
  return (bytes: number): void => {
    done += bytes;
    onProgress(phase, done, total);
  };
}
