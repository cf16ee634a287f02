import { Refusal } from '../errors.ts';
import { TAG, type DerElement } from './der.ts';

/**
 * Milliseconds since 1970 of a Time (RFC 5280 sections 4.1.2.5.1 and 4.1.2.5.2): UTCTime `YYMMDDHHMMSSZ`, years 1950
 * to 2049, or GeneralizedTime `YYYYMMDDHHMMSSZ`. Other forms leave the zone open or can be read in two ways.
 */
export function decodeTime({ tag, content }: DerElement, what: string): number {
  const yearDigits = tag === TAG.utcTime ? 2 : 4;
  const isTime = tag === TAG.utcTime || tag === TAG.generalizedTime;
  if (!isTime || content.length !== yearDigits + 11 || content[yearDigits + 10] !== 0x5a) {
    throw unreadable(what);
  }
  const last = number(content, yearDigits - 2, what);
  const year = tag === TAG.utcTime ? last + (last < 50 ? 2000 : 1900) : 100 * number(content, 0, what) + last;
  const [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map((at) =>
    number(content, yearDigits + at, what),
  ) as [number, number, number, number, number];
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  // A thirteenth month, a 31st of April or a year that Date moves to 1900 comes back as another day.
  const date = new Date(time);
  const isReal = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1;
  if (!isReal || date.getUTCDate() !== day || hour > 23 || minute > 59 || second > 59) throw unreadable(what);
  return time;
}

/** Two ASCII digits. */
function number(content: Uint8Array, at: number, what: string): number {
  const tens = (content[at] ?? 0) - 0x30;
  const units = (content[at + 1] ?? 0) - 0x30;
  if (tens < 0 || tens > 9 || units < 0 || units > 9) throw unreadable(what);
  return 10 * tens + units;
}

/** Milliseconds since 1970 as text. What a signer states may lie beyond what a Date can hold. */
export function isoTime(milliseconds: number): string {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? `${milliseconds / 1000} s after 1970` : date.toISOString();
}

/** The day of `isoTime`. */
export function isoDay(milliseconds: number): string {
  return isoTime(milliseconds).slice(0, 10);
}

function unreadable(what: string): Refusal {
  return new Refusal('MALFORMED', `${what} is no UTCTime or GeneralizedTime to the second in UTC`);
}
