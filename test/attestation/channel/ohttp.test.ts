import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import {
  CHUNK_BYTES,
  ChunkOpener,
  ChunkSealer,
  frameChunk,
  openChunked,
  sealChunked,
} from '../../../attestation/channel/ohttp/chunked.ts';
import { beginRequest, parseRequestHeader } from '../../../attestation/channel/ohttp/exchange.ts';
import {
  chooseKey,
  encodeKeyConfigs,
  type GatewayKey,
  type KeyConfig,
  keyConfigOf,
  parseKeyConfigs,
} from '../../../attestation/channel/ohttp/keyConfig.ts';
import { suiteOf, SYMMETRIC } from '../../../attestation/channel/ohttp/suite.ts';
import {
  openWhole,
  openWholeResponse,
  sealWhole,
  sealWholeResponse,
} from '../../../attestation/channel/ohttp/whole.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { nodeSuites } from '../../../src/http/hpkeSuites.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

let pair: CryptoKeyPair;
let publicKey: Uint8Array;
let keys: readonly GatewayKey[];
beforeAll(async () => {
  const { kem } = suiteOf(SYMMETRIC[0]!);
  pair = await kem.generateKeyPair();
  publicKey = new Uint8Array(await kem.serializePublicKey(pair.publicKey));
  keys = SYMMETRIC.map((symmetric) => ({ id: 7, publicKey, symmetric }));
});

const REQUEST = utf8('a request');
const nonceOf = (length: number): Uint8Array => new Uint8Array(length).fill(9);

async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return 'accepted';
}

/** Takes chunks of a body apart: all after a head of some bytes. */
function chunksOf(body: Uint8Array, head: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let at = head; at < body.length;) {
    const first = body[at]!;
    const width = 1 << (first >> 6);
    let length = first & 0x3f;
    for (let i = 1; i < width; i++) length = length * 256 + body[at + i]!;
    const end = length === 0 ? body.length : at + width + length;
    chunks.push(body.slice(at, end));
    at = end;
  }
  return chunks;
}

describe.each([0, 1])('sealed with suite %i of a gateway', (index) => {
  test('a whole request and its response open', async () => {
    const { body, sender } = await sealWhole(keys[index]!, REQUEST);
    const { request, recipient } = await openWhole(pair.privateKey, parseRequestHeader(body));
    expect(request).toEqual(REQUEST);
    const response = await sealWholeResponse(recipient, nonceOf(recipient.nonceBytes), utf8('yes'));
    expect(await openWholeResponse(sender, response)).toEqual(utf8('yes'));
    expect(await codeOf(openWholeResponse(sender, response.subarray(0, 20)))).toBe('MALFORMED');
    response[response.length - 1]! ^= 1;
    expect(await codeOf(openWholeResponse(sender, response))).toBe('SIGNATURE_INVALID');
  });

  test(
    'chunks of any size open in order, in pieces of any size',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.uint8Array({ maxLength: 2 * CHUNK_BYTES + 9 }),
          fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }),
          fc.integer({ min: 1, max: 400 }),
          async (content, answers, size) => {
            const { body, sender } = await sealChunked(keys[index]!, content);
            const { request, recipient } = await openChunked(pair.privateKey, parseRequestHeader(body));
            expect(Buffer.compare(request, content)).toBe(0);
            const sealer = await ChunkSealer.begin(recipient, nonceOf(recipient.nonceBytes));
            // Without waiting for one before the next, as a stream does.
            const sealed = answers.map((answer) => sealer.seal(answer, false));
            sealed.push(sealer.seal(new Uint8Array(0), true));
            const response = concat(...(await Promise.all(sealed)));
            const opener = new ChunkOpener(sender);
            const opened: Uint8Array[] = [];
            for (let at = 0; at < response.length; at += size) {
              opened.push(...(await opener.push(response.subarray(at, at + size))));
            }
            expect(opener.ended).toBe(false);
            opened.push(...(await opener.finish()));
            expect(concat(...opened)).toEqual(concat(...answers));
          },
        ),
        propertyRuns(25),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

