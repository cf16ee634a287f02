import { equalBytes, isZero, utf8 } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import type { HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { EV, eventTypeName } from './eventTypes.ts';
import {
  DIGEST_BYTES,
  malformed,
  MAX_EVENTS,
  type BootEvent,
  type BootLog,
  type BootLogFormat,
} from './log.ts';

interface Algorithm {
  readonly name: HashName | 'sm3_256';
  readonly bytes: number;
}

/** TPM_ALG_ID (TCG Algorithm Registry) of the banks that a log may have. Any other one is refused. */
const ALGORITHMS: ReadonlyMap<number, Algorithm> = new Map<number, Algorithm>([
  [0x0004, { name: 'sha1', bytes: DIGEST_BYTES.sha1 }],
  [0x000b, { name: 'sha256', bytes: DIGEST_BYTES.sha256 }],
  [0x000c, { name: 'sha384', bytes: DIGEST_BYTES.sha384 }],
  [0x000d, { name: 'sha512', bytes: DIGEST_BYTES.sha512 }],
  [0x0012, { name: 'sm3_256', bytes: 32 }],
]);

/** What a log claims before its numbers are judged. */
interface RawEvent {
  readonly register: number;
  readonly type: number;
  readonly digests: ReadonlyMap<HashName, Uint8Array>;
  readonly data: Uint8Array;
}

const LAST_PCR = 23;
/** CC measurement register of RTMR 3; 0 is MRTD (UEFI 2.11 chapter 38, TDX mapping). */
const LAST_CC_REGISTER = 4;
const SIGNATURE_BYTES = 16;
const SPEC_ID = 'Spec ID Event';
const STARTUP_LOCALITY = utf8('StartupLocality\0');
/** TPM2_Startup at locality 0 or 3, or 4 after an H-CRTM sequence. */
const LOCALITIES = [0, 3, 4];

/** A log in one of the binary formats of the TCG (PC Client Platform Firmware Profile 1.06, section 10.2). */
export function parseTcgLog(bytes: Uint8Array, registers: 'pcr' | 'rtmr' | undefined): BootLog {
  const reader = new ByteReader(bytes, 'boot log');
  const header = readSha1Event(reader);
  const algorithms = readAlgorithms(header);
  const format = formatOf(header, algorithms, registers);
  const raw = [header];
  while (!isAtEnd(bytes, reader, format)) {
    if (raw.length === MAX_EVENTS) throw malformed(`more than ${MAX_EVENTS} events`);
    raw.push(algorithms ? readEvent2(reader, algorithms) : readSha1Event(reader));
  }
  const events = raw.map((event, index) => readRegister(event, index, format));
  const names = algorithms ? [...algorithms.values()].map(({ name }) => name) : ['sha1' as const];
  const banks = names.filter((name) => name !== 'sm3_256');
  if (banks.length === 0) throw new Refusal('UNSUPPORTED', 'boot log: it has no bank but SM3');
  const otherBanks = names.filter((name) => name === 'sm3_256');
  const startupLocality = format === 'ccel' ? undefined : readStartupLocality(events);
  return { format, banks, otherBanks, startupLocality, events };
}

/** TCG_PCR_EVENT: register, type, SHA-1 digest, size and data. */
function readSha1Event(reader: ByteReader): RawEvent {
  const register = reader.u32le();
  const type = reader.u32le();
  const digests = new Map<HashName, Uint8Array>([['sha1', reader.take(DIGEST_BYTES.sha1)]]);
  const data = reader.take(reader.u32le());
  return { register, type, digests, data };
}

/** The banks that TCG_EfiSpecIDEvent declares; undefined for a SHA-1 log, whose first event may be any. */
function readAlgorithms({
  register,
  type,
  digests,
  data,
}: RawEvent): ReadonlyMap<number, Algorithm> | undefined {
  const signature = signatureOf(data);
  if (type !== EV.NO_ACTION || !signature.startsWith(SPEC_ID)) return undefined;
  if (signature === 'Spec ID Event00' || signature === 'Spec ID Event02') return undefined;
  if (signature !== 'Spec ID Event03') {
    throw new Refusal(
      'UNSUPPORTED',
      'boot log: the Specification ID is neither Event00, Event02 nor Event03',
    );
  }
  if (register > 1 || !isZero(digests.get('sha1') ?? data)) {
    throw malformed(`the header event is of register ${register} or has a digest`);
  }
  return readSpecId(data);
}

function readSpecId(data: Uint8Array): ReadonlyMap<number, Algorithm> {
  const reader = new ByteReader(data, 'boot log header');
  // Signature and platform class.
  reader.take(SIGNATURE_BYTES + 4);
  const [minor, major] = [reader.u8(), reader.u8()];
  if (major !== 2) {
    throw new Refusal('UNSUPPORTED', `boot log: version ${major}.${minor} of the firmware profile`);
  }
  // Errata, and the size of UINTN in words of four bytes.
  reader.take(2);
  const count = reader.u32le();
  if (count === 0 || count > ALGORITHMS.size) throw malformed(`the header declares ${count} banks`);
  const declared = new Map<number, Algorithm>();
  for (let i = 0; i < count; i++) {
    const [id, bytes] = [reader.u16le(), reader.u16le()];
    const algorithm = ALGORITHMS.get(id);
    if (!algorithm || algorithm.bytes !== bytes || declared.has(id)) {
      throw malformed(`the header declares algorithm ${hex(id)} with digests of ${bytes} bytes`);
    }
    declared.set(id, algorithm);
  }
  // Vendor information.
  reader.take(reader.u8());
  reader.end();
  return declared;
}

function formatOf(
  header: RawEvent,
  algorithms: ReadonlyMap<number, Algorithm> | undefined,
  registers: 'pcr' | 'rtmr' | undefined,
): BootLogFormat {
  const wanted = registers ?? (algorithms && header.register === 1 ? 'rtmr' : 'pcr');
  if (wanted === 'pcr') {
    if (algorithms && header.register !== 0) throw malformed('its header is that of a TD, not of a TPM');
    return algorithms ? 'tcg2' : 'sha1';
  }
  const banks = algorithms ? [...algorithms.values()].map(({ name }) => name) : ['sha1'];
  if (banks.join() !== 'sha384') {
    throw malformed(`a log of RTMRs has one sha384 bank, this one has ${banks.join(', ')}`);
  }
  return 'ccel';
}

/** TCG_PCR_EVENT2: as many digests as the header declares, one of each bank. */
function readEvent2(reader: ByteReader, algorithms: ReadonlyMap<number, Algorithm>): RawEvent {
  const register = reader.u32le();
  const type = reader.u32le();
  const count = reader.u32le();
  if (count !== algorithms.size) {
    throw malformed(`an event has ${count} digests, the header declares ${algorithms.size} banks`);
  }
  const seen = new Set<number>();
  const digests = new Map<HashName, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const id = reader.u16le();
    const algorithm = algorithms.get(id);
    if (!algorithm) throw malformed(`an event has a digest of algorithm ${hex(id)}, which is not declared`);
    if (seen.has(id)) throw malformed(`an event has two digests of algorithm ${hex(id)}`);
    seen.add(id);
    const digest = reader.take(algorithm.bytes);
    if (algorithm.name !== 'sm3_256') digests.set(algorithm.name, digest);
  }
  const data = reader.take(reader.u32le());
  return { register, type, digests, data };
}

