import { describe, expect, test } from '@jest/globals';
import { BHttpDecoder, BHttpEncoder } from 'bhttp-js';
import fc from 'fast-check';
import { concat, fromHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import {
  type BinaryPart,
  type BinaryRequest,
  encodeBinaryRequest,
  encodeBinaryResponse,
  encodeContentPiece,
  encodeResponseHead,
  MESSAGE_END,
  parseBinaryRequest,
  parseBinaryResponse,
  requestParser,
  responseParser,
} from '../../../attestation/channel/ohttp/bhttp.ts';
import { encodeVarint, readVarint } from '../../../attestation/channel/ohttp/varint.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const NAME = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/);
const VALUE = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,20}[!-~])?)?$/);
const FIELDS = fc.array(fc.tuple(NAME, VALUE), { maxLength: 6 });
const CONTENT = fc.uint8Array({ maxLength: 300 });
const REQUEST = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH'),
  scheme: fc.constantFrom('https', 'http'),
  authority: fc.constantFrom('', 'example.com', '[::1]:8080'),
  path: fc.stringMatching(/^\/[a-z0-9/._~%-]{0,20}(?:\?[a-z=&]{0,9})?$/),
  headers: FIELDS,
  content: CONTENT,
  trailers: FIELDS,
});
const RESPONSE = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  headers: FIELDS,
  content: CONTENT,
  trailers: FIELDS,
});

/** Cuts bytes in pieces of some sizes. */
function cut(bytes: Uint8Array, sizes: readonly number[]): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

const text = (value: string): Uint8Array => concat(encodeVarint(value.length), utf8(value));
const CONTROL = concat(Uint8Array.of(0), ...['GET', 'https', 'example.com', '/'].map(text));

