import type { BuildStep } from '../../enclave/image/build.ts';
import type { CacheProgress } from '../../enclave/image/inputs/cache.ts';
import { sizeText } from './byteProgress.ts';
import { barOf } from './cudaProgress.ts';
import type { Terminal } from './terminal.ts';

const TITLES: Readonly<Record<BuildStep, string>> = {
  inputs: 'Comparing the inputs with their pins',
  root: 'Making the root file system',
  models: 'Making the volume of models',
  boot: 'Making initrd and kernel image',
  disk: 'Writing the disk',
  manifest: 'Writing the manifest',
};
const STEPS = Object.keys(TITLES) as readonly BuildStep[];
/** So many milliseconds between two drawings. */
const INTERVAL_MS = 100;

/** Says on a terminal what a build is at; elsewhere it says nothing. `end` removes the line. */
export class BuildProgress {
  readonly #terminal: Terminal;
  #drawn = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  readonly onStep = (step: BuildStep): void => {
    this.#draw(`${STEPS.indexOf(step) + 1}/${STEPS.length} ${TITLES[step]}`);
  };

  readonly onInput = ({ name, received, total }: CacheProgress): void => {
    const now = Date.now();
    if (now - this.#drawn < INTERVAL_MS) return;
    this.#drawn = now;
    const bar = total === undefined ? sizeText(received) : barOf(received, total);
    this.#draw(`1/${STEPS.length} Fetching ${name} ${bar}`);
  };

  end(): void {
    this.#draw('');
  }

  #draw(text: string): void {
    if (this.#terminal.isTerminal) this.#terminal.redraw(text);
  }
}
