import type { OnProgress, Phase } from '../engine/cuda/progress.ts';
import type { Terminal } from './terminal.ts';

const TITLES: Readonly<Record<Phase, string>> = {
  fetch: 'Fetching the archive',
  check: 'Checking the archive',
  extract: 'Extracting the libraries',
};
const COLUMNS = 24;
const MEGABYTE = 1_000_000;
/** So many milliseconds between two drawings. */
const INTERVAL_MS = 100;

/** Draws a bar on a terminal; elsewhere it says nothing. `end` removes it. */
export function progressBar(terminal: Terminal): {
  readonly onProgress: OnProgress;
  readonly end: () => void;
} {
  let drawn = 0;
  let shown: Phase | undefined;
  const onProgress: OnProgress = (phase, done, total) => {
    const now = Date.now();
    const due = phase !== shown || done === total || now - drawn >= INTERVAL_MS;
    if (!terminal.isTerminal || !due) return;
    [drawn, shown] = [now, phase];
    terminal.redraw(`${TITLES[phase]} ${barOf(done, total)}`);
  };
  const end = (): void => {
    if (terminal.isTerminal) terminal.redraw('');
  };
  return { onProgress, end };
}

export function barOf(done: number, total: number | undefined): string {
  if (total === undefined || total === 0) return '…';
  const share = Math.min(1, done / total);
  const filled = Math.round(share * COLUMNS);
  const bar = '█'.repeat(filled) + '░'.repeat(COLUMNS - filled);
  const megabytes = (bytes: number): string => (bytes / MEGABYTE).toFixed(0);
  return `${bar} ${(share * 100).toFixed(0)} %, ${megabytes(done)} of ${megabytes(total)} MB`;
}
