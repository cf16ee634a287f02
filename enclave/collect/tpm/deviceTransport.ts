import { open, type FileHandle } from 'node:fs/promises';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { CollectError } from '../errors.ts';
import type { Deadline } from './deadline.ts';
import { isWhole, MAX_RESPONSE_BYTES } from './responseSize.ts';
import { deviceError } from '../systemError.ts';
import type { TpmTransport } from './transport.ts';

/**
 * `/dev/tpmrm0`, or `/dev/tpm0`, which only one process can have open. One command per write, one response per read.
 * Calls run on the thread pool and cannot be called off: one that outlives its deadline keeps the descriptor, and
 * `close` waits for it.
 */
export class DeviceTransport implements TpmTransport {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #underWay: Promise<unknown> = Promise.resolve();
  #broken = true;

  constructor(path: string) {
    this.#path = path;
  }

  async open(deadline: Deadline): Promise<void> {
    const opening = open(this.#path, 'r+').then((handle) => {
      this.#handle = handle;
    });
    this.#underWay = opening.catch(() => undefined);
    try {
      await deadline.wait(opening, `opening ${this.#path}`);
      this.#broken = false;
    } catch (error) {
      throw deviceError(error, `opening ${this.#path}`);
    }
  }

  async exchange(command: Uint8Array, deadline: Deadline): Promise<Uint8Array> {
    const handle = this.#handle;
    if (this.#broken || !handle) {
      throw new CollectError('DEVICE_BUSY', `${this.#path} still works on an earlier command`);
    }
    this.#broken = true;
    const transfer = this.#transfer(handle, command);
    this.#underWay = transfer.catch(() => undefined);
    try {
      const response = await deadline.wait(transfer, `a command to ${this.#path}`);
      this.#broken = false;
      return response;
    } catch (error) {
      throw deviceError(error, `a command to ${this.#path}`);
    }
  }

  async close(): Promise<void> {
    this.#broken = true;
    await this.#underWay;
    await this.#handle?.close().catch(() => undefined);
  }

  async #transfer(handle: FileHandle, command: Uint8Array): Promise<Uint8Array> {
    const { bytesWritten } = await handle.write(command, 0, command.length, null);
    if (bytesWritten !== command.length) {
      throw new CollectError(
        'DEVICE_REFUSED',
        `${this.#path} took ${bytesWritten} bytes of ${command.length}`,
      );
    }
    let received: Uint8Array = new Uint8Array();
    while (!isWhole(received)) {
      const chunk = new Uint8Array(MAX_RESPONSE_BYTES);
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, null);
      if (bytesRead === 0) {
        const reason = `${this.#path} ended its response after ${received.length} bytes`;
        throw new CollectError('EVIDENCE_MALFORMED', reason);
      }
      received = concat(received, chunk.subarray(0, bytesRead));
    }
    return received;
  }
}
