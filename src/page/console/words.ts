/** Figures as people read them. */

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const DATE_TIME = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const HOUR = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const DAY_SECONDS = 86_400;

/** A time of day, with its date where that is not the date of `now`. Both in seconds since 1970. */
export function clock(seconds: number, now: number): string {
  return (Math.abs(now - seconds) < DAY_SECONDS / 2 ? TIME : DATE_TIME).format(new Date(seconds * 1000));
}

/** Hour and minute, for the axis of a plot. */
export function hour(seconds: number): string {
  return HOUR.format(new Date(seconds * 1000));
}

const UNITS = [
  ['d', DAY_SECONDS],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
] as const;

/** A span in its two largest units, such as `2 h 5 min`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const first = UNITS.findIndex(([, size]) => whole >= size);
  if (first === -1) return '0 s';
  let rest = whole;
  const parts = UNITS.slice(first, first + 2).map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return [count, unit] as const;
  });
  return parts.flatMap(([count, unit]) => (count > 0 ? [`${count} ${unit}`] : [])).join(' ');
}

/** Three digits, with the unit close by. */
export function amount(value: number | null | undefined, unit = ''): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  const text = value.toLocaleString(undefined, {
    maximumFractionDigits: Number.isInteger(value) ? 0 : digits,
  });
  return unit === '' ? text : `${text} ${unit}`;
}

/** `1 receipt`, `2 receipts`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${amount(count)} ${count === 1 ? noun : plural}`;
}

/** The beginning of a hex digest, by which people compare. */
export function short(hex: string): string {
  return hex.length > 16 ? `${hex.slice(0, 12)}…` : hex;
}
