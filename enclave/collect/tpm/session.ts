import { CollectError } from '../errors.ts';
import { encodeCommand, type TpmCommand } from './command.ts';
import type { Deadline } from './deadline.ts';
import { isRetry, parseResponse, type TpmRefusal, type TpmResponse } from './response.ts';
import type { TpmTransport } from './transport.ts';

const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 250;

/** Commands to one TPM under one deadline, over one descriptor or connection. */
export class TpmSession {
  readonly deadline: Deadline;
  /** Transient objects that were made and not flushed yet. */
  readonly loaded: Set<number>;
  readonly #transport: TpmTransport;

  constructor(transport: TpmTransport, deadline: Deadline, loaded: Set<number>) {
    this.#transport = transport;
    this.deadline = deadline;
    this.loaded = loaded;
  }

  /** Sends the command again while the TPM asks for it; once the deadline has passed, throws what the TPM said last. */
  async run(command: TpmCommand): Promise<TpmResponse> {
    const encoded = encodeCommand(command);
    let refusal: TpmRefusal | undefined;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        return parseResponse(await this.#transport.exchange(encoded, this.deadline), command);
      } catch (error) {
        if (refusal && error instanceof CollectError && error.code === 'DEVICE_TIMEOUT') throw refusal;
        if (!isRetry(error)) throw error;
        refusal = error;
      }
      if (!(await this.deadline.pause(pause))) throw refusal;
    }
  }
}
