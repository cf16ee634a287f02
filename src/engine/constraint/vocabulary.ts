/** Token with the exact bytes that it adds to a text. */
interface TokenBytes {
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** Tokens that a model may have. */
const MAX_TOKENS = 2_000_000;

/**
 * The tokens of a model by their bytes, as a tree written down in order: after a node come those below it. Tokens
 * that stand for something else than text (special ones) and tokens without text are not in it.
 */
export interface Vocabulary {
  /** Largest token id and one: logits may be more. */
  readonly size: number;
  /** Bytes of the longest token. */
  readonly longest: number;
  readonly bytes: ReadonlyMap<number, Uint8Array>;
  readonly trie: TokenTrie;
}

export interface TokenTrie {
  /** The byte that leads to each node, and how many bytes do. */
  readonly byte: Uint8Array;
  readonly depth: Uint16Array;
  /** The first node after those below. */
  readonly skip: Int32Array;
  /** Tokens of node `i`: `tokens` from `first[i]` up to `first[i + 1]`. */
  readonly first: Int32Array;
  readonly tokens: Int32Array;
}

/** The vocabulary of a parsed `tokenizer.json`; undefined for a kind whose bytes are not known here. */
export function readVocabulary(json: object): Vocabulary | undefined {
  const { model, added_tokens: added = [] } = json as TokenizerJson;
  const toBytes = decodingOf(json);
  const entries = entriesOf(model?.vocab);
  if (!toBytes || !entries || entries.length > MAX_TOKENS) return undefined;
  const bytes = new Map<number, Uint8Array>();
  for (const [text, id] of entries) {
    const own = toBytes(text);
    if (own && own.length > 0 && own.length <= 0xffff) bytes.set(id, own);
  }
  for (const { id, content, special } of added) {
    const own = encoder.encode(content);
    if (special === true || own.length === 0 || own.length > 0xffff) bytes.delete(id);
    else bytes.set(id, own);
  }
  return makeVocabulary(bytes);
}

export function makeVocabulary(bytes: ReadonlyMap<number, Uint8Array>): Vocabulary {
  const tokens = Array.from(bytes, ([id, own]) => ({ id, bytes: own }));
  const size = tokens.reduce((most, { id }) => Math.max(most, id + 1), 0);
  const longest = tokens.reduce((most, token) => Math.max(most, token.bytes.length), 0);
  return { size, longest, bytes, trie: makeTrie(tokens) };
}

/** What is read of the file; its reader has checked ids and contents of added tokens. */
interface TokenizerJson {
  readonly model?: { readonly vocab?: unknown; readonly byte_fallback?: unknown };
  readonly decoder?: unknown;
  readonly pre_tokenizer?: unknown;
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special?: unknown;
  }[];
}

type ToBytes = (text: string) => Uint8Array | undefined;

const encoder = new TextEncoder();
const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/;
const WORD_START = '\u2581';

function decodingOf({ decoder, pre_tokenizer, model }: TokenizerJson): ToBytes | undefined {
  const decoders = componentsOf(decoder, 'decoders');
  const before = componentsOf(pre_tokenizer, 'pretokenizers');
  const has = (type: string): boolean =>
    [...decoders, ...before].some((component) => component.type === type);
  if (has('ByteLevel')) return byteLevel;
  const spaces = decoders.some(
    ({ type, content, replacement }) =>
      (type === 'Replace' && content === ' ') ||
      (type === 'Metaspace' && (replacement ?? WORD_START) === WORD_START),
  );
  return spaces || model?.byte_fallback === true ? sentencePiece : undefined;
}

interface Component {
  readonly type: unknown;
  readonly content: unknown;
  readonly replacement: unknown;
}

/** A component, or those of a sequence. */
function componentsOf(value: unknown, member: string): readonly Component[] {
  if (typeof value !== 'object' || value === null) return [];
  const own = value as Readonly<Record<string, unknown>>;
  const listed = own[member];
  if (Array.isArray(listed)) return listed.flatMap((one: unknown) => componentsOf(one, member));
  return [{ type: own['type'], content: own['content'], replacement: own['replacement'] }];
}

/** BPE has a map of texts to ids, Unigram a list of pairs of text and score. */
function entriesOf(vocab: unknown): readonly (readonly [string, number])[] | undefined {
  if (typeof vocab !== 'object' || vocab === null) return undefined;
  if (!Array.isArray(vocab)) return Object.entries(vocab as Record<string, number>);
  return vocab.map((entry: unknown, id) => [Array.isArray(entry) ? String(entry[0]) : '', id] as const);
}

function sentencePiece(text: string): Uint8Array {
  const byte = BYTE_TOKEN.exec(text)?.[1];
  return byte === undefined
    ? encoder.encode(text.replaceAll(WORD_START, ' '))
    : Uint8Array.of(Number.parseInt(byte, 16));
}

/** GPT-2's characters for bytes: printable ones for themselves, the others from U+0100 on. */
const BYTE_OF: ReadonlyMap<string, number> = (() => {
  const isPlain = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [String.fromCharCode(isPlain(byte) ? byte : next++), byte]),
  );
})();

/** Undefined where a character stands for no byte. */
function byteLevel(text: string): Uint8Array | undefined {
  const bytes = Array.from(text, (character) => BYTE_OF.get(character));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : undefined;
}

function makeTrie(tokens: readonly TokenBytes[]): TokenTrie {
  const sorted = [...tokens].sort((a, b) => compare(a.bytes, b.bytes) || a.id - b.id);
  const most = sorted.reduce((sum, token) => sum + token.bytes.length, 0);
  const byte = new Uint8Array(most);
  const depth = new Uint16Array(most);
  const skip = new Int32Array(most);
  const first = new Int32Array(most + 1);
  const ids = new Int32Array(sorted.length);
  const open: number[] = [];
  let nodes = 0;
  let before: Uint8Array = new Uint8Array(0);
  for (const [index, token] of sorted.entries()) {
    const shared = commonLength(before, token.bytes);
    while (open.length > shared) skip[open.pop() ?? 0] = nodes;
    for (let i = shared; i < token.bytes.length; i++) {
      byte[nodes] = token.bytes[i] ?? 0;
      depth[nodes] = i + 1;
      first[nodes] = index;
      open.push(nodes++);
    }
    ids[index] = token.id;
    before = token.bytes;
  }
  for (const node of open) skip[node] = nodes;
  first[nodes] = sorted.length;
  return {
    byte: byte.slice(0, nodes),
    depth: depth.slice(0, nodes),
    skip: skip.slice(0, nodes),
    first: first.slice(0, nodes + 1),
    tokens: ids,
  };
}

function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function commonLength(a: Uint8Array, b: Uint8Array): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
