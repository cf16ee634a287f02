import { utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { CLAIM, RECEIPT_PROFILE } from './claims.ts';
import { Needle, viewOf } from './needle.ts';
import { parseHeader, type KnownHeader, type Setting } from './knownHeader.ts';
import { RECORD_TYPE, type EntryHeader } from './receipt.ts';

/**
 * Reads the few members of a receipt that an audit of a whole log compares, without building the rest. It walks the
 * one encoding that a receipt has (`d2 84 protected a0 payload signature`, claims in ascending key order, shortest
 * heads) and checks kinds, fixed lengths, presence and bounds; UTF-8, closed sets of words and nested keys are left to
 * `parseReceipt`. What it refuses, `parseReceipt` refuses as well; where both accept, they agree. Use it only for
 * entries of a tree that something else vouches for.
 */
const TAG_SIGN1 = 0xd2;
const ARRAY_OF_FOUR = 0x84;
const EMPTY_MAP = 0xa0;
const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5 } as const;
/** Initial bytes (RFC 8949 section 3): heads whose argument follows in one, two or four bytes. */
const BYTES_OF_ONE = 0x58;
const UNSIGNED_OF_TWO = 0x19;
const NEGATIVE_OF_FOUR = 0x3a;
/** Least arguments of one, two, four and eight bytes. */
const LEAST = [24, 0x100, 0x10000, 0x1_0000_0000] as const;
const PROFILE = new Needle(utf8(RECEIPT_PROFILE));
const NO_HEADER = new Uint8Array(0);
/** Headers kept parsed: one for each model of each instance, and one for each kind of record. */
const MAX_HEADERS = 64;
/** Settings kept of each header: channels and paths of one epoch. */
const MAX_SETTINGS = 8;

/** What a claim's value must be: major type, and a length where it is fixed. */
type Shape = readonly [major: number, length?: number];

const SHAPES: readonly (readonly [claim: number, shape: Shape, optional?: boolean])[] = [
  [CLAIM.issuedAt, [MAJOR.unsigned]],
  [CLAIM.id, [MAJOR.bytes, 16]],
  [CLAIM.nonce, [MAJOR.bytes, 32], true],
  [CLAIM.profile, [MAJOR.text, utf8(RECEIPT_PROFILE).length]],
  [CLAIM.index, [MAJOR.unsigned]],
  [CLAIM.evidence, [MAJOR.bytes, 32]],
  [CLAIM.keyset, [MAJOR.bytes, 32]],
  [CLAIM.channel, [MAJOR.text]],
  [CLAIM.method, [MAJOR.text]],
  [CLAIM.path, [MAJOR.text]],
  [CLAIM.model, [MAJOR.text]],
  [CLAIM.manifest, [MAJOR.bytes, 32]],
  [CLAIM.config, [MAJOR.bytes, 32]],
  [CLAIM.providers, [MAJOR.array]],
  [CLAIM.devices, [MAJOR.array]],
  [CLAIM.parameters, [MAJOR.map]],
  [CLAIM.tenant, [MAJOR.bytes, 32], true],
  [CLAIM.outcome, [MAJOR.text]],
  [CLAIM.reason, [MAJOR.text], true],
  [CLAIM.usage, [MAJOR.map]],
  [CLAIM.commitments, [MAJOR.map]],
];
/** Place in the table of each claim: keys of one encoded byte, then those of five, which differ in the last. */
const ORDINAL_OF_SMALL = new Int8Array(24).fill(-1);
const ORDINAL_OF_NEGATIVE = new Int8Array(256).fill(-1);
const MAJORS = Uint8Array.from(SHAPES, ([, [major]]) => major);
const LENGTHS = Int16Array.from(SHAPES, ([, [, length = -1]]) => length);
const OF = {} as Record<number, number>;
let required = 0;
SHAPES.forEach(([claim, , optional = false], ordinal) => {
  OF[claim] = ordinal;
  if (!optional) required |= 1 << ordinal;
  if (claim >= 0 && claim < 24) ORDINAL_OF_SMALL[claim] = ordinal;
  // -1 - n is encoded as n: -65537 as 65536, `3a 00 01 00 00`.
  if (claim < 0) ORDINAL_OF_NEGATIVE[-1 - claim - 65_536] = ordinal;
});
const REQUIRED = required;
const ORDINAL = {
  id: ordinalOf(CLAIM.id),
  issuedAt: ordinalOf(CLAIM.issuedAt),
  profile: ordinalOf(CLAIM.profile),
  index: ordinalOf(CLAIM.index),
  evidence: ordinalOf(CLAIM.evidence),
  keyset: ordinalOf(CLAIM.keyset),
  model: ordinalOf(CLAIM.model),
  manifest: ordinalOf(CLAIM.manifest),
  devices: ordinalOf(CLAIM.devices),
  parameters: ordinalOf(CLAIM.parameters),
  outcome: ordinalOf(CLAIM.outcome),
} as const;

