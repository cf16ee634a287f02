import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { VouchingError } from '../errors.ts';

/** Most askers that wait for a report of their own. */
const MAX_WAITING = 64;

type CollectCpu = (reportData: Uint8Array) => Promise<CpuEvidence>;

/**
 * CPU reports for ACI, one at a time: each of its nonces needs its own, so that whoever asks often waits, and our own
 * evidence at most for one of these.
 */
export class AciQuotes {
  readonly #collectCpu: CollectCpu;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(collectCpu: CollectCpu) {
    this.#collectCpu = collectCpu;
  }

  /** Throws `VouchingError`: `TOO_MANY_NONCES`, `EVIDENCE_UNAVAILABLE`. */
  async quote(reportData: Uint8Array): Promise<CpuEvidence> {
    if (this.#waiting >= MAX_WAITING) {
      throw new VouchingError('TOO_MANY_NONCES', `${MAX_WAITING} wait already for a CPU report of their own`);
    }
    this.#waiting++;
    const turn = this.#last.then(() => this.#collectCpu(reportData));
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } catch (cause) {
      throw new VouchingError('EVIDENCE_UNAVAILABLE', 'the CPU gave no report', { cause });
    } finally {
      this.#waiting--;
    }
  }
}
