import { CollectError } from '../errors.ts';
import { Deadline } from './deadline.ts';
import { flushLoaded } from './keys.ts';
import { TpmSession } from './session.ts';
import { addressText, transportTo, type TpmAddress, type TpmTransport } from './transport.ts';

/** Making an RSA key takes a discrete TPM ten seconds and more; all else takes less than one. */
const DEFAULT_TIMEOUT_MS = 30_000;

export interface TpmAccessOptions {
  readonly address: TpmAddress;
  /** For all commands of one collection together. */
  readonly timeoutMs?: number;
}

/**
 * One user of a TPM at a time. Each use has a descriptor of its own, so that keys of one that ended badly are gone
 * with it. A call into the driver that outlives its deadline leaves the device busy until it returns.
 */
export class TpmAccess {
  readonly name: string;
  readonly #address: TpmAddress;
  readonly #timeoutMs: number;
  #busy = false;
  #closed = false;
  readonly #loaded = new Set<number>();

  constructor({ address, timeoutMs = DEFAULT_TIMEOUT_MS }: TpmAccessOptions) {
    this.name = addressText(address);
    this.#address = address;
    this.#timeoutMs = timeoutMs;
  }

  async use<T>(work: (session: TpmSession) => Promise<T>): Promise<T> {
    if (this.#closed) throw new CollectError('STOPPED', `the collector over ${this.name} is closed`);
    if (this.#busy) throw new CollectError('DEVICE_BUSY', `${this.name} still works on an earlier request`);
    this.#busy = true;
    const deadline = new Deadline(this.#timeoutMs);
    const transport = transportTo(this.#address);
    try {
      await transport.open(deadline);
      const session = new TpmSession(transport, deadline, this.#loaded);
      // A connection that broke off left its keys in a TPM without a resource manager, which holds three.
      await flushLoaded(session);
      return await work(session);
    } finally {
      const released = this.#release(transport);
      await deadline.wait(released, `closing ${this.name}`).catch(() => undefined);
    }
  }

  /** Takes no more work; what is under way ends at its deadline. */
  close(): void {
    this.#closed = true;
  }

  async #release(transport: TpmTransport): Promise<void> {
    await transport.close();
    this.#busy = false;
  }
}
