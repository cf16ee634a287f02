import { setImmediate } from 'node:timers/promises';
import type { PIIPattern } from '@openredaction/core/lite';
import type { Finding, Redactor } from './redaction.ts';

/**
 * The patterns of @openredaction/core that are taken: those that a checksum or a fixed form keeps from taking text for
 * data. Its patterns for names and places are left out: they take «and Bob in Berlin» for a person to call.
 */
const KINDS: readonly string[] = [
  'EMAIL',
  'CREDIT_CARD',
  'IBAN',
  'PHONE_US',
  'SSN',
  'NATIONAL_INSURANCE_UK',
  'NHS_NUMBER',
  'PASSPORT_US',
  'PASSPORT_UK',
  'DATE_OF_BIRTH',
  'SPANISH_DNI',
  'ITALIAN_FISCAL_CODE',
  'IPV4',
  'OPENAI_API_KEY',
  'AWS_ACCESS_KEY',
  'GITHUB_TOKEN',
  'JWT_TOKEN',
  'PRIVATE_KEY',
];
/** E.164 in any spacing. The one of the library wants a letter before the `+`, and so finds none. */
const PHONE: PIIPattern = {
  type: 'PHONE',
  regex: /(?<![\w+])\+[1-9](?:[ \u00a0./()-]{0,2}\d){6,13}(?!\d)/g,
  priority: 100,
  placeholder: '',
};
/** Its pattern of addresses of e-mail takes time with the square of a text: each part is short. */
const PART = 8192;
/** As the longest key in PEM that is found whole. */
const OVERLAP = 4096;

/**
 * Personal data by the patterns of @openredaction/core (MIT), which is loaded here only and asks nobody. Its own
 * search is not used: it goes on without a pattern that takes longer than a tenth of a second, and leaves data alone
 * where words such as «fake» or «version» stand near. Ten digits in a row are a number, not a phone. Finds what has a
 * form; names of people have none.
 */
export async function startOpenRedaction(): Promise<Redactor> {
  const { LiteOpenRedaction } = await import('@openredaction/core/lite');
  const known = new Map(new LiteOpenRedaction().getPatterns().map((pattern) => [pattern.type, pattern]));
  const patterns = KINDS.map((kind) => {
    const pattern = known.get(kind);
    if (!pattern) throw new Error(`@openredaction/core has no pattern ${kind}`);
    return pattern;
  });
  return { name: 'patterns of @openredaction/core', find: (text) => findAll([...patterns, PHONE], text) };
}

async function findAll(patterns: readonly PIIPattern[], text: string): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (let start = 0; start === 0 || start + OVERLAP < text.length; start += PART - OVERLAP) {
    if (start > 0) await setImmediate();
    const part = text.slice(start, start + PART);
    for (const pattern of patterns) findings.push(...findIn(pattern, part, start));
  }
  return findings;
}

function findIn(
  { type: kind, regex, validator }: PIIPattern,
  part: string,
  offset: number,
): readonly Finding[] {
  const found: Finding[] = [];
  const global = new RegExp(regex.source, regex.flags.includes('g') ? regex.flags : `${regex.flags}g`);
  for (const match of part.matchAll(global)) {
    const [whole, longest = whole] = match;
    // The whole match is all that is shown of what stands near: words around it decide nothing.
    const value = endsOf(kind, longest).find((end) => !validator || validator(end, whole));
    if (value === undefined || (kind === 'PHONE_US' && /^\d+$/.test(value))) continue;
    const start = offset + match.index + whole.indexOf(longest);
    found.push({ kind, start, end: start + value.length });
  }
  return found;
}

/** Shortest IBAN (Norway), without spaces. */
const MIN_IBAN = 15;

/** The pattern of an IBAN takes the words after it, too: its checksum says where it ends. */
function endsOf(kind: string, value: string): readonly string[] {
  if (kind !== 'IBAN') return [value];
  const lengths = Array.from(
    { length: Math.max(1, value.length - MIN_IBAN + 1) },
    (_, cut) => value.length - cut,
  );
  return lengths.map((length) => value.slice(0, length)).filter((end) => /[A-Z0-9]$/i.test(end));
}
