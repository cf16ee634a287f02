import { concat, fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';
import { authenticodeDigest, peSections, sectionData } from './portableExecutable.ts';
import { type Measured, utf16WithNul } from './register.ts';

/**
 * Sections in the order in which the stub of systemd measures them into PCR 11 (systemd-stub(7); `unified_sections` of
 * src/fundamental/uki.c). Stub 252 leaves `.uname` and `.sbat` out, 254 does not; 257 knows `.ucode`, `.profile` and
 * `.hwids` as well. `.pcrsig` never is.
 */
export const MEASURED_SECTIONS = [
  '.linux', '.osrel', '.cmdline', '.initrd', '.ucode', '.splash', '.dtb', '.uname', '.sbat', '.pcrpkey', '.profile',
  '.hwids',
] as const; // prettier-ignore
export type MeasuredSection = (typeof MEASURED_SECTIONS)[number];

/** What measured boot sees of a unified kernel image; each part by its bytes or its digest in one bank. */
export interface UkiMeasurements {
  /** Authenticode digest of the whole image. */
  readonly image: Uint8Array;
  /** That of the kernel in `.linux`, which the stub starts through the firmware. */
  readonly kernel: Uint8Array;
  /** Those that are there and that this stub measures. */
  readonly sections: ReadonlyMap<MeasuredSection, Measured>;
  /** Text of `.cmdline`. */
  readonly cmdline: string;
  /** What the stub hands to the kernel, where that is more than `.initrd`. */
  readonly initrd?: Measured;
}

/** Releases of the stub that differ in what they measure. */
export type StubRelease = 'systemd-252' | 'systemd-254' | 'systemd-257';

const NOT_IN_254: readonly MeasuredSection[] = ['.ucode', '.profile', '.hwids'];
const NOT_MEASURED: Readonly<Record<StubRelease, readonly MeasuredSection[]>> = {
  'systemd-252': ['.uname', '.sbat', ...NOT_IN_254],
  'systemd-254': NOT_IN_254,
  'systemd-257': [],
};

/** Sections that a stub packs into archives behind the initrd, in this order: `/.extra/NAME` of the running system. */
const PACKED_SECTIONS = [
  ['.pcrsig', 'tpm2-pcr-signature.json'],
  ['.pcrpkey', 'tpm2-pcr-public-key.pem'],
  ['.profile', 'profile'],
  ['.osrel', 'os-release'],
] as const;
/** Only 257 packs these. */
const PACKED_IN_257: readonly string[] = ['.profile', '.osrel'];

/** Reads a unified kernel image. Refuses as `IMAGE_MALFORMED` one without kernel, initrd or command line. */
export function measureUki(
  uki: Uint8Array,
  stub: StubRelease,
  bank: HashName,
  crypto: CryptoProvider,
): UkiMeasurements {
  const found = new Map<string, Uint8Array>();
  for (const section of peSections(uki)) {
    if (found.has(section.name)) throw malformed(`${section.name} is there twice`);
    found.set(section.name, sectionData(uki, section));
  }
  const part = (name: MeasuredSection): Uint8Array => {
    const bytes = found.get(name);
    if (bytes) return bytes;
    throw malformed(`it has no ${name}`);
  };
  const measured = MEASURED_SECTIONS.filter((name) => found.has(name) && !NOT_MEASURED[stub].includes(name));
  // Both are measured a second time, by the kernel: without one of them PCR 9 would be another.
  const [kernel, cmdline, initrd] = [part('.linux'), part('.cmdline'), part('.initrd')];
  // Which of them is measured depends on the machine.
  if (stub === 'systemd-257' && found.has('.dtbauto'))
    throw malformed('it chooses a device tree by the machine');
  return {
    image: authenticodeDigest(uki, bank, crypto),
    kernel: authenticodeDigest(kernel, bank, crypto),
    sections: new Map(measured.map((name) => [name, { bytes: part(name) }])),
    cmdline: fromUtf8(cmdline).replace(/\0.*$/s, ''),
    initrd: { bytes: combinedInitrd(initrd, found, stub) },
  };
}

/**
 * The initrd with the archives that the stub makes (`combine_initrds` of src/boot/stub.c): each part ends at a multiple
 * of 4 bytes. Alone it goes as it is.
 */
function combinedInitrd(
  initrd: Uint8Array,
  found: ReadonlyMap<string, Uint8Array>,
  stub: StubRelease,
): Uint8Array {
  const microcode = stub === 'systemd-257' ? found.get('.ucode') : undefined;
  const packed = PACKED_SECTIONS.flatMap(([section, name]) => {
    const data = found.get(section);
    return data && (stub === 'systemd-257' || !PACKED_IN_257.includes(section))
      ? [packExtra(name, data)]
      : [];
  });
  if (!microcode && packed.length === 0) return initrd;
  return concat(...[...(microcode ? [microcode] : []), initrd, ...packed].map(upToFour));
}

/** `pack_cpio_literal` of src/boot/cpio.c: the folder, the file, and the end of a «newc» archive. */
function packExtra(name: string, data: Uint8Array): Uint8Array {
  return concat(
    cpioRecord(1, 0o040555, '.extra', new Uint8Array()),
    cpioRecord(2, 0o100444, `.extra/${name}`, data),
    utf8(`070701${'0'.repeat(32)}00000001${'0'.repeat(48)}0000000B${'0'.repeat(8)}TRAILER!!!\0\0\0\0`),
  );
}

function cpioRecord(inode: number, mode: number, path: string, data: Uint8Array): Uint8Array {
  const numbers = [inode, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length + 1, 0];
  const header = numbers.map((number) => number.toString(16).padStart(8, '0')).join('');
  return concat(upToFour(utf8(`070701${header}${path}\0`)), upToFour(data));
}

function upToFour(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  whole.set(bytes);
  return whole;
}

/** Name and data of each section: what the stub measures into PCR 11. */
export function sectionEvents(sections: UkiMeasurements['sections']): readonly Measured[] {
  return MEASURED_SECTIONS.flatMap((name) => {
    const data = sections.get(name);
    return data ? [{ bytes: utf8(`${name}\0`) }, data] : [];
  });
}

/** Command line and initrd, as the kernel's own EFI stub measures them (PCR 9). */
export function loadEvents({
  cmdline,
  sections,
  initrd = sections.get('.initrd'),
}: Pick<UkiMeasurements, 'cmdline' | 'sections' | 'initrd'>): readonly Measured[] {
  if (!initrd) throw malformed('it has no .initrd');
  return [{ bytes: utf16WithNul(cmdline) }, initrd];
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the image is no unified kernel image: ${why}`);
}
