import { fromUtf8, isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { Row } from './receiptText.ts';

/**
 * One block of what a file says. Hex and numbers come first in a value, a note may follow them. Names are ours, values
 * are the file's: whoever prints them removes what a terminal acts on.
 */
export interface Section {
  readonly title: string;
  readonly rows: readonly Row[];
  /** The rows for programs, where each of them is one entry of a list. */
  readonly entries?: readonly Entry[];
}

export type Entry = Readonly<Record<string, string>>;

/** Sections of one part; a part that cannot be read says why and does not hide the others. */
export function readable(title: string, read: () => readonly Section[]): readonly Section[] {
  try {
    return read();
  } catch (error) {
    return [{ title, rows: [['unreadable', reasonOf(error)]] }];
  }
}

/** The same for a few rows of a section. */
export function readableRows(name: string, read: () => readonly Row[]): readonly Row[] {
  try {
    return read();
  } catch (error) {
    return [[name, `unreadable: ${reasonOf(error)}`]];
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return `${error.code}: ${error.message}`;
  throw error;
}

export function yes(value: boolean): string {
  return value ? 'yes' : 'no';
}

export function hexNumber(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** Hex, with a note where all bytes are zero. */
export function hexOr(bytes: Uint8Array, zeroNote: string): string {
  return isZero(bytes) ? `${toHex(bytes)} (${zeroNote})` : toHex(bytes);
}

/** Hex, and the text that the bytes are where they are text. */
export function hexAndText(bytes: Uint8Array | undefined): string {
  if (!bytes) return 'none';
  if (bytes.length === 0) return 'empty';
  const text = textOf(bytes);
  return text === undefined ? toHex(bytes) : `${toHex(bytes)} «${text}»`;
}

/** UTF-8 without control characters; undefined for what no person would read. */
function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = fromUtf8(bytes);
    return /[\p{Cc}\p{Cn}\p{Co}]/u.test(text) ? undefined : text;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** `0x10000000: SEPT_VE_DISABLE`, bits without a name by their number. */
export function bitsText(raw: bigint, names: ReadonlyMap<number, string>): string {
  const set = bitsOf(raw).map((bit) => names.get(bit) ?? `bit ${bit}`);
  return `${hexNumber(raw)}${set.length > 0 ? `: ${set.join(', ')}` : ''}`;
}

/** Positions of the bits that are one. */
export function bitsOf(raw: bigint): readonly number[] {
  const bits = raw.toString(2);
  return Array.from({ length: bits.length }, (_, bit) => bit).filter((bit) => bits.at(-1 - bit) === '1');
}

/** `0-9, 14`: ascending numbers with runs drawn together. */
export function rangesText(numbers: readonly number[]): string {
  const runs: [first: number, last: number][] = [];
  for (const number of numbers) {
    const run = runs.at(-1);
    if (run && number === run[1] + 1) run[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ') || 'none';
}

/** Milliseconds since 1970 as a date; times that a Date cannot hold stay numbers. */
export function timeText(milliseconds: number): string {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime())
    ? `${milliseconds} milliseconds`
    : date.toISOString().replace('.000', '');
}

/** Longest value of the human output; the JSON output has all of it. */
const MAX_VALUE = 8192;

/** A value for people: a long run of zeros by its length, an endless text cut. */
export function shortened(value: string): string {
  const text = value.replace(/^0{32,}(?= |$)/, (zeros) => `${zeros.length / 2} zero bytes`);
  if (text.length <= MAX_VALUE) return text;
  return `${text.slice(0, MAX_VALUE)}… (${text.length - MAX_VALUE} more characters, see --json)`;
}
