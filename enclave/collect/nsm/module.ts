import { nativeCopy, nativeMemory } from '../../native/memory.ts';
import { CollectError } from '../errors.ts';
import { requestFailed, type GuestDevice } from '../guestDevice/device.ts';
import {
  encodeAttestation,
  encodeDescription,
  MAX_REQUEST_BYTES,
  MAX_RESPONSE_BYTES,
  readAttestation,
  readDescription,
  type AttestationAsk,
  type NsmDescription,
} from './messages.ts';

/** Linux, include/uapi/linux/nsm.h: `_IOWR(0x0A, 0, 32 bytes)`. */
export const NSM_IOCTL_RAW = 0xc0200a00;
/** Address and length of the request, then of the room for the answer, u64 each. */
const ARGUMENT_BYTES = 32;

/** An attestation document with these members; what it says is not looked at here. */
export async function requestDocument(device: GuestDevice, ask: AttestationAsk): Promise<Uint8Array> {
  return readAttestation(await exchange(device, encodeAttestation(ask)));
}

export async function describeModule(device: GuestDevice): Promise<NsmDescription> {
  return readDescription(await exchange(device, encodeDescription()));
}

/** One request and its answer. The driver lets one through at a time and waits for up to two minutes. */
async function exchange(device: GuestDevice, message: Uint8Array): Promise<Uint8Array> {
  if (message.length > MAX_REQUEST_BYTES) throw new RangeError('the request is longer than the driver takes');
  const request = nativeCopy(message);
  const response = nativeMemory(MAX_RESPONSE_BYTES);
  const argument = nativeMemory(ARGUMENT_BYTES);
  const view = new DataView(argument.buffer);
  view.setBigUint64(0, device.calls.address(request), true);
  view.setBigUint64(8, BigInt(request.length), true);
  view.setBigUint64(16, device.calls.address(response), true);
  view.setBigUint64(24, BigInt(response.length), true);
  try {
    await device.request(NSM_IOCTL_RAW, argument, [request, response]);
  } catch (error) {
    throw requestFailed(error, device);
  }
  // The driver writes how much the module answered in place of the room that there was.
  const length = view.getBigUint64(24, true);
  if (length === 0n || length > BigInt(response.length)) {
    throw new CollectError('EVIDENCE_MALFORMED', `${device.path} says it answered ${length} bytes`);
  }
  return response.slice(0, Number(length));
}