test('what OpenSSL opens and seals is the same', async () => {
  const { body, sender } = await sealChunked(keys[0]!, REQUEST);
  const header = parseRequestHeader(body);
  const { request, recipient } = await openChunked(pair.privateKey, header, nodeSuites.x25519());
  expect(request).toEqual(REQUEST);
  const sealer = await ChunkSealer.begin(recipient, nonceOf(recipient.nonceBytes));
  const opener = new ChunkOpener(sender);
  await opener.push(await sealer.seal(utf8('yes'), true));
  expect(await opener.finish()).toEqual([utf8('yes')]);
});

describe('a chunked request', () => {
  const HEAD = 7 + 32;
  const long = new Uint8Array(3 * CHUNK_BYTES + 5).fill(3);

  const broken: readonly (readonly [string, (chunks: Uint8Array[]) => readonly Uint8Array[]])[] = [
    ['truncated before its last chunk', (chunks) => chunks.slice(0, -1)],
    ['truncated to its head', () => []],
    ['truncated, with what came last called the last', ([a, b]) => [a!, Uint8Array.of(0), b!.subarray(4)]],
    ['reordered', ([a, b, ...rest]) => [b!, a!, ...rest]],
    ['with a chunk twice', ([a, ...rest]) => [a!, a!, ...rest]],
    ['with a chunk left out', ([, ...rest]) => rest],
    ['with something behind its end', (chunks) => [...chunks, Uint8Array.of(0)]],
    ['with an altered chunk', ([a, ...rest]) => [a!.map((byte, i) => (i === 50 ? byte ^ 1 : byte)), ...rest]],
  ];
  test.each(broken)('%s is refused, and nothing of it is given out', async (_name, choose) => {
    const { body } = await sealChunked(keys[0]!, long);
    const altered = concat(body.subarray(0, HEAD), ...choose(chunksOf(body, HEAD)));
    const code = await codeOf(openChunked(pair.privateKey, parseRequestHeader(altered)));
    expect(['MALFORMED', 'SIGNATURE_INVALID']).toContain(code);
  });

  test('with a chunk of nothing before its last, or of more chunks than any, is refused', async () => {
    const empty = await beginRequest('chunked', keys[0]!);
    const parts = [frameChunk(await empty.seal(new Uint8Array(0), false), false)];
    parts.push(frameChunk(await empty.seal(REQUEST, true), true));
    const body = concat(empty.head, ...parts);
    expect(await codeOf(openChunked(pair.privateKey, parseRequestHeader(body)))).toBe('MALFORMED');
    const many = concat(
      empty.head,
      ...Array.from({ length: 5000 }, () => Uint8Array.of(1, 1)),
      new Uint8Array(17),
    );
    expect(await codeOf(openChunked(pair.privateKey, parseRequestHeader(many)))).toBe('MALFORMED');
  });

  test('of another form, suite or KEM is refused', async () => {
    const { body } = await sealChunked(keys[0]!, REQUEST);
    expect(await codeOf(openWhole(pair.privateKey, parseRequestHeader(body)))).toBe('SIGNATURE_INVALID');
    const as = (at: number, value: number): Uint8Array => body.map((byte, i) => (i === at ? value : byte));
    for (const altered of [as(2, 0x10), as(4, 2), as(6, 3)]) {
      expect(() => parseRequestHeader(altered)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    }
    for (const altered of [as(0, 8), as(6, 1)]) {
      const code = await codeOf(openChunked(pair.privateKey, parseRequestHeader(altered)));
      expect(code).toBe('SIGNATURE_INVALID');
    }
    expect(() => parseRequestHeader(body.subarray(0, 38))).toThrow(Refusal);
  });
});

describe('a chunked response', () => {
  async function answered() {
    const { body, sender } = await sealChunked(keys[0]!, REQUEST);
    const { recipient } = await openChunked(pair.privateKey, parseRequestHeader(body));
    const sealer = await ChunkSealer.begin(recipient, nonceOf(32));
    const response = concat(
      await sealer.seal(utf8('one'), false),
      await sealer.seal(utf8('two'), false),
      await sealer.seal(utf8('three'), true),
    );
    return { sender, nonce: response.slice(0, 32), chunks: chunksOf(response, 32) };
  }

  const broken: readonly (readonly [string, (chunks: Uint8Array[]) => readonly Uint8Array[]])[] = [
    ['truncated before its last chunk', (chunks) => chunks.slice(0, -1)],
    ['truncated inside a chunk', (chunks) => [concat(...chunks).subarray(0, 10)]],
    ['truncated inside its last chunk', (chunks) => [concat(...chunks).subarray(0, -1)]],
    ['truncated, with what came last called the last', ([a, b]) => [a!, Uint8Array.of(0), b!.subarray(1)]],
    ['reordered', ([a, b, c]) => [b!, a!, c!]],
    ['with a chunk twice', ([a, b, c]) => [a!, a!, b!, c!]],
    ['with a chunk left out', ([, b, c]) => [b!, c!]],
    ['with a chunk that is larger than any', () => [Uint8Array.of(0xbf, 0xff, 0xff, 0xff)]],
  ];
  test.each(broken)('%s is refused', async (_name, choose) => {
    const { sender, nonce, chunks } = await answered();
    const opener = new ChunkOpener(sender);
    const reading = async (): Promise<void> => {
      await opener.push(concat(nonce, ...choose(chunks)));
      await opener.finish();
    };
    expect(['MALFORMED', 'SIGNATURE_INVALID']).toContain(await codeOf(reading()));
    expect(opener.ended).toBe(false);
  });

  test('that mixes two answers, or is of another request, is refused', async () => {
    const [one, other] = [await answered(), await answered()];
    for (const chunks of [[one.chunks[0]!, other.chunks[1]!, one.chunks[2]!], other.chunks]) {
      const opener = new ChunkOpener(one.sender);
      expect(await codeOf(opener.push(concat(one.nonce, ...chunks)))).toBe('SIGNATURE_INVALID');
    }
  });
});

describe('key configurations', () => {
  const config: KeyConfig = { id: 1, kem: 0x20, publicKey: new Uint8Array(32).fill(5), symmetric: SYMMETRIC };
  const encoded = encodeKeyConfigs([config]);

  test('go round, and those of a KEM that is not known are left out', () => {
    const p256: KeyConfig = { ...config, id: 2, kem: 0x10, publicKey: new Uint8Array(65).fill(6) };
    const unknown = Uint8Array.of(0, 5, 3, 0x64, 0x7a, 1, 2);
    expect(parseKeyConfigs(concat(unknown, encodeKeyConfigs([p256, config])))).toEqual([p256, config]);
    expect(chooseKey([p256, config])).toEqual({
      id: 1,
      publicKey: config.publicKey,
      symmetric: SYMMETRIC[0],
    });
    expect(() => chooseKey([p256])).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });

  test('name the generation of a keyset, one byte of it', () => {
    const key = { kem: 0x20, kdf: 1, aead: 2, publicKey: config.publicKey };
    expect(keyConfigOf({ generation: 258, hpke: [key] })).toEqual({ ...config, id: 2 });
  });

  test.each([
    ['cut', encoded.subarray(0, -1)],
    ['with something behind them', concat(encoded, Uint8Array.of(0))],
    ['without the length before each', encoded.subarray(2)],
    ['without algorithms', Uint8Array.of(0, 37, ...encoded.subarray(2, 37), 0, 0)],
    ['with half an algorithm', Uint8Array.of(0, 39, ...encoded.subarray(2, 37), 0, 2, 0, 1)],
    ['more than anyone has', concat(...Array.from({ length: 17 }, () => encoded))],
  ])('%s are refused as a whole', (_name, bytes) => {
    expect(() => parseKeyConfigs(bytes)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  test(
    'of any bytes are parsed or refused',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
          try {
            parseKeyConfigs(bytes);
            parseRequestHeader(bytes);
          } catch (error) {
            if (!(error instanceof Refusal)) throw error;
          }
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