function refusal(parse: () => unknown): string {
  try {
    parse();
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return 'accepted';
}

describe('integers of QUIC', () => {
  // RFC 9000 appendix A.1.
  test.each([
    ['c2197c5eff14e88c', 151288809941952652n],
    ['9d7f3e7d', 494878333n],
    ['7bbd', 15293n],
    ['25', 37n],
    ['4025', 37n],
  ])('%s', (hex, value) => {
    const read = (): number => readVarint(new ByteReader(fromHex(hex), 'integer'));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) expect(refusal(read)).toBe('MALFORMED');
    else expect(read()).toBe(Number(value));
  });

  test(
    'go round',
    () => {
      fc.assert(
        fc.property(fc.maxSafeNat(), (value) => {
          const encoded = encodeVarint(value);
          const reader = new ByteReader(encoded, 'integer');
          expect(readVarint(reader)).toBe(value);
          reader.end();
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('binary HTTP', () => {
  test(
    'goes round, padded or not, in pieces of any size',
    () => {
      fc.assert(
        fc.property(
          REQUEST,
          fc.nat(64),
          fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
          (request, pad, sizes) => {
            const encoded = encodeBinaryRequest(request, pad + 1);
            expect(encoded.length % (pad + 1)).toBe(0);
            expect(parseBinaryRequest(encoded)).toEqual(request);
            const parser = requestParser();
            const parts: BinaryPart<unknown>[] = [];
            for (const piece of cut(encoded, sizes)) parts.push(...parser.push(piece));
            parts.push(...parser.finish());
            const contents = parts.flatMap((part) => (part.kind === 'content' ? [part.bytes] : []));
            expect(concat(...contents)).toEqual(request.content);
            expect(parts.at(-1)).toEqual({ kind: 'trailers', fields: request.trailers });
          },
        ),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'of indeterminate length says the same as of known length',
    () => {
      fc.assert(
        fc.property(
          RESPONSE,
          fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 }),
          (response, sizes) => {
            const { content, status, headers } = response;
            const pieces = cut(content, sizes).map(encodeContentPiece);
            const open = concat(encodeResponseHead({ status, headers }), ...pieces, MESSAGE_END);
            const known = encodeBinaryResponse({ ...response, trailers: [] });
            expect(parseBinaryResponse(open)).toEqual(parseBinaryResponse(known));
          },
        ),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'cut anywhere is refused, or says what the whole says but for what is empty at its end',
    () => {
      fc.assert(
        fc.property(REQUEST, (request) => {
          const encoded = encodeBinaryRequest(request);
          for (let length = 0; length < encoded.length; length++) {
            let parsed: BinaryRequest | undefined;
            try {
              parsed = parseBinaryRequest(encoded.subarray(0, length));
            } catch (error) {
              if (!(error instanceof Refusal)) throw error;
            }
            // What is left out in front of a length is what an encoder may leave out: no part of it is half there.
            if (parsed) {
              for (const part of ['headers', 'content', 'trailers'] as const) {
                expect([0, request[part].length]).toContain(parsed[part].length);
              }
            }
          }
        }),
        propertyRuns(60),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'of any bytes is parsed or refused',
    () => {
      fc.assert(
        fc.property(fc.nat(4), fc.uint8Array({ maxLength: 200 }), (framing, rest) => {
          const encoded = concat(Uint8Array.of(framing), rest);
          refusal(() => parseBinaryRequest(encoded));
          refusal(() => parseBinaryResponse(encoded));
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('is that of another implementation, both ways', async () => {
    const body = '{"input":"hello"}';
    const headers = { 'content-type': 'application/json', 'x-a': 'b' };
    const theirs = await new BHttpEncoder().encodeRequest(
      new Request('https://example.com/v1/embeddings', { method: 'POST', headers, body }),
    );
    const request = parseBinaryRequest(new Uint8Array(theirs));
    expect(request).toMatchObject({ method: 'POST', scheme: 'https', path: '/v1/embeddings' });
    expect(Object.fromEntries(request.headers)).toMatchObject(headers);
    expect(Buffer.from(request.content).toString()).toBe(body);
    const ours = new BHttpDecoder().decodeRequest(
      encodeBinaryRequest({ ...request, authority: 'example.com' }, 64),
    );
    expect([ours.url, await ours.text()]).toEqual(['https://example.com/v1/embeddings', body]);
    const response = await new BHttpEncoder().encodeResponse(new Response('no', { status: 404, headers }));
    expect(parseBinaryResponse(new Uint8Array(response))).toMatchObject({ status: 404, content: utf8('no') });
    const open = concat(
      encodeResponseHead({ status: 201, headers: [['x-a', 'b']] }),
      encodeContentPiece(utf8('yes')),
      MESSAGE_END,
    );
    const decoded = new BHttpDecoder().decodeResponse(open);
    expect([decoded.status, decoded.headers.get('x-a'), await decoded.text()]).toEqual([201, 'b', 'yes']);
  });
});

describe('what RFC 9292 allows', () => {
  test('parts that are empty at the end may be missing', () => {
    const empty = { headers: [], content: new Uint8Array(0), trailers: [] };
    for (const rest of [[], [0], [0, 0], [0, 0, 0], [0, 0, 0, 0, 0]]) {
      expect(parseBinaryRequest(Uint8Array.of(...CONTROL, ...rest))).toMatchObject(empty);
    }
  });

  test('informational responses are passed over', () => {
    const known = Uint8Array.of(1, 0x40, 100, 0, 0x40, 103, 4, 1, 0x61, 1, 0x62, 0x40, 200);
    expect(parseBinaryResponse(known)).toMatchObject({ status: 200, headers: [] });
    const open = Uint8Array.of(3, 0x40, 103, 1, 0x61, 1, 0x62, 0, 0x40, 204);
    expect(parseBinaryResponse(open)).toMatchObject({ status: 204, headers: [] });
  });

  test('names come in any case, values of any bytes, integers with more bytes than they need', () => {
    const line = concat(text('X-Name'), Uint8Array.of(0x40, 2, 0xe9, 0x80));
    const { headers } = parseBinaryRequest(concat(CONTROL, encodeVarint(line.length), line));
    expect(headers).toEqual([['x-name', '\u00e9\u0080']]);
  });
});

describe('refused', () => {
  const section = (line: Uint8Array): Uint8Array => concat(CONTROL, encodeVarint(line.length), line);
  const field = (name: string, value: string): Uint8Array => section(concat(text(name), text(value)));
  const control = (...parts: readonly string[]): Uint8Array => concat(Uint8Array.of(0), ...parts.map(text));
  const requests: readonly (readonly [string, Uint8Array])[] = [
    ['nothing', new Uint8Array(0)],
    ['another framing', Uint8Array.of(4)],
    ['the framing of a response', Uint8Array.of(1, ...CONTROL.subarray(1))],
    ['padding that is not zero', Uint8Array.of(...CONTROL, 0, 0, 0, 0, 1)],
    ['a field name that is empty', field('', 'x')],
    ['a field name with a space', field('a b', 'x')],
    ['a pseudo-field', field(':path', '/other')],
    ['a value with a line break', field('a', 'b\r\nc')],
    ['a value with NUL', field('a', 'b\0')],
    ['a value that ends in a space', field('a', 'b ')],
    ['a section that ends inside a line', section(Uint8Array.of(1, 0x61, 5, 0x62))],
    ['a section larger than what follows', concat(CONTROL, encodeVarint(50), text('a'))],
    ['a section larger than the bound', concat(CONTROL, encodeVarint(2 ** 20), new Uint8Array(2 ** 20))],
    ['content that is cut', Uint8Array.of(...CONTROL, 0, 9, 1, 2)],
    ['a method that is none', control('GE T', 'https', 'a', '/')],
    ['no scheme', control('GET', '', 'a', '/')],
    ['no path', control('GET', 'https', 'a', '')],
    ['a path that does not start with a slash', control('GET', 'https', 'a', 'x')],
    ['a path with a fragment', control('GET', 'https', 'a', '/#x')],
    ['user information', control('GET', 'https', 'me@a', '/')],
    ['fields without their terminator', concat(Uint8Array.of(2), CONTROL.subarray(1), text('a'), text('b'))],
    ['content without its terminator', Uint8Array.of(2, ...CONTROL.subarray(1), 0, 2, 7, 7)],
  ];
  test.each(requests)('%s', (_name, encoded) => {
    expect(refusal(() => parseBinaryRequest(encoded))).toBe('MALFORMED');
  });

  const responses: readonly (readonly [string, readonly number[]])[] = [
    ['an informational response alone', [1, 0x40, 100, 0]],
    ['a status below 100', [1, 0x40, 99, 0]],
    ['a status above 599', [1, 0x42, 0x58, 0]],
    [
      'more informational responses than anyone sends',
      [1, ...Array.from({ length: 17 }, () => [0x40, 103, 0]).flat(), 0x40, 200],
    ],
  ];
  test.each(responses)('%s', (_name, encoded) => {
    expect(refusal(() => parseBinaryResponse(Uint8Array.from(encoded)))).toBe('MALFORMED');
    const parser = responseParser();
    expect(refusal(() => [...parser.push(Uint8Array.from(encoded)), ...parser.finish()])).toBe('MALFORMED');
  });

  test('what the encoder cannot say is misuse', () => {
    const message = { headers: [], content: new Uint8Array(0), trailers: [] };
    expect(() => encodeBinaryResponse({ ...message, status: 100 })).toThrow(RangeError);
    expect(() => encodeBinaryResponse({ ...message, status: 200, headers: [['a', 'b\nc']] })).toThrow(
      Refusal,
    );
    expect(() => encodeBinaryResponse({ ...message, status: 200, headers: [['a', '\u0100']] })).toThrow(
      RangeError,
    );
  });
});
