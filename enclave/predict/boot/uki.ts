import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';
import { authenticodeDigest, peSections, sectionData } from './portableExecutable.ts';
import { type Measured, utf16WithNul } from './register.ts';

/**
 * Sections in the order in which the stub of systemd measures them into PCR 11 (systemd-stub(7)). Stub 252 leaves
 * `.uname` and `.sbat` out, 254 does not; `.pcrsig` never is.
 */
export const MEASURED_SECTIONS = [
  '.linux', '.osrel', '.cmdline', '.initrd', '.splash', '.dtb', '.uname', '.sbat', '.pcrpkey',
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
}

/** Releases of the stub that differ in what they measure. */
export type StubRelease = 'systemd-252' | 'systemd-254';

const NOT_IN_252: readonly MeasuredSection[] = ['.uname', '.sbat'];

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
  const measured = MEASURED_SECTIONS.filter(
    (name) => found.has(name) && !(stub === 'systemd-252' && NOT_IN_252.includes(name)),
  );
  // Both are measured a second time, by the kernel: without one of them PCR 9 would be another.
  const [kernel, cmdline] = [part('.linux'), part('.cmdline')];
  part('.initrd');
  return {
    image: authenticodeDigest(uki, bank, crypto),
    kernel: authenticodeDigest(kernel, bank, crypto),
    sections: new Map(measured.map((name) => [name, { bytes: part(name) }])),
    cmdline: fromUtf8(cmdline).replace(/\0.*$/s, ''),
  };
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
}: Pick<UkiMeasurements, 'cmdline' | 'sections'>): readonly Measured[] {
  const initrd = sections.get('.initrd');
  if (!initrd) throw malformed('it has no .initrd');
  return [{ bytes: utf16WithNul(cmdline) }, initrd];
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the image is no unified kernel image: ${why}`);
}
