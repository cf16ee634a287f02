import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { parseStrictJson, JsonError } from '../../../attestation/json/strict.ts';
import { ProxyError } from './errors.ts';

/** Personal data in a text: where, in UTF-16 code units, and of what kind. */
export interface Finding {
  /** Capital letters, digits and `_`, such as `EMAIL`. */
  readonly kind: string;
  readonly start: number;
  readonly end: number;
}

/** The hook: what finds personal data. It must ask nobody outside this process. */
export interface Redactor {
  /** Name for people. */
  readonly name: string;
  /** Everything found; what it throws refuses the request. */
  find(text: string): Promise<readonly Finding[]>;
}

export interface Redacted {
  readonly body: Uint8Array;
  /** How often each kind was replaced. */
  readonly counts: ReadonlyMap<string, number>;
  /** What each placeholder stands for. */
  readonly originals: ReadonlyMap<string, string>;
}

/** Members of a request that hold what people write; everything below them is text, too. */
const TEXT_MEMBERS = new Set([
  'messages',
  'prompt',
  'input',
  'instructions',
  'text_input',
  'suffix',
  'tools',
]);
/** Members of messages and their parts that name what they are. */
const NAMES = new Set(['role', 'type', 'id', 'call_id', 'tool_call_id', 'status', 'detail']);
/** Parts of a message whose text is read. */
const TEXT_PARTS =
  /^(?:(?:input_|output_)?text|refusal|message|function|function_call|function_call_output)$/;

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/**
 * Replaces personal data in the texts of a request by placeholders such as `[EMAIL_1]`; a value has one placeholder in
 * all of the request, so that a conversation that grows keeps its beginning. Images, sounds and token ids are refused:
 * nothing in them would be found.
 */
export async function redactRequest(redactor: Redactor, body: Uint8Array): Promise<Redacted> {
  const request = objectOf(body);
  const placeholders = new Placeholders(JSON.stringify(request));
  try {
    for (const [name, value] of Object.entries(request)) {
      if (TEXT_MEMBERS.has(name)) request[name] = await redactValue(redactor, placeholders, value, name);
    }
  } catch (error) {
    if (error instanceof ProxyError) throw error;
    throw new ProxyError('REDACTION_FAILED', `${redactor.name} failed on this request`, { cause: error });
  }
  return {
    body: utf8(JSON.stringify(request)),
    counts: placeholders.counts,
    originals: placeholders.originals,
  };
}

function objectOf(body: Uint8Array): Record<string, Json> {
  try {
    const value = parseStrictJson(body) as Json;
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new ProxyError('BODY_INVALID', `the body ${error.message}`);
  }
  throw new ProxyError('BODY_INVALID', 'the body is no JSON object');
}

async function redactValue(
  redactor: Redactor,
  placeholders: Placeholders,
  value: Json,
  member: string,
): Promise<Json> {
  if (typeof value === 'string') {
    return NAMES.has(member) ? value : placeholders.replace(value, await redactor.find(value));
  }
  if (Array.isArray(value)) {
    const parts: Json[] = [];
    for (const part of value) parts.push(await redactValue(redactor, placeholders, part, member));
    return parts;
  }
  if (typeof value === 'number' && (member === 'prompt' || member === 'input')) {
    throw new ProxyError('REDACTION_UNSUPPORTED', `${member} has token ids`);
  }
  if (typeof value !== 'object' || value === null) return value;
  return redactMembers(redactor, placeholders, value, member);
}

async function redactMembers(
  redactor: Redactor,
  placeholders: Placeholders,
  value: { [name: string]: Json },
  member: string,
): Promise<Json> {
  const type = value['type'];
  if ((member === 'content' || member === 'input') && typeof type === 'string' && !TEXT_PARTS.test(type)) {
    throw new ProxyError('REDACTION_UNSUPPORTED', 'a part of a message is no text');
  }
  const members: Record<string, Json> = {};
  for (const [name, inner] of Object.entries(value)) {
    members[name] = await redactValue(redactor, placeholders, inner, name);
  }
  return members;
}

/** The placeholders of one request. */
class Placeholders {
  readonly counts = new Map<string, number>();
  readonly originals = new Map<string, string>();
  readonly #byValue = new Map<string, string>();
  readonly #numbers = new Map<string, number>();
  readonly #request: string;

  /** `request`: all of its text, in which no placeholder may stand already. */
  constructor(request: string) {
    this.#request = request;
  }

  /** Of findings that overlap, the first one counts and the others are covered by it as far as they go beyond it. */
  replace(text: string, findings: readonly Finding[]): string {
    const spans = merged(
      findings.filter(({ start, end }) => start >= 0 && start < end && end <= text.length),
    );
    let [redacted, at] = ['', 0];
    for (const { kind, start, end } of spans) {
      redacted += text.slice(at, start) + this.#of(kind, text.slice(start, end));
      at = end;
    }
    return redacted + text.slice(at);
  }

  #of(kind: string, value: string): string {
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const known = this.#byValue.get(`${kind}:${value}`);
    if (known !== undefined) return known;
    const placeholder = this.#next(kind);
    this.#byValue.set(`${kind}:${value}`, placeholder);
    this.originals.set(placeholder, value);
    return placeholder;
  }

  /** One that the caller did not write. */
  #next(kind: string): string {
    for (;;) {
      const number = (this.#numbers.get(kind) ?? 0) + 1;
      this.#numbers.set(kind, number);
      const placeholder = `[${kind}_${number}]`;
      if (!this.#request.includes(placeholder)) return placeholder;
    }
  }
}

/** In order, without overlaps. */
function merged(findings: readonly Finding[]): readonly Finding[] {
  const spans: Finding[] = [];
  for (const finding of findings.toSorted((one, other) => one.start - other.start || other.end - one.end)) {
    const last = spans.at(-1);
    if (!last || finding.start >= last.end) spans.push(finding);
    else if (finding.end > last.end) spans[spans.length - 1] = { ...last, end: finding.end };
  }
  return spans;
}

/** `EMAIL=2, IBAN=1`: what was replaced, without what stood there. */
export function countsText(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([kind, count]) => `${kind}=${count}`).join(', ') || 'none';
}
