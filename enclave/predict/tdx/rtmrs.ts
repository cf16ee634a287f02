import { concat, fromHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { type Boot, directLoadEvents } from '../boot/pcrs.ts';
import { EVENTS, type Measured, registerOf } from '../boot/register.ts';
import { loadEvents, sectionEvents } from '../boot/uki.ts';
import { utf16WithNul } from '../boot/register.ts';

/** EFI_GUIDs as they lie in memory. */
const GLOBAL = fromHex('61dfe48bca93d211aa0d00e098032b8c');
const SECURITY = fromHex('cbb219d73a3d9645a3bcdad00e67656f');

/** Secure boot of the firmware: builds without it have empty variables. */
export type SecureBoot = 'absent' | 'off';

/** What RTMR0 is made of (OVMF under QEMU before edk2 stable202505). */
export interface Rtmr0Input {
  readonly tdHob: Measured;
  /** Volume of variables in the firmware file. */
  readonly variableVolume: Measured;
  readonly secureBoot: SecureBoot;
  /**
   * ACPI tables of QEMU: loader, root pointer, tables. They depend on the release of QEMU, processors, memory and
   * devices, and cannot be predicted: their digests come from the log of a boot of this platform.
   */
  readonly acpi: readonly [Measured, Measured, Measured];
  readonly bootOrder: Measured;
  /** Each `Boot####`, in the order of `BootOrder`. */
  readonly bootOptions: readonly Measured[];
}

export function predictRtmr0(input: Rtmr0Input, crypto: CryptoProvider): Uint8Array {
  const { tdHob, variableVolume, secureBoot, acpi, bootOrder, bootOptions } = input;
  const state = secureBoot === 'absent' ? new Uint8Array(0) : new Uint8Array(1);
  return registerOf(
    [
      tdHob,
      variableVolume,
      { bytes: variableEvent(GLOBAL, 'SecureBoot', state) },
      { bytes: variableEvent(GLOBAL, 'PK') },
      { bytes: variableEvent(GLOBAL, 'KEK') },
      { bytes: variableEvent(SECURITY, 'db') },
      { bytes: variableEvent(SECURITY, 'dbx') },
      EVENTS.separator,
      ...acpi,
      bootOrder,
      ...bootOptions,
    ],
    'sha384',
    crypto,
  );
}

/**
 * Separators that firmware logs in RTMR1: one under QEMU with edk2, none on Google Cloud (2024), whose firmware logs
 * both in RTMR0, and five where PCRs 2 to 6 of a TPM are taken for this register.
 */
export type Separators = 0 | 1 | 5;

/** What the firmware starts and how it ends: PCRs 2 to 6 of a TPM. */
export function predictRtmr1(boot: Boot, separators: Separators, crypto: CryptoProvider): Uint8Array {
  const separator = Array.from({ length: separators }, () => EVENTS.separator);
  const exit = [EVENTS.exitBootServices, EVENTS.exitedBootServices];
  return registerOf([...startEvents(boot, separator), ...exit], 'sha384', crypto);
}

function startEvents(boot: Boot, separator: readonly Measured[]): readonly Measured[] {
  if (boot.kind === 'direct')
    return [{ digest: boot.direct.kernel }, EVENTS.callingApplication, ...separator];
  const gpt = boot.gpt ? [{ bytes: boot.gpt }] : [];
  const { image, kernel } = boot.uki;
  return [EVENTS.callingApplication, ...separator, ...gpt, { digest: image }, { digest: kernel }];
}

/** Sections of the image, command line and initrd: PCRs 8 to 15 of a TPM. */
export function predictRtmr2(boot: Boot, crypto: CryptoProvider): Uint8Array {
  const events =
    boot.kind === 'direct'
      ? directLoadEvents(boot.direct)
      : [...sectionEvents(boot.uki.sections), ...loadEvents(boot.uki)];
  return registerOf(events, 'sha384', crypto);
}

/** `UEFI_VARIABLE_DATA`: GUID, characters of the name, bytes of the data, name without NUL, data. */
function variableEvent(guid: Uint8Array, name: string, data: Uint8Array = utf8('')): Uint8Array {
  const lengths = new Uint8Array(16);
  const view = new DataView(lengths.buffer);
  view.setBigUint64(0, BigInt(name.length), true);
  view.setBigUint64(8, BigInt(data.length), true);
  return concat(guid, lengths, utf16WithNul(name).subarray(0, -2), data);
}
