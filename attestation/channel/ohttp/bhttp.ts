import { concat, isZero } from '../../bytes/bytes.ts';
import {
  checkField,
  encodeFields,
  encodeText,
  type Field,
  latin1,
  MAX_FIELDS,
  MAX_SECTION_BYTES,
  parseFields,
  tooManyFields,
} from './fields.ts';
import { Inbox, type Waiting } from './inbox.ts';
import { encodeVarint } from './varint.ts';

/** Binary HTTP (RFC 9292), `message/bhttp`. */
export interface RequestControl {
  readonly method: string;
  readonly scheme: string;
  /** Empty where the request names none. */
  readonly authority: string;
  /** With the query. */
  readonly path: string;
}

export interface BinaryRequest extends RequestControl {
  readonly headers: readonly Field[];
  readonly content: Uint8Array;
  readonly trailers: readonly Field[];
}

export interface BinaryResponse {
  /** 200 to 599. */
  readonly status: number;
  readonly headers: readonly Field[];
  readonly content: Uint8Array;
  readonly trailers: readonly Field[];
}

/** What a message says in the order in which it says it. Trailers come once, at the end, also where there are none. */
export type BinaryPart<Head> =
  | { readonly kind: 'head'; readonly head: Head }
  | { readonly kind: 'content'; readonly bytes: Uint8Array }
  | { readonly kind: 'trailers'; readonly fields: readonly Field[] };

export type RequestHead = Omit<BinaryRequest, 'content' | 'trailers'>;
export type ResponseHead = Omit<BinaryResponse, 'content' | 'trailers'>;

/** RFC 9292 section 3.3. */
const FRAMING = { knownRequest: 0, knownResponse: 1, openRequest: 2, openResponse: 3 } as const;
/** Bytes of a method, a scheme, an authority, a path. */
const MAX_CONTROL = { method: 64, scheme: 64, authority: 1024, path: 16 * 1024 } as const;
/** Informational responses before the final one: they are passed over. */
const MAX_INFORMATIONAL = 16;

const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
/** RFC 9113 section 8.3.1: no user information. */
const AUTHORITY = /^[\x21\x23-\x2e\x30-\x3e\x41-\x5d_a-z~]*$/;
const PATH = /^(?:\/[\x21\x22\x24-\x7e]*|\*)$/;

/** Reads a message while it comes, in memory for one field section at most. */
export class BinaryParser<Head> {
  readonly #inbox: Inbox;
  readonly #parsing: Generator<BinaryPart<Head> | Waiting, void>;

  constructor(what: string, parse: (inbox: Inbox) => Generator<BinaryPart<Head> | Waiting, void>) {
    this.#inbox = new Inbox(what);
    this.#parsing = parse(this.#inbox);
  }

  /** The parts that these bytes complete. */
  push(bytes: Uint8Array): readonly BinaryPart<Head>[] {
    this.#inbox.push(bytes);
    return this.#run();
  }

  /** The parts that the end of the message completes; a message that is cut elsewhere is refused as `MALFORMED`. */
  finish(): readonly BinaryPart<Head>[] {
    this.#inbox.finish();
    return this.#run();
  }

  #run(): readonly BinaryPart<Head>[] {
    const parts: BinaryPart<Head>[] = [];
    for (let step = this.#parsing.next(); !step.done && step.value; step = this.#parsing.next()) {
      parts.push(step.value);
    }
    return parts;
  }
}

export function requestParser(): BinaryParser<RequestHead> {
  return new BinaryParser('binary HTTP request', function* (inbox) {
    const isKnown = yield* framing(inbox, FRAMING.knownRequest, FRAMING.openRequest);
    const control = yield* requestControl(inbox);
    yield { kind: 'head', head: { ...control, headers: yield* section(inbox, isKnown) } };
    yield* body(inbox, isKnown);
  });
}

