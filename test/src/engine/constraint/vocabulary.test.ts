import { describe, expect, test } from '@jest/globals';
import { readVocabulary } from '../../../../src/engine/constraint/vocabulary.ts';
import { TextTokenizer } from '../../../../src/engine/tokenizer.ts';

const SAMPLES = [
  'a',
  'hello world',
  '  two  spaces ',
  'naïve café',
  '日本 😀!',
  '{"a": [1, 2]}\n\t"b"',
  '\u0000\u007f\u0080\u00ff',
];

/** The alphabet of GPT-2, written out by its own rule. */
function alphabet(): readonly string[] {
  const plain = [...span(0x21, 0x7e), ...span(0xa1, 0xac), ...span(0xae, 0xff)];
  const others = span(0, 255).filter((byte) => !plain.includes(byte));
  return span(0, 255).map((byte) =>
    String.fromCharCode(plain.includes(byte) ? byte : 0x100 + others.indexOf(byte)),
  );
}

function span(low: number, high: number): readonly number[] {
  return Array.from({ length: high - low + 1 }, (_, i) => low + i);
}

const END = { id: 0, content: '<end>', single_word: false, lstrip: false, rstrip: false, normalized: false };

function idsOf(tokens: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries(tokens.map((token, id) => [token, id]));
}

function byteLevel(): object {
  const tokens = ['<end>', ...alphabet(), 'he', 'Ġw', 'ĠĠ', 'Ã©'];
  return {
    added_tokens: [
      { ...END, special: true },
      { ...END, id: tokens.length, content: '<think>', special: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: idsOf(tokens), merges: ['h e', 'Ġ w', 'Ġ Ġ', 'Ã ©'] },
  };
}

const BYTES = span(0, 255).map((byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
const DECODER = {
  type: 'Sequence',
  decoders: [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ],
};
const SPACES = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };

function sentencePieceBpe(): object {
  const tokens = ['<end>', ...BYTES, '▁', 'a', 'h', 'e', 'l', 'o', 'w', 'he', '▁w', 'é'];
  return {
    added_tokens: [{ ...END, special: true }],
    normalizer: SPACES,
    pre_tokenizer: null,
    post_processor: null,
    decoder: DECODER,
    model: {
      type: 'BPE',
      vocab: idsOf(tokens),
      merges: ['h e', '▁ w'],
      byte_fallback: true,
      fuse_unk: true,
      unk_token: '<end>',
    },
  };
}

function unigram(): object {
  const pieces = [...Array.from('▁abcdefghijklmnopqrstuvwxyz'), '▁wor', 'ell', 'ï', '日本'];
  return {
    added_tokens: [{ ...END, special: true }],
    normalizer: SPACES,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'never', add_prefix_space: false },
    model: {
      type: 'Unigram',
      unk_id: 0,
      vocab: [['<end>', 0], ...pieces.map((piece, i) => [piece, -5 - i / 10])],
    },
  };
}

/** The bytes of the tokens of a text, joined; undefined where one has none. */
function joined(
  json: object,
  text: string,
): { readonly bytes: string | undefined; readonly decoded: string } {
  const vocabulary = readVocabulary(json);
  const tokenizer = new TextTokenizer({ json, config: {} }, 4096);
  const ids = tokenizer.encode(text, false, 'text');
  const parts = ids.map((id) => vocabulary?.bytes.get(id));
  const known = parts.filter((part) => part !== undefined);
  const bytes = known.length < parts.length ? undefined : Buffer.concat(known).toString();
  return { bytes, decoded: tokenizer.decode(ids) };
}

describe('the bytes of tokens, joined, are the text that the tokenizer decodes:', () => {
  test.each(SAMPLES)('byte-level, %j', (text) => {
    expect(joined(byteLevel(), text)).toEqual({ bytes: text, decoded: text });
  });

  test.each(SAMPLES)('SentencePiece with byte fallback, %j', (text) => {
    expect(joined(sentencePieceBpe(), text)).toEqual({ bytes: text, decoded: text });
  });

  test.each(['hello world', 'two  spaces ', 'naïve', '日本'])('Unigram, %j', (text) => {
    expect(joined(unigram(), text)).toEqual({ bytes: text, decoded: text });
  });
});

describe('a vocabulary', () => {
  test('has every byte under the one token that stands for it', () => {
    for (const json of [byteLevel(), sentencePieceBpe()]) {
      const { bytes } = readVocabulary(json)!;
      for (const byte of span(0, 255)) expect([...bytes.get(byte + 1)!]).toEqual([byte]);
    }
  });

  test('has added tokens as they are written, and no special ones', () => {
    const { bytes, size } = readVocabulary(byteLevel())!;
    expect(bytes.has(0)).toBe(false);
    expect(Buffer.from(bytes.get(size - 1)!).toString()).toBe('<think>');
    expect(readVocabulary(unigram())!.bytes.has(0)).toBe(false);
  });

  test('has no token of characters that stand for no byte', () => {
    const json = { ...byteLevel(), model: { type: 'BPE', vocab: { a: 1, 'a b': 2, '▁a': 3 }, merges: [] } };
    expect([...readVocabulary(json)!.bytes.keys()]).toEqual([1, 261]);
  });

  test('is not known of WordPiece, nor of a file without one', () => {
    const model = { type: 'WordPiece', vocab: { '[UNK]': 0, hello: 1, '##s': 2 }, unk_token: '[UNK]' };
    const wordPiece = {
      added_tokens: [],
      normalizer: { type: 'BertNormalizer' },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
      model,
    };
    expect(readVocabulary(wordPiece)).toBeUndefined();
    expect(readVocabulary({ ...wordPiece, decoder: null })).toBeUndefined();
    expect(readVocabulary({ decoder: { type: 'ByteLevel' } })).toBeUndefined();
    expect(readVocabulary({ decoder: { type: 'ByteLevel' }, model: { vocab: 'a' } })).toBeUndefined();
  });
});
