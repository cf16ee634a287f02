import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { CollectError } from '../errors.ts';
import { deviceError, systemCode } from '../systemError.ts';
import type { CLibrary } from '../../native/cLibrary.ts';
import { openLibrary } from './openLibrary.ts';

/** Signals that may break one request off; a driver that goes on saying so has another problem. */
const MAX_INTERRUPTIONS = 10;

/** A device of the guest, open for as long as the process collects. One request at a time: see `DeviceGate`. */
export class GuestDevice {
  readonly path: string;
  /** What its requests are made with. */
  readonly calls: CLibrary;
  readonly #handle: FileHandle;
  /** The request that is with the kernel. */
  #out: Promise<unknown> | undefined;

  private constructor(path: string, calls: CLibrary, handle: FileHandle) {
    this.path = path;
    this.calls = calls;
    this.#handle = handle;
  }

  /** `cLibrary` is the path of one that has `ioctl`; by default the one that this process runs on. */
  static async open(path: string, cLibrary?: string): Promise<GuestDevice> {
    const handle = await open(path, constants.O_RDWR).catch((error: unknown) => {
      throw deviceError(error, `cannot open ${path}`);
    });
    try {
      return new GuestDevice(path, await openLibrary(cLibrary), handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * One request; throws `SystemCallError`. `behind` is memory behind addresses in the argument. A request that a
   * signal broke off is made again: the kernel has not answered it.
   */
  async request(number: number, argument: Uint8Array, behind: readonly Uint8Array[] = []): Promise<void> {
    for (let left = MAX_INTERRUPTIONS; ; left--) {
      const call = this.calls.call('ioctl', [this.#handle.fd, number, argument], behind);
      this.#out = call;
      try {
        await call;
        return;
      } catch (error) {
        if (systemCode(error) !== 'EINTR' || left === 0) throw error;
      } finally {
        this.#out = undefined;
      }
    }
  }

  /** Closes the device. While a request is out its descriptor stays: its number could else become another file's. */
  async close(): Promise<void> {
    const close = () => this.#handle.close();
    if (this.#out) void this.#out.then(close, close).catch(() => undefined);
    else await close();
  }
}

/** What a failed request says of the device. */
export function requestFailed(error: unknown, device: GuestDevice): unknown {
  if (systemCode(error) === 'ENXIO') {
    return new CollectError('DEVICE_LOST', `${device.path} is gone: ENXIO`, { cause: error });
  }
  return deviceError(error, `${device.path} refused the request`);
}
