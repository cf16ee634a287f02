import { setTimeout as delay } from 'node:timers/promises';
import { checkNonce, MAX_NONCES } from '../../attestation/binding.ts';
import type { MemoryTree } from '../../attestation/log/memoryTree.ts';
import { VouchingError } from './errors.ts';
import type { EvidenceHead } from './evidence.ts';

/** The asker's place in the nonce tree of a document. */
export interface NonceAnswer {
  readonly head: EvidenceHead;
  readonly index: number;
  readonly count: number;
  readonly path: readonly Uint8Array[];
}

interface Waiter {
  readonly nonce: Uint8Array;
  readonly resolve: (answer: NonceAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** Nonces that one document answers, in arrival order. */
export interface NonceBatch {
  readonly nonces: readonly Uint8Array[];
  answer(head: EvidenceHead, tree: MemoryTree): void;
  refuse(error: Error): void;
}

/**
 * Longest pause between two documents, as a part of what the last one took, and at all. Where somebody came too late
 * for that one, it is shorter: who comes right after a document was begun waits for it, the pause and the next.
 */
const PAUSE_PART = 1 / 2;
const PAUSE_PART_OF_LATE = 1 / 3;
const MAX_PAUSE_MS = 50;
/** A pause in which nobody came for so long is over. */
const QUIET_MS = 4;

/** By which pauses are measured, milliseconds. */
export interface PauseClock {
  now(): number;
  wait(milliseconds: number): Promise<unknown>;
}

const CLOCK: PauseClock = { now: () => performance.now(), wait: (milliseconds) => delay(milliseconds) };

/** Nonces that wait for a document: at most as many as one answers. */
export class NonceQueue {
  readonly #clock: PauseClock;
  #waiting: Waiter[] = [];
  /** How many wait once all whom the last document answered have asked again. */
  #expected = 0;
  #pausePart = PAUSE_PART;
  #pauseUntil = Number.NEGATIVE_INFINITY;

  constructor(clock: PauseClock = CLOCK) {
    this.#clock = clock;
  }

  add(nonce: Uint8Array): Promise<NonceAnswer> {
    checkNonce(nonce);
    if (this.#waiting.length >= MAX_NONCES) {
      throw new VouchingError('TOO_MANY_NONCES', `${MAX_NONCES} nonces wait already`);
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ nonce, resolve, reject });
    });
  }

  /** Takes what waits. */
  take(): NonceBatch {
    const waiters = this.#waiting.splice(0, MAX_NONCES);
    this.#expected = 0;
    return {
      nonces: waiters.map(({ nonce }) => nonce),
      answer: (head, tree) => {
        // Those who came too late for it wait already; they are no reason to leave the others behind again.
        this.#pausePart = this.#waiting.length > 0 ? PAUSE_PART_OF_LATE : PAUSE_PART;
        this.#expected = this.#waiting.length + waiters.length;
        for (const [index, { resolve }] of waiters.entries()) {
          resolve({ head, index, count: waiters.length, path: tree.inclusionPath(index) });
        }
      },
      refuse: (error) => {
        for (const { reject } of waiters) reject(error);
      },
    };
  }

  /** A document that took so long was just answered with. */
  beginPause(milliseconds: number): void {
    const begin = (): void => {
      this.#pauseUntil = this.#clock.now() + Math.min(milliseconds * this.#pausePart, MAX_PAUSE_MS);
    };
    begin();
    // Answers to many take a while: the pause counts from when they went out.
    setImmediate(begin);
  }

  /**
   * Right after a document, those whom it answered ask again. Without a pause the first of them would begin a document
   * that the others just miss: two documents where one does, and twice the wait. It ends when as many came as were
   * answered, when nobody comes any more, or with its time.
   */
  async letAskersIn(): Promise<void> {
    let seen = -1;
    const mayCome = (): boolean => {
      const { length } = this.#waiting;
      return length < this.#expected && length > seen && this.#clock.now() < this.#pauseUntil;
    };
    while (mayCome()) {
      seen = this.#waiting.length;
      await this.#clock.wait(QUIET_MS);
    }
  }
}
