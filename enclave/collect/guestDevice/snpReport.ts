import { setTimeout as delay } from 'node:timers/promises';
import { MAX_TABLE_BYTES } from '../certificateTable.ts';
import { CollectError } from '../errors.ts';
import type { Deadline } from '../deviceGate.ts';
import { SystemCallError } from '../../native/systemCallError.ts';
import { requestFailed, type GuestDevice } from './device.ts';
import {
  encodeSnpRequest,
  readSnpFailure,
  readSnpResponse,
  VMM_BUSY,
  VMM_INVALID_LENGTH,
  type SnpFailure,
  type SnpRequest,
} from './snpRequest.ts';

const PAGE_BYTES = 4096;
/** The most that Linux takes (SEV_FW_BLOB_MAX_SIZE). */
const FIRST_TABLE_BYTES = 4 * PAGE_BYTES;
/** What a later request may overcome: the host throttles, or another program asks. */
const TRANSIENT: readonly string[] = ['EAGAIN', 'EBUSY'];

/** Firmware errors of a request that did not come to the firmware: none, and SEV_RET_NO_FW_CALL. */
const NOT_ASKED: readonly number[] = [0, 0xff];

export interface SnpReportRequest {
  readonly reportData: Uint8Array;
  readonly vmpl: number;
  /** Pause before a throttled request is made again, in milliseconds. */
  readonly pauseMs: number;
}

/** A report, and the host's certificate table; empty where the host has none, or more than a guest can take. */
export interface SnpAnswer {
  readonly report: Uint8Array;
  readonly table: Uint8Array;
}

/**
 * Asks for a report with certificates. A host that wants a larger buffer gets it once; after that, or where the kernel
 * refuses the size, the report is taken without certificates, which others can supply: each refusal has cost a
 * request to the firmware. Throttled requests are made again until the deadline.
 */
export async function requestSnpReport(
  device: GuestDevice,
  { reportData, vmpl, pauseMs }: SnpReportRequest,
  deadline: Deadline,
): Promise<SnpAnswer> {
  let certificateBytes = FIRST_TABLE_BYTES;
  for (;;) {
    const request = encodeSnpRequest({ reportData, vmpl, certificateBytes }, (memory) =>
      device.calls.address(memory),
    );
    const error = await ask(device, request);
    if (!error) return { report: readSnpResponse(request), table: request.certificates.slice() };
    const failure = readSnpFailure(request);
    if (certificateBytes > 0 && failure.vmm === VMM_INVALID_LENGTH) {
      certificateBytes = nextSize(certificateBytes, failure.neededBytes);
    } else if (certificateBytes > FIRST_TABLE_BYTES && error.code === 'EINVAL') {
      certificateBytes = 0;
    } else if (failure.vmm === VMM_BUSY || TRANSIENT.includes(error.code)) {
      const message = `${device.path} is throttled by the host, or in use, and stayed so`;
      const busy = new CollectError('DEVICE_BUSY', message, { cause: error });
      if (deadline.remainingMs() <= pauseMs) throw busy;
      deadline.retryingAfter(busy);
      await delay(pauseMs, undefined, { signal: deadline.signal });
    } else {
      throw describe(error, failure, device);
    }
    if (deadline.signal.aborted) {
      throw new CollectError('STOPPED', `nobody waits for ${device.path} any more`);
    }
  }
}

/** The error with which the driver answered, if it did. */
async function ask(device: GuestDevice, request: SnpRequest): Promise<SystemCallError | undefined> {
  const { number, argument, response, certificates } = request;
  try {
    await device.request(number, argument, [request.request, response, certificates]);
    return undefined;
  } catch (error) {
    if (error instanceof SystemCallError) return error;
    throw error;
  }
}

/** The host says how much it wants: believed once, in whole pages, and up to a limit. */
function nextSize(given: number, needed: number): number {
  const pages = Math.ceil(needed / PAGE_BYTES) * PAGE_BYTES;
  const fits = given === FIRST_TABLE_BYTES && pages > given && pages <= MAX_TABLE_BYTES;
  return fits ? pages : 0;
}

/**
 * On an error of firmware or host the driver gives up the key that it shares with the firmware, because a message
 * under a used number would give the key away; from then on it says ENOTTY until the machine starts again.
 */
function describe(error: SystemCallError, { firmware, vmm }: SnpFailure, device: GuestDevice): unknown {
  if (error.code === 'ENOTTY') {
    const message = `${device.path} has no key to the SNP firmware any more until the machine starts again (ENOTTY)`;
    return new CollectError('DEVICE_LOST', message, { cause: error });
  }
  if (NOT_ASKED.includes(firmware) && vmm === 0) return requestFailed(error, device);
  const said = `firmware error 0x${firmware.toString(16)}, host error 0x${vmm.toString(16)}`;
  const code = error.code === 'ETIMEDOUT' ? 'DEVICE_TIMEOUT' : 'DEVICE_REFUSED';
  return new CollectError(code, `${device.path} answered ${error.code}: ${said}`, { cause: error });
}
