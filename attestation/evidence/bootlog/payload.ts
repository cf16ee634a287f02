import { concat, equalBytes, utf8 } from '../../bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { runtimePreimage } from './dstack.ts';
import { EV } from './eventTypes.ts';
import { isExtended, type BootEvent } from './log.ts';
import { AAEL_TAG, readTaggedEvent, type TaggedEvent } from './tagged.ts';
import { isUtf16Ascii } from './text.ts';
import { readEfiVariable } from './variable.ts';

/**
 * What the digest says about the data of an event.
 * - `verified`: the digest is over `digested`, and the register that it went into has the value that was signed.
 * - `mismatch`: events of this type digest their data, this one does not. Firmware and boot loaders exist that log
 *   something else than they measure; the data must not be used.
 * - `not over data`: the digest is over a file, an image or a table; the data is a description that nobody checked.
 * - `ambiguous`: the digest is over name and payload, but they can be told apart in more than one way.
 * - `absent`: the log was stripped of the data.
 * - `not extended`: the event went into no register.
 * - `unjudged`: the digest is over the data, but the value of the register was not given.
 */
export type PayloadState =
  'verified' | 'mismatch' | 'not over data' | 'ambiguous' | 'absent' | 'not extended' | 'unjudged';

export interface PayloadJudgement {
  readonly state: PayloadState;
  /** The bytes that the digest is over, where they are known. Often not all of the data. */
  readonly digested: Uint8Array | undefined;
}

/** Types whose digest is over the data by the firmware profile. */
const OVER_DATA: ReadonlySet<number> = new Set([
  EV.SEPARATOR,
  EV.ACTION,
  EV.S_CRTM_VERSION,
  EV.NONHOST_INFO,
  EV.EFI_VARIABLE_DRIVER_CONFIG,
  EV.EFI_VARIABLE_BOOT,
  EV.EFI_VARIABLE_BOOT2,
  EV.EFI_VARIABLE_AUTHORITY,
  EV.EFI_GPT_EVENT,
  EV.EFI_ACTION,
]);
/** Those of them of which no genuine log is known that breaks the rule. */
const NEVER_BROKEN: ReadonlySet<number> = new Set([
  EV.SEPARATOR,
  EV.EFI_VARIABLE_DRIVER_CONFIG,
  EV.EFI_ACTION,
]);

/** Labels that boot loaders put before the text they digest. The label itself is not digested. */
const IPL_LABELS = [
  'grub_cmd: ',
  'kernel_cmdline: ',
  'module_cmdline: ',
  // GRUB of Red Hat Enterprise Linux 8 and its kin.
  'grub_cmd ',
  'grub_kernel_cmdline ',
].map(utf8);
const NUL = Uint8Array.of(0);
/** Digested in place of the separator when firmware fails to measure (firmware profile 1.06, EV_SEPARATOR). */
const ERROR_SEPARATOR = Uint8Array.of(1, 0, 0, 0);

/** Compares the data of an event with its digest in one bank. */
export function judgePayload(
  event: BootEvent,
  digest: Uint8Array,
  bank: HashName,
  crypto: CryptoProvider,
): PayloadJudgement {
  const isDigested = (bytes: Uint8Array): boolean => equalBytes(crypto.hash(bank, bytes), digest);
  if (!isExtended(event)) return plain('not extended');
  if (event.runtime) {
    if (!isDigested(runtimePreimage(event, event.runtime))) return plain('mismatch');
    const { name, version } = event.runtime;
    return version === 1 && name.includes(':')
      ? plain('ambiguous')
      : { state: 'verified', digested: event.data };
  }
  for (const digested of candidates(event)) {
    if (isDigested(digested)) return { state: 'verified', digested };
  }
  if (event.data.length === 0) return plain('absent');
  if (event.type === EV.SEPARATOR && isDigested(ERROR_SEPARATOR)) return plain('not over data');
  return plain(claimsDigest(event) ? 'mismatch' : 'not over data');
}

/** Whether a mismatch refuses the log: its writer changed data that a reader would trust. */
export function mustMatch(event: BootEvent): boolean {
  return event.runtime !== undefined || NEVER_BROKEN.has(event.type) || isAael(event);
}

/** Whether the digest should be over the data, by the type or by how a boot loader labelled it. */
function claimsDigest(event: BootEvent): boolean {
  const isLabelled = event.type === EV.IPL && IPL_LABELS.some((label) => startsWith(event.data, label));
  return OVER_DATA.has(event.type) || isLabelled || isAael(event);
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, start.length), start);
}

function plain(state: PayloadState): PayloadJudgement {
  return { state, digested: undefined };
}

/** What the digest may be over: all of the data, then what is known of the type. The first that fits counts. */
function* candidates(event: BootEvent): Generator<Uint8Array> {
  yield event.data;
  switch (event.type) {
    case EV.EFI_VARIABLE_BOOT:
    case EV.EFI_VARIABLE_BOOT2:
      yield* variableValue(event.data);
      break;
    case EV.EFI_VARIABLE_AUTHORITY:
      // shim without its commit 8a27a480 logs one byte more than it measures.
      yield event.data.subarray(0, -1);
      break;
    case EV.EVENT_TAG:
      yield* taggedData(event);
      break;
    case EV.IPL:
      yield* iplTexts(event.data);
      break;
    default:
  }
}

/** EDK2 measures the value of boot variables, without GUID and name: these are not proved then. */
function* variableValue(data: Uint8Array): Generator<Uint8Array> {
  const variable = unlessRefused(() => readEfiVariable(data));
  if (variable?.rest.length === 0) yield variable.value;
}

function* taggedData(event: BootEvent): Generator<Uint8Array> {
  const tagged = tagOf(event);
  if (tagged && tagged.tag !== AAEL_TAG) yield tagged.data;
}

/** Boot loaders agree on nothing: text with or without its label and its NUL, or the same text in another encoding. */
function* iplTexts(data: Uint8Array): Generator<Uint8Array> {
  const end = data.indexOf(0);
  const line = end === -1 ? data : data.subarray(0, end);
  for (const label of IPL_LABELS) {
    if (!startsWith(line, label)) continue;
    const text = line.subarray(label.length);
    yield text;
    yield concat(text, NUL);
  }
  if (!isUtf16Ascii(data)) return;
  // systemd-stub logs the name of a section in UTF-16 and measures it in ASCII with its NUL; old systemd-boot logs one
  // byte less than it measures.
  if (data.length % 2 === 0) yield data.filter((_, i) => i % 2 === 0);
  else yield concat(data, NUL);
}

function isAael(event: BootEvent): boolean {
  return event.type === EV.EVENT_TAG && tagOf(event)?.tag === AAEL_TAG;
}

function tagOf({ data }: BootEvent): TaggedEvent | undefined {
  return unlessRefused(() => readTaggedEvent(data));
}

function unlessRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