/** Claims from `evidence` to `devices`: none of them is optional, so they lie side by side. */
const SETTING_CLAIMS = ORDINAL.devices - ORDINAL.evidence + 1;
const SETTING_PRESENT = ((1 << SETTING_CLAIMS) - 1) << ORDINAL.evidence;
/** Bytes of the key and head before the digest of `evidence`. */
const EVIDENCE_HEAD = 7;

function ordinalOf(claim: number): number {
  return OF[claim] ?? -1;
}

/**
 * A reader that is used again for every entry: after `read` its members say where things stand in the bytes that were
 * given. Nothing is copied and nothing is verified.
 */
export class ReceiptSkimmer {
  /** Of the last entry. */
  header: EntryHeader | undefined;
  /** The same object as before wherever evidence, keyset and manifest are the same. */
  setting: Setting | undefined;
  index = 0;
  /** Seconds since 1970: a claim. */
  issuedAt = 0;
  /** Where the 32 bytes of each digest begin, and the 16 of the id. */
  evidenceAt = 0;
  keysetAt = 0;
  manifestAt = 0;
  idAt = 0;
  /** Where the word of the outcome begins and ends. */
  outcomeAt = 0;
  outcomeEnd = 0;

  /** Of the bytes that were given last, for needles. */
  view = viewOf(NO_HEADER);

  #bytes: Uint8Array = NO_HEADER;
  #at = 0;
  #end = 0;
  /** Of the head read last. */
  #major = 0;
  #argument = 0;
  #headers: readonly KnownHeader[] = [];
  /** Where `devices` ended. */
  #settingEnd = 0;
  readonly #starts = new Int32Array(SHAPES.length);
  readonly #values = new Float64Array(SHAPES.length);

