import { equalBytes, isZero } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { devicePathText } from './devicePath.ts';
import { EV } from './eventTypes.ts';
import type { BootEvent } from './log.ts';
import { AAEL_TAG, readTaggedEvent } from './tagged.ts';
import { anyText, guidText, hexText, isUtf16Ascii, shorten, textOrHex, utf16Text, utf8Text } from './text.ts';
import { readEfiVariable } from './variable.ts';

const LABELS: readonly (readonly [string, string])[] = [
  ['grub_cmd: ', 'GRUB command'],
  ['grub_cmd ', 'GRUB command'],
  ['kernel_cmdline: ', 'kernel command line'],
  ['grub_kernel_cmdline ', 'kernel command line'],
  ['module_cmdline: ', 'module command line'],
];
/** Tags of the EFI stub of Linux. */
const LINUX_TAGS: ReadonlyMap<number, string> = new Map([
  [0x8f3b_22ec, 'Linux initrd'],
  [0x8f3b_22ed, 'Linux command line'],
]);
const ONES = Uint8Array.of(0xff, 0xff, 0xff, 0xff);
const ERROR_MARK = Uint8Array.of(1, 0, 0, 0);
const GPT_HEADER_BYTES = 92;
const GPT_DISK_GUID_OFFSET = 56;

const TEXTS: ReadonlyMap<number, (data: Uint8Array) => string> = new Map([
  [EV.NO_ACTION, noAction],
  [EV.SEPARATOR, separator],
  [EV.EVENT_TAG, tagged],
  [EV.S_CRTM_VERSION, crtmVersion],
  [EV.IPL, ipl],
  [EV.EFI_VARIABLE_DRIVER_CONFIG, variable],
  [EV.EFI_VARIABLE_BOOT, variable],
  [EV.EFI_VARIABLE_BOOT2, variable],
  [EV.EFI_VARIABLE_AUTHORITY, variable],
  [EV.EFI_BOOT_SERVICES_APPLICATION, image],
  [EV.EFI_BOOT_SERVICES_DRIVER, image],
  [EV.EFI_RUNTIME_SERVICES_DRIVER, image],
  [EV.EFI_GPT_EVENT, partitionTable],
  [EV.EFI_GPT_EVENT2, partitionTable],
  [EV.EFI_PLATFORM_FIRMWARE_BLOB, firmware],
  [EV.EFI_PLATFORM_FIRMWARE_BLOB2, namedFirmware],
  [EV.EFI_HANDOFF_TABLES2, namedTables],
]);

/**
 * What an event says, for people: valid Unicode of bounded length, as its writer chose it. It may hold control
 * characters and text that reads from right to left: whoever prints it removes them. It proves nothing.
 */
export function describeEvent(event: BootEvent): string {
  if (event.runtime) return shorten(`${event.runtime.name}: ${textOrHex(event.data)}`);
  try {
    return shorten((TEXTS.get(event.type) ?? textOrHex)(event.data));
  } catch (error) {
    if (error instanceof Refusal) return hexText(event.data);
    throw error;
  }
}

function noAction(data: Uint8Array): string {
  const signature = utf8Text(data.subarray(0, 16));
  if (signature === 'StartupLocality') return `TPM2_Startup at locality ${data[16] ?? 'unknown'}`;
  return signature.length >= 15 ? signature : hexText(data);
}

function separator(data: Uint8Array): string {
  if (data.length === 4 && (isZero(data) || equalBytes(data, ONES))) return 'end of the firmware phase';
  if (equalBytes(data, ERROR_MARK)) return 'the firmware failed to measure';
  return textOrHex(data);
}

function tagged(bytes: Uint8Array): string {
  const { tag, data } = readTaggedEvent(bytes);
  if (tag === AAEL_TAG) return `application event: ${utf8Text(data)}`;
  const name = LINUX_TAGS.get(tag) ?? `tag 0x${tag.toString(16).padStart(8, '0')}`;
  return `${name}: ${textOrHex(data)}`;
}

function crtmVersion(data: Uint8Array): string {
  return data.length === 16 && !isUtf16Ascii(data) ? guidText(data) : textOrHex(data);
}

function ipl(data: Uint8Array): string {
  const text = anyText(data);
  const found = LABELS.find(([label]) => text.startsWith(label));
  if (!found) return textOrHex(data);
  const [label, name] = found;
  return `${name}: ${text.slice(label.length)}`;
}

function variable(data: Uint8Array): string {
  const { guid, name, value } = readEfiVariable(data);
  return `${name} (${guid}): ${bootOption(name, value) ?? hexText(value)}`;
}

/** Description of an EFI_LOAD_OPTION: after attributes and the length of the path list. */
function bootOption(name: string, value: Uint8Array): string | undefined {
  return /^Boot[0-9A-F]{4}$/.test(name) && value.length > 6 ? utf16Text(value.subarray(6)) : undefined;
}

/** UEFI_IMAGE_LOAD_EVENT. Some boot loaders log zeros and no path. */
function image(data: Uint8Array): string {
  const reader = new ByteReader(data, 'image load event');
  // Address, length and link address in memory: they differ between boots of one image.
  reader.take(24);
  return devicePathText(reader.take(Number(reader.u64le())));
}

function partitionTable(data: Uint8Array): string {
  const reader = new ByteReader(data, 'partition table event');
  const header = reader.take(GPT_HEADER_BYTES);
  const disk = guidText(header.subarray(GPT_DISK_GUID_OFFSET, GPT_DISK_GUID_OFFSET + 16));
  return `partition table of disk ${disk} with ${reader.u64le()} partitions`;
}

function firmware(data: Uint8Array): string {
  const reader = new ByteReader(data, 'firmware blob event');
  return region(reader);
}

function namedFirmware(data: Uint8Array): string {
  const reader = new ByteReader(data, 'firmware blob event');
  const name = utf8Text(reader.take(reader.u8()));
  return `${name}: ${region(reader)}`;
}

function region(reader: ByteReader): string {
  const [base, length] = [reader.u64le(), reader.u64le()];
  return `${length} bytes at 0x${base.toString(16)}`;
}

function namedTables(data: Uint8Array): string {
  const reader = new ByteReader(data, 'handoff tables event');
  return utf8Text(reader.take(reader.u8()));
}