export function responseParser(): BinaryParser<ResponseHead> {
  return new BinaryParser('binary HTTP response', function* (inbox) {
    const isKnown = yield* framing(inbox, FRAMING.knownResponse, FRAMING.openResponse);
    const status = yield* finalStatus(inbox, isKnown);
    yield { kind: 'head', head: { status, headers: yield* section(inbox, isKnown) } };
    yield* body(inbox, isKnown);
  });
}

/** A whole request, known-length or indeterminate-length. */
export function parseBinaryRequest(encoded: Uint8Array): BinaryRequest {
  const { head, ...rest } = whole(requestParser(), encoded);
  return { ...head, ...rest };
}

/** A whole response. Informational responses before it are passed over. */
export function parseBinaryResponse(encoded: Uint8Array): BinaryResponse {
  const { head, ...rest } = whole(responseParser(), encoded);
  return { ...head, ...rest };
}

function whole<Head>(parser: BinaryParser<Head>, encoded: Uint8Array) {
  const parts = [...parser.push(encoded), ...parser.finish()];
  const contents = parts.flatMap((part) => (part.kind === 'content' ? [part.bytes] : []));
  const [first, last] = [parts[0], parts.at(-1)];
  if (first?.kind !== 'head' || last?.kind !== 'trailers') throw new Error('a parser left out a part');
  return { head: first.head, content: concat(...contents), trailers: last.fields };
}

function* framing(inbox: Inbox, known: number, open: number): Generator<Waiting, boolean> {
  const indicator = yield* inbox.varint();
  if (indicator !== known && indicator !== open) throw inbox.refusal(`its framing is ${indicator}`);
  return indicator === known;
}

function* requestControl(inbox: Inbox): Generator<Waiting, RequestControl> {
  const method = yield* text(inbox, 'method', METHOD);
  // CONNECT has neither scheme nor path; no other request is without (RFC 9113 section 8.3.1).
  const isConnect = method === 'CONNECT';
  const scheme = yield* text(inbox, 'scheme', isConnect ? /^$/ : SCHEME);
  const authority = yield* text(inbox, 'authority', AUTHORITY);
  const path = yield* text(inbox, 'path', isConnect ? /^$/ : PATH);
  return { method, scheme, authority, path };
}

function* text(inbox: Inbox, name: keyof typeof MAX_CONTROL, form: RegExp): Generator<Waiting, string> {
  const length = yield* inbox.varint();
  if (length > MAX_CONTROL[name]) throw inbox.refusal(`its ${name} is too long`);
  const value = latin1(yield* inbox.take(length));
  if (!form.test(value)) throw inbox.refusal(`its ${name} is none`);
  return value;
}

function* finalStatus(inbox: Inbox, isKnown: boolean): Generator<Waiting, number> {
  for (let informational = 0; informational <= MAX_INFORMATIONAL; informational++) {
    const status = yield* inbox.varint();
    if (status >= 200 && status <= 599) return status;
    if (status < 100 || status > 599) throw inbox.refusal(`its status is ${status}`);
    yield* section(inbox, isKnown);
  }
  throw inbox.refusal(`more than ${MAX_INFORMATIONAL} informational responses come before it`);
}

/** A field section; one that is cut off together with all after it is empty (RFC 9292 section 3.8). */
function* section(inbox: Inbox, isKnown: boolean): Generator<Waiting, readonly Field[]> {
  if (yield* inbox.atEnd()) return [];
  if (!isKnown) return yield* openSection(inbox);
  const length = yield* inbox.varint();
  if (length > MAX_SECTION_BYTES) throw inbox.refusal('a field section is too large');
  return parseFields(yield* inbox.take(length));
}

