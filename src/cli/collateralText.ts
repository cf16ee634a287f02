import type { CertificateStatus, StatementDescription } from '../collateral/describe.ts';
import type { Validity } from '../collateral/item.ts';
import type { Section } from './inspectEvidence.ts';
import type { Row } from './receiptText.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** `3 days`, `5 hours`, `12 minutes` or `1 second`. */
export function spanText(milliseconds: number): string {
  const units: readonly (readonly [number, string])[] = [
    [DAY_MS, 'day'],
    [HOUR_MS, 'hour'],
    [MINUTE_MS, 'minute'],
    [SECOND_MS, 'second'],
  ];
  const [size, unit] = units.find(([length]) => milliseconds >= length) ?? [SECOND_MS, 'second'];
  const count = Math.floor(milliseconds / size);
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

type State = 'in date' | 'ended' | 'not yet valid';

function stateOf({ from, until }: Validity, now: number): State {
  if (now < from) return 'not yet valid';
  return now > until ? 'ended' : 'in date';
}

export function statementSection(statement: StatementDescription, now: number): Section {
  const { kind, name, bytes, sha256, validity, unreadable, statuses = [] } = statement;
  const about: readonly Row[] =
    unreadable === undefined ? validityRows(validity, now) : [['unreadable', unreadable]];
  const said = statuses.map(({ serial, status }): Row => ['status', `${status}: serial ${serial}`]);
  return {
    title: `${kind} ${name}`,
    rows: [...said, ...about, ['bytes', String(bytes)], ['SHA-256', sha256]],
  };
}

function validityRows(validity: Validity | undefined, now: number): readonly Row[] {
  if (!validity) return [['valid', 'not read here: the verifier judges it']];
  const { from, until } = validity;
  const state = stateOf(validity, now);
  const age = now < from ? `begins in ${spanText(from - now)}` : `issued ${spanText(now - from)} ago`;
  const end = state === 'ended' ? `ended ${spanText(now - until)} ago` : `ends in ${spanText(until - now)}`;
  return [
    ['valid', `${dateText(from)} to ${dateText(until)}`],
    ['state', `${state}: ${age}, ${end}`],
  ];
}

export function statementJson(statement: StatementDescription, now: number): object {
  const { validity, statuses, ...rest } = statement;
  return {
    ...rest,
    ...(statuses && { statuses: statuses.map((each) => statusJson(each, now)) }),
    ...(validity ? validityJson(validity, now) : {}),
  };
}

function statusJson({ serial, status, validity }: CertificateStatus, now: number): object {
  return { serial, status, ...validityJson(validity, now) };
}

export function validityJson(validity: Validity, now: number): object {
  return {
    from: dateText(validity.from),
    until: dateText(validity.until),
    state: stateOf(validity, now),
    ageSeconds: Math.floor((now - validity.from) / 1000),
  };
}

export function dateText(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('.000', '');
}
