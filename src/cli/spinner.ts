import type { Terminal } from './terminal.ts';

const FRAMES = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const INTERVAL_MS = 100;

/** Does the work and shows on a terminal that it goes on; elsewhere it says nothing. */
export async function withSpinner<T>(terminal: Terminal, title: string, work: () => Promise<T>): Promise<T> {
  if (!terminal.isTerminal) return work();
  const started = Date.now();
  let frame = 0;
  const timer = setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000);
    terminal.redraw(`${FRAMES[frame++ % FRAMES.length] ?? ''} ${title} ${terminal.c.dim(`${seconds} s`)}`);
  }, INTERVAL_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    terminal.redraw('');
  }
}