function* openSection(inbox: Inbox): Generator<Waiting, readonly Field[]> {
  const fields: Field[] = [];
  let left = MAX_SECTION_BYTES;
  const line = function* (length: number): Generator<Waiting, string> {
    left -= length + 1;
    if (left < 0) throw inbox.refusal('a field section is too large');
    return latin1(yield* inbox.take(length));
  };
  for (;;) {
    const length = yield* inbox.varint();
    if (length === 0) return fields;
    if (fields.length === MAX_FIELDS) throw tooManyFields();
    const name = yield* line(length);
    fields.push(checkField(name, yield* line(yield* inbox.varint())));
  }
}

/** Content, trailers and padding. */
function* body<Head>(inbox: Inbox, isKnown: boolean): Generator<BinaryPart<Head> | Waiting, void> {
  if (!(yield* inbox.atEnd())) yield* isKnown ? knownContent(inbox) : openContent(inbox);
  const fields = yield* section(inbox, isKnown);
  while (!(yield* inbox.atEnd())) {
    if (!isZero(yield* inbox.takeSome(inbox.available)))
      throw inbox.refusal('what follows its end is not zero');
  }
  yield { kind: 'trailers', fields };
}

function* knownContent<Head>(inbox: Inbox): Generator<BinaryPart<Head> | Waiting, void> {
  yield* bytes(inbox, yield* inbox.varint());
}

function* openContent<Head>(inbox: Inbox): Generator<BinaryPart<Head> | Waiting, void> {
  for (let length = yield* inbox.varint(); length > 0; length = yield* inbox.varint()) {
    yield* bytes(inbox, length);
  }
}

function* bytes<Head>(inbox: Inbox, length: number): Generator<BinaryPart<Head> | Waiting, void> {
  for (let left = length; left > 0;) {
    const part = yield* inbox.takeSome(left);
    left -= part.length;
    yield { kind: 'content', bytes: part };
  }
}

/** Known-length form of a request, with zeros behind it up to a multiple of `padTo` bytes. */
export function encodeBinaryRequest(request: BinaryRequest, padTo = 1): Uint8Array {
  const { method, scheme, authority, path, headers, content, trailers } = request;
  const control = [method, scheme, authority, path].map(encodeText);
  return padded(padTo, [
    encodeVarint(FRAMING.knownRequest),
    ...control,
    ...known(headers, content, trailers),
  ]);
}

/** Known-length form of a response, with zeros behind it up to a multiple of `padTo` bytes. */
export function encodeBinaryResponse(response: BinaryResponse, padTo = 1): Uint8Array {
  const { status, headers, content, trailers } = response;
  const control = encodeVarint(checkStatus(status));
  return padded(padTo, [encodeVarint(FRAMING.knownResponse), control, ...known(headers, content, trailers)]);
}

/** Beginning of an indeterminate-length response: everything before the content. */
export function encodeResponseHead({ status, headers }: ResponseHead): Uint8Array {
  const control = encodeVarint(checkStatus(status));
  return concat(encodeVarint(FRAMING.openResponse), control, encodeFields(headers), encodeVarint(0));
}

/** One piece of the content of an indeterminate-length message; of nothing, nothing. */
export function encodeContentPiece(content: Uint8Array): Uint8Array {
  return content.length === 0 ? content : concat(encodeVarint(content.length), content);
}

/** End of an indeterminate-length message without trailers: of the content, and of the trailers. */
export const MESSAGE_END: Uint8Array = Uint8Array.of(0, 0);

function checkStatus(status: number): number {
  if (Number.isInteger(status) && status >= 200 && status <= 599) return status;
  throw new RangeError('a final status is 200 to 599');
}

function known(
  headers: readonly Field[],
  content: Uint8Array,
  trailers: readonly Field[],
): readonly Uint8Array[] {
  return [encodeFields(headers), content, encodeFields(trailers)].flatMap((part) => [
    encodeVarint(part.length),
    part,
  ]);
}

function padded(padTo: number, parts: readonly Uint8Array[]): Uint8Array {
  const message = concat(...parts);
  const over = message.length % padTo;
  return over === 0 ? message : concat(message, new Uint8Array(padTo - over));
}
