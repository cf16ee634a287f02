import type { Terminal } from './terminal.ts';

const INTERVAL_MS = 100;
const BAR_WIDTH = 24;

/** Says on a terminal how far a command is; elsewhere it says nothing. */
export class ByteProgress {
  readonly #terminal: Terminal;
  readonly #title: string;
  #timer: NodeJS.Timeout | undefined;
  readonly #started = Date.now();
  #done = 0;
  #total: number | undefined;

  constructor(terminal: Terminal, title: string) {
    this.#terminal = terminal;
    this.#title = title;
    if (!terminal.isTerminal) return;
    this.#timer = setInterval(() => {
      this.#draw();
    }, INTERVAL_MS);
  }

  expect(total: number): void {
    this.#total = total;
  }

  /** A file that is fetched once more counts back. */
  add(bytes: number): void {
    this.#done += bytes;
  }

  /** Clears the line, so that something else can be printed. */
  pause(): void {
    if (this.#timer) this.#terminal.redraw('');
  }

  end(): void {
    this.pause();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #draw(): void {
    const { c } = this.#terminal;
    const seconds = Math.max(1, (Date.now() - this.#started) / 1000);
    const rate = c.dim(`${sizeText(this.#done / seconds)}/s`);
    const total = this.#total;
    if (total === undefined || total === 0) {
      this.#terminal.redraw(`${this.#title} ${sizeText(this.#done)} ${rate}`);
      return;
    }
    const part = Math.min(1, this.#done / total);
    const filled = Math.round(part * BAR_WIDTH);
    const bar = `${'█'.repeat(filled)}${c.dim('░'.repeat(BAR_WIDTH - filled))}`;
    const percent = `${Math.floor(part * 100)} %`.padStart(5);
    this.#terminal.redraw(`${this.#title} ${bar} ${percent} of ${sizeText(total)} ${rate}`);
  }
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A number of bytes for people. */
export function sizeText(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 2 ** (10 * step);
  return `${step === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : 1)} ${UNITS[step] ?? ''}`;
}
