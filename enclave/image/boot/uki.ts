import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import { addSections, isNxCompatible } from './peFile.ts';

/** Bytes of a command line on x86 with its NUL (`COMMAND_LINE_SIZE`); the kernel cuts what is longer. */
const MAX_CMDLINE_BYTES = 2048;
/** Offset of «HdrS» in a kernel (Documentation/arch/x86/boot.rst). */
const LINUX_MAGIC = { offset: 0x202, value: 0x5372_6448 } as const;

export interface UkiParts {
  /** `linuxx64.efi.stub` of systemd, unsigned; its `.sbat` stays. */
  readonly stub: Uint8Array;
  /** A bzImage with an EFI stub, as it is packaged; its signature may stay. */
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  /** Printable ASCII, words parted by single spaces: what the stub hands on is then what is measured. */
  readonly cmdline: string;
  /** Text of os-release(5). */
  readonly osRelease: string;
  /** Release of the kernel, as `uname -r` prints it. */
  readonly uname: string;
}

/**
 * A unified kernel image (UAPI group specification): the stub, and one section for each part. Text is there without
 * a NUL: the stub measures what a section has in memory. The kernel is last, as ukify puts it: kernels that are started
 * in place need the memory behind them.
 */
export function buildUki({ stub, kernel, initrd, cmdline, osRelease, uname }: UkiParts): Uint8Array {
  checkText('command line', cmdline, MAX_CMDLINE_BYTES - 1);
  checkText('kernel release', uname, 64);
  if (!/^(?:[A-Z_]+=[\x20-\x7e]*\n)+$/.test(osRelease)) {
    throw malformed('os-release', 'it is no list of assignments');
  }
  const view = new DataView(kernel.buffer, kernel.byteOffset, kernel.byteLength);
  if (kernel.length < 0x300 || view.getUint32(LINUX_MAGIC.offset, true) !== LINUX_MAGIC.value) {
    throw malformed('kernel', 'it has no header of Linux');
  }
  const sections = [
    { name: '.osrel', data: utf8(osRelease) },
    { name: '.cmdline', data: utf8(cmdline) },
    { name: '.uname', data: utf8(uname) },
    { name: '.initrd', data: initrd },
    { name: '.linux', data: kernel },
  ];
  const image = addSections(stub, sections, isNxCompatible(kernel));
  // Firmware measures the file as it is, some tools fill it up to 8 bytes first: so all agree.
  if (image.length % 8 !== 0) throw malformed('stub', 'its sections do not end at 8 bytes');
  return image;
}

function checkText(what: string, text: string, maxLength: number): void {
  if (!/^[\x21-\x7e]+(?: [\x21-\x7e]+)*$/.test(text)) throw malformed(what, 'it is not printable text');
  if (text.length > maxLength)
    throw new ImageError('IMAGE_TOO_LARGE', `the ${what} has ${text.length} characters`);
}

function malformed(what: string, why: string): ImageError {
  return new ImageError('IMAGE_PART_MALFORMED', `the ${what} cannot go into a kernel image: ${why}`);
}
