import type { EvidenceHead } from './evidence.ts';
import { VouchingError } from './errors.ts';
import type { EvidenceLine } from './evidenceLine.ts';
import type { Generations } from './generations.ts';
import type { KeySource } from './keys.ts';

/** How often it is looked whether the next generation is due (ms). */
const LOOK_MS = 60_000;

export interface KeyRotationParts {
  /** Undefined where the keys of the instance are never followed by others. */
  readonly source: KeySource | undefined;
  readonly generations: Generations;
  readonly line: Pick<EvidenceLine, 'collect' | 'failure' | 'head'>;
  readonly now: () => number;
}

/** Has new keys follow those of the instance: before these end, and whenever it is asked for. */
export class KeyRotation {
  readonly #parts: KeyRotationParts;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<EvidenceHead> | undefined;

  constructor(parts: KeyRotationParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.rotateWhenDue(), LOOK_MS);
    this.#timer.unref();
  }

  /** Rotates where it is due. What fails is tried again by the timer. */
  async rotateWhenDue(): Promise<void> {
    const { source, now } = this.#parts;
    if (source && now() >= source.dueAt) await this.rotate().catch(() => undefined);
  }

  /**
   * Has evidence vouch for new keys and uses them from then on; resolves with that document. Callers meanwhile share
   * it. Throws `EVIDENCE_UNAVAILABLE` where there is none: the former keys go on, and the next document carries the
   * new ones.
   */
  rotate(): Promise<EvidenceHead> {
    this.#running ??= this.#rotate().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #rotate(): Promise<EvidenceHead> {
    const { source, generations, line } = this.#parts;
    if (!source)
      throw new VouchingError('EVIDENCE_UNAVAILABLE', 'the keys of this instance are never followed');
    if (!generations.isPending) generations.prepare(await source.next());
    await line.collect();
    if (generations.isPending) {
      const cause = line.failure;
      throw new VouchingError('EVIDENCE_UNAVAILABLE', 'no evidence could be made for new keys', { cause });
    }
    return line.head;
  }
}
