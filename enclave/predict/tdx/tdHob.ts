import { concat } from '../../../attestation/bytes/bytes.ts';
import { PredictError } from '../errors.ts';
import { parseTdxSections } from '../firmware/tdxMetadata.ts';

/** Memory that the firmware takes at launch. */
export interface AcceptedRange {
  readonly start: number;
  /** First address behind it. */
  readonly end: number;
}

export interface TdHobInput {
  /** Bytes of memory of the TD. */
  readonly memoryBytes: number;
  readonly tdHobAddress: number;
  /** The TD HOB and temporary memory, ascending. */
  readonly acceptedRanges: readonly AcceptedRange[];
}

const HAND_OFF_BYTES = 56;
const RESOURCE_BYTES = 48;
/** Hole below 4 GiB in QEMU's machine `q35`. */
const LARGE = 0xb000_0000;
const LOW_END_OF_LARGE = 0x8000_0000;
const FOUR_GIB = 0x1_0000_0000;
const RESOURCE = { memory: 0, unaccepted: 7 } as const;
const ATTRIBUTES = 7;

/** Reads address and ranges in the metadata of the firmware. */
export function tdHobInput(firmware: Uint8Array, memoryBytes: number): TdHobInput {
  const sections = parseTdxSections(firmware);
  const hob = sections.find(({ type }) => type === 'td-hob');
  if (!hob) throw new PredictError('FIRMWARE_MALFORMED', 'there is no section for the TD HOB');
  const accepted = sections.filter(({ type }) => type === 'td-hob' || type === 'temporary');
  return {
    memoryBytes,
    tdHobAddress: hob.address,
    acceptedRanges: accepted
      .map(({ address, size }) => ({ start: address, end: address + size }))
      .sort((a, b) => a.start - b.start),
  };
}

/**
 * The list of hand-off blocks that QEMU writes, without its end marker, which is not measured (UEFI Platform
 * Initialization, volume 3). It is the first event of RTMR0, and says how much memory the TD has.
 */
export function encodeTdHob({ memoryBytes, tdHobAddress, acceptedRanges }: TdHobInput): Uint8Array {
  const lowEnd = memoryBytes >= LARGE ? LOW_END_OF_LARGE : memoryBytes;
  const resources: Uint8Array[] = [];
  let next = 0;
  for (const { start, end } of acceptedRanges) {
    if (start < next || end <= start || end > lowEnd) {
      throw new PredictError('PROFILE_INVALID', 'the ranges do not lie in the memory in ascending order');
    }
    if (start > next) resources.push(resource(RESOURCE.unaccepted, next, start));
    resources.push(resource(RESOURCE.memory, start, end));
    next = end;
  }
  resources.push(resource(RESOURCE.unaccepted, next, lowEnd));
  if (memoryBytes >= LARGE) {
    resources.push(resource(RESOURCE.unaccepted, FOUR_GIB, FOUR_GIB + memoryBytes - LOW_END_OF_LARGE));
  }
  return concat(handOff(tdHobAddress, resources.length), ...resources);
}

function handOff(address: number, resources: number): Uint8Array {
  const block = new Uint8Array(HAND_OFF_BYTES);
  const view = new DataView(block.buffer);
  const end = address + HAND_OFF_BYTES + resources * RESOURCE_BYTES + 8;
  view.setUint16(0, 1, true);
  view.setUint16(2, HAND_OFF_BYTES, true);
  view.setUint32(8, 9, true);
  view.setBigUint64(48, BigInt(end), true);
  return block;
}

function resource(type: number, start: number, end: number): Uint8Array {
  const block = new Uint8Array(RESOURCE_BYTES);
  const view = new DataView(block.buffer);
  view.setUint16(0, 3, true);
  view.setUint16(2, RESOURCE_BYTES, true);
  view.setUint32(24, type, true);
  view.setUint32(28, ATTRIBUTES, true);
  view.setBigUint64(32, BigInt(start), true);
  view.setBigUint64(40, BigInt(end - start), true);
  return block;
}