  /**
   * Reads the entry at `start` to `end`: true for a receipt, false for a record, of which only `header` is read.
   * Refuses as `MALFORMED` or `NOT_CANONICAL` what is neither.
   */
  read(bytes: Uint8Array, start = 0, end = bytes.length): boolean {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.view = viewOf(bytes);
    }
    this.#at = start;
    this.#end = end;
    if (this.#byte() !== TAG_SIGN1 || this.#byte() !== ARRAY_OF_FOUR)
      throw malformed('no COSE_Sign1 of ours');
    const protectedLength = this.#expect(MAJOR.bytes);
    const found = this.#header(this.#take(protectedLength), protectedLength);
    this.header = found.header;
    if (found.header.type === RECORD_TYPE) return false;
    if (this.#byte() !== EMPTY_MAP) throw malformed('an unprotected header');
    const payloadEnd = this.#expect(MAJOR.bytes) + this.#at;
    if (payloadEnd > end) throw malformed('a length beyond the end');
    this.setting = undefined;
    this.#claims(payloadEnd, found.settings);
    this.#finish(found);
    this.#at = payloadEnd;
    if (this.#expect(MAJOR.bytes) !== 64 || this.#at + 64 !== end) throw malformed('the signature');
    return true;
  }

  #finish(found: KnownHeader): void {
    const [starts, values] = [this.#starts, this.#values];
    this.index = values[ORDINAL.index] as number;
    this.issuedAt = values[ORDINAL.issuedAt] as number;
    this.idAt = starts[ORDINAL.id] as number;
    this.outcomeAt = starts[ORDINAL.outcome] as number;
    this.outcomeEnd = this.outcomeAt + (values[ORDINAL.outcome] as number);
    if (!this.setting) this.#learn(found);
  }

  /** Claims that were read one by one: their model has to be the header's subject. */
  #learn(found: KnownHeader): void {
    const starts = this.#starts;
    const model = starts[ORDINAL.model] as number;
    const { subject } = found;
    if (subject.length !== this.#values[ORDINAL.model] || !subject.isAt(this.view, model))
      throw malformed('sub and model claim differ');
    this.evidenceAt = starts[ORDINAL.evidence] as number;
    this.keysetAt = starts[ORDINAL.keyset] as number;
    this.manifestAt = starts[ORDINAL.manifest] as number;
    const start = this.evidenceAt - EVIDENCE_HEAD;
    this.setting = {
      encoded: new Needle(this.#bytes.subarray(start, this.#settingEnd)),
      keyset: this.keysetAt - start,
      manifest: this.manifestAt - start,
    };
    found.settings = [this.setting, ...found.settings.slice(0, MAX_SETTINGS - 1)];
  }

  /** The protected header, parsed strictly the first time and compared byte for byte after that. */
  #header(start: number, length: number): KnownHeader {
    const headers = this.#headers;
    for (let i = 0; i < headers.length; i++) {
      const known = headers[i] as KnownHeader;
      if (known.encoded.length === length && known.encoded.isAt(this.view, start)) return known;
    }
    const encoded = Uint8Array.from(this.#bytes.subarray(start, start + length));
    const header = parseHeader(encoded);
    const subject = new Needle(utf8(header.subject));
    const entry = { encoded: new Needle(encoded), header, subject, settings: [] };
    this.#headers = [entry, ...headers.slice(0, MAX_HEADERS - 1)];
    return entry;
  }

  #claims(payloadEnd: number, settings: readonly Setting[]): void {
    const members = this.#expect(MAJOR.map);
    let last = -1;
    let present = 0;
    for (let i = 0; i < members; i++) {
      if (last === ORDINAL.index && i + SETTING_CLAIMS <= members && this.#passSetting(settings)) {
        i += SETTING_CLAIMS - 1;
        last = ORDINAL.devices;
        present |= SETTING_PRESENT;
        continue;
      }
      if (last === ORDINAL.devices) this.#settingEnd = this.#at;
      const ordinal = this.#key();
      if (ordinal <= last) throw malformed('a claim that is unknown, doubled or out of order');
      last = ordinal;
      present |= 1 << ordinal;
      this.#value(ordinal);
    }
    if (this.#at !== payloadEnd) throw malformed('the claims do not end with the payload');
    if ((present & REQUIRED) !== REQUIRED) throw malformed('a claim is missing');
  }

  /** Moves on behind claims that are known, if they stand here. */
  #passSetting(settings: readonly Setting[]): boolean {
    const at = this.#at;
    const room = this.#end - at;
    for (let i = 0; i < settings.length; i++) {
      const setting = settings[i] as Setting;
      const { encoded, keyset, manifest } = setting;
      if (encoded.length > room || !encoded.isAt(this.view, at)) continue;
      this.#at = at + encoded.length;
      this.evidenceAt = at + EVIDENCE_HEAD;
      this.keysetAt = at + keyset;
      this.manifestAt = at + manifest;
      this.setting = setting;
      return true;
    }
    return false;
  }

  /** Place of the next key in the table, or -1. */
  #key(): number {
    const [bytes, at] = [this.#bytes, this.#at];
    // The shortest value is one byte long, and a claim of five bytes is followed by the signature's 66.
    if (at + 5 > this.#end) throw malformed('a length beyond the end');
    const initial = bytes[at];
    if (initial === NEGATIVE_OF_FOUR) {
      this.#at = at + 5;
      const isOurs = bytes[at + 1] === 0 && bytes[at + 2] === 1 && bytes[at + 3] === 0;
      return isOurs ? (ORDINAL_OF_NEGATIVE[bytes[at + 4] as number] as number) : -1;
    }
    if (initial === UNSIGNED_OF_TWO) {
      this.#at = at + 3;
      return bytes[at + 1] === 1 && bytes[at + 2] === 9 ? ORDINAL.profile : -1;
    }
    this.#at = at + 1;
    return (initial as number) < 24 ? (ORDINAL_OF_SMALL[initial as number] as number) : -1;
  }

  #value(ordinal: number): void {
    const length = LENGTHS[ordinal] as number;
    // Most values are digests: their head is looked at without being read.
    if (length === 32) {
      const at = this.#at;
      if (this.#bytes[at] !== BYTES_OF_ONE || this.#bytes[at + 1] !== 32) throw malformed('a digest');
      this.#starts[ordinal] = at + 2;
      this.#at = at + 34;
      if (this.#at > this.#end) throw malformed('a length beyond the end');
      return;
    }
    this.#head();
    const [major, argument] = [this.#major, this.#argument];
    if (major !== MAJORS[ordinal] || (length >= 0 && argument !== length))
      throw malformed('the kind of a claim');
    this.#values[ordinal] = argument;
    this.#starts[ordinal] = this.#at;
    if (ordinal === ORDINAL.profile && !PROFILE.isAt(this.view, this.#at))
      throw malformed('the receipt profile');
    if (major === MAJOR.bytes || major === MAJOR.text) this.#take(argument);
    else if (major !== MAJOR.unsigned) this.#skipItems(major === MAJOR.map ? 2 * argument : argument);
  }

  /** Each item has a byte at least, so what is left bounds how many there can be, however they are nested. */
  #skipItems(count: number): void {
    const [bytes, end] = [this.#bytes, this.#end];
    let at = this.#at;
    for (let left = count; left > 0; left--) {
      if (left > end - at) throw malformed('a count beyond the end');
      const initial = bytes[at] as number;
      const major = initial >> 5;
      if (major > MAJOR.map) throw malformed('a tag, float or simple value');
      let argument = initial & 0x1f;
      at++;
      if (argument >= LEAST[0]) {
        argument = this.#long(at, argument);
        at = this.#at;
      }
      if (major === MAJOR.bytes || major === MAJOR.text) at += argument;
      else if (major === MAJOR.array) left += argument;
      else if (major === MAJOR.map) left += 2 * argument;
    }
    if (at > end) throw malformed('a length beyond the end');
    this.#at = at;
  }

  #expect(major: number): number {
    this.#head();
    if (this.#major !== major) throw malformed('the kind of a part');
    return this.#argument;
  }

  /** A head of RFC 8949 section 3 in its shortest form; tags, floats and simple values are none of ours. */
  #head(): void {
    const initial = this.#byte();
    this.#major = initial >> 5;
    if (this.#major > MAJOR.map) throw malformed('a tag, float or simple value');
    const info = initial & 0x1f;
    this.#argument = info < LEAST[0] ? info : this.#long(this.#at, info);
  }

  /** The argument of one to eight bytes at `at`; moves on behind it. */
  #long(at: number, info: number): number {
    if (info > 27) throw malformed('an indefinite length');
    const bytes = this.#bytes;
    const end = at + (1 << (info - 24));
    if (end > this.#end) throw malformed('a length beyond the end');
    let argument = 0;
    for (let i = at; i < end; i++) argument = argument * 256 + (bytes[i] as number);
    if (argument < (LEAST[info - 24] as number) || argument > Number.MAX_SAFE_INTEGER) {
      throw new Refusal('NOT_CANONICAL', 'entry: a number is not in its shortest form or out of range');
    }
    this.#at = end;
    return argument;
  }

  #byte(): number {
    const at = this.#take(1);
    return this.#bytes[at] as number;
  }

  /** Moves on, and returns where the bytes begin. */
  #take(length: number): number {
    const at = this.#at;
    if (length > this.#end - at) throw malformed('a length beyond the end');
    this.#at = at + length;
    return at;
  }
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `entry: ${detail}`);
}