/**
 * A TPM's log ends with its bytes. A CCEL area is filled with 0xFF, all of it, after the last event; a log cut out of
 * its area may end without.
 */
function isAtEnd(bytes: Uint8Array, reader: ByteReader, format: BootLogFormat): boolean {
  if (reader.remaining === 0) return true;
  if (format !== 'ccel') return false;
  const rest = bytes.subarray(reader.offset);
  if (rest.length < 4 || !isFilling(rest.subarray(0, 4))) return false;
  if (!isFilling(rest)) throw malformed('bytes follow the end mark of the CCEL area');
  return true;
}

function isFilling(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0xff);
}

function readRegister(raw: RawEvent, index: number, format: BootLogFormat): BootEvent {
  const event = { ...raw, index, typeName: eventTypeName(raw.type), runtime: undefined };
  const last = format === 'ccel' ? LAST_CC_REGISTER : LAST_PCR;
  if (raw.register > last) throw malformed(`event ${index} is of register ${raw.register}, above ${last}`);
  if (format !== 'ccel') return event;
  if (raw.register > 0) return { ...event, register: raw.register - 1 };
  if (raw.type !== EV.NO_ACTION) throw malformed(`event ${index} extends MRTD, which is sealed before boot`);
  return { ...event, register: undefined };
}

/**
 * StartupLocality (firmware profile 1.06, section 10.4.5.3): the value that PCR 0 starts with. A log that lies about it
 * does not lead to the PCR 0 that the TPM signed.
 */
function readStartupLocality(events: readonly BootEvent[]): number | undefined {
  let stated: number | undefined;
  for (const { index, type, register, data } of events) {
    if (type !== EV.NO_ACTION || register !== 0) continue;
    if (!equalBytes(data.subarray(0, SIGNATURE_BYTES), STARTUP_LOCALITY)) continue;
    const locality = data[SIGNATURE_BYTES];
    if (data.length !== SIGNATURE_BYTES + 1 || locality === undefined || !LOCALITIES.includes(locality)) {
      throw malformed(`event ${index} states no locality 0, 3 or 4`);
    }
    if (stated !== undefined && stated !== locality) {
      throw malformed(`event ${index} states locality ${locality}, an earlier one ${stated}`);
    }
    stated = locality;
  }
  return stated;
}

/** ASCII of a 16-byte signature up to its NUL. */
function signatureOf(data: Uint8Array): string {
  if (data.length < SIGNATURE_BYTES || data[SIGNATURE_BYTES - 1] !== 0) return '';
  return String.fromCharCode(...data.subarray(0, SIGNATURE_BYTES - 1));
}

function hex(id: number): string {
  return `0x${id.toString(16).padStart(4, '0')}`;
}
