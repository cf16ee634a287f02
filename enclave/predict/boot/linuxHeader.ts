import { PredictError } from '../errors.ts';

/** What QEMU writes into the setup header (Linux boot protocol, `Documentation/arch/x86/boot.rst`). */
export interface KernelLoad {
  /** Bytes; 0 for none. */
  readonly initrdBytes: number;
  readonly memoryBytes: number;
  /** Kept free below the end of low memory for ACPI tables; 0x28000 in QEMU. */
  readonly acpiDataBytes: number;
}

const FIELD = {
  loader: 0x210,
  flags: 0x211,
  initrdAddress: 0x218,
  initrdSize: 0x21c,
  heapEnd: 0x224,
  cmdlineAddress: 0x228,
  initrdMax: 0x22c,
  loadFlags: 0x236,
} as const;
const MAGIC = { offset: 0x202, value: 0x5372_6448 } as const;
const VERSION = 0x206;
const PAGE_MASK = 4095;
/** `XLF_CAN_BE_LOADED_ABOVE_4G`, which QEMU takes for a kernel that finds its initrd anywhere below 4 GiB. */
const ABOVE_4G = 1 << 1;
const OLD_LIMIT = 0x37ff_ffff;
const LARGE = 0xb000_0000;
const LOW_END_OF_LARGE = 0x8000_0000;
const HEADER_END = 0x268;

/**
 * The kernel as QEMU up to 9 hands it on with `-kernel`, and 10 with older firmware: loader, heap, command line and
 * place of the initrd are written into it, and that is what firmware measures.
 */
export function patchKernel(kernel: Uint8Array, load: KernelLoad): Uint8Array {
  if (kernel.length < HEADER_END) throw malformed('it is too short');
  const patched = Uint8Array.from(kernel);
  const view = new DataView(patched.buffer);
  if (view.getUint32(MAGIC.offset, true) !== MAGIC.value) throw malformed('it has no setup header');
  const protocol = view.getUint16(VERSION, true);
  if (protocol < 0x202) throw malformed(`its boot protocol is ${protocol.toString(16)}`);
  view.setUint8(FIELD.loader, 0xb0);
  view.setUint8(FIELD.flags, view.getUint8(FIELD.flags) | 0x80);
  view.setUint16(FIELD.heapEnd, 0xfe00, true);
  view.setUint32(FIELD.cmdlineAddress, 0x20000, true);
  if (load.initrdBytes > 0) {
    view.setUint32(FIELD.initrdAddress, initrdAddress(view, protocol, load), true);
    view.setUint32(FIELD.initrdSize, load.initrdBytes, true);
  }
  return patched;
}

function initrdAddress(view: DataView, protocol: number, load: KernelLoad): number {
  const { initrdBytes, memoryBytes, acpiDataBytes } = load;
  const low = memoryBytes < LARGE ? memoryBytes : LOW_END_OF_LARGE;
  const highest = Math.min(initrdLimit(view, protocol), low - acpiDataBytes - 1);
  if (initrdBytes > highest)
    throw new PredictError('PROFILE_INVALID', 'the initrd does not fit into the memory');
  return (highest - initrdBytes - ((highest - initrdBytes) & PAGE_MASK)) >>> 0;
}

function initrdLimit(view: DataView, protocol: number): number {
  if (protocol >= 0x20c && (view.getUint16(FIELD.loadFlags, true) & ABOVE_4G) !== 0) return 0xffff_ffff;
  const stated = protocol >= 0x203 ? view.getUint32(FIELD.initrdMax, true) : 0;
  return stated === 0 ? OLD_LIMIT : stated;
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the kernel is no bzImage: ${why}`);
}
