import { CollectError } from '../errors.ts';
import type { Finding } from '../finding.ts';
import { GuestDevice } from './device.ts';

export interface DeviceSought {
  readonly way: string;
  readonly path: string;
  readonly cLibrary?: string | undefined;
  readonly fix: {
    /** Where the device is not there. */
    readonly absent: string;
    /** Where it may not be opened. */
    readonly denied: string;
    /** Where it is open, and what it is asked more fails. */
    readonly silent?: string;
  };
  /** Asks the open device more, where that changes nothing; what it says is added to the finding. */
  readonly ask?: (device: GuestDevice) => Promise<string>;
}

/** Opens the device and closes it again: no report is asked for. Never throws. */
export async function findDevice({ way, path, cLibrary, fix, ask }: DeviceSought): Promise<Finding> {
  let device: GuestDevice | undefined;
  try {
    device = await GuestDevice.open(path, cLibrary);
    const more = ask ? `; ${await ask(device)}` : '';
    return { way, state: 'usable', detail: `${path} can be opened${more}` };
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    if (device)
      return {
        way,
        state: 'unusable',
        detail: `${path} can be opened; ${detail}`,
        fix: fix.silent ?? fix.denied,
      };
    const code = error instanceof CollectError ? error.code : undefined;
    if (code === 'DEVICE_MISSING') return { way, state: 'absent', detail, fix: fix.absent };
    const advice = error instanceof CollectError ? error.advice : fix.denied;
    return { way, state: 'unusable', detail, fix: code === 'PERMISSION_DENIED' ? fix.denied : advice };
  } finally {
    await device?.close().catch(() => undefined);
  }
}
