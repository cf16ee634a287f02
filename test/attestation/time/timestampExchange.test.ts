import { describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { verifyTimestamp } from '../../../attestation/time/timestamp.ts';
import {
  encodeTimestampRequest,
  parseTimestampRequest,
  parseTimestampResponse,
} from '../../../attestation/time/timestampExchange.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { refusalOf } from '../../support/refusal.ts';
import {
  algorithm,
  answerTimestampQuery,
  TIMESTAMP_OIDS,
  timestampAuthority,
} from '../../support/timestampAuthority.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const DATA = utf8('a checkpoint\n');
const digest = nodeCrypto.hash('sha256', DATA);

test('what is asked is answered, and the token verifies', async () => {
  const nonce = Uint8Array.of(0, 0xff, 1, 2, 3, 4, 5, 6);
  const query = encodeTimestampRequest({ digest, nonce, certReq: true });
  const token = parseTimestampResponse(answerTimestampQuery(query, NOW));
  const { anchor } = timestampAuthority();
  const verified = await verifyTimestamp(token, { data: DATA, nonce, anchors: [anchor], crypto: nodeCrypto });
  expect(verified.time).toBe(NOW);
});

describe('timestamp requests', () => {
  test('come back as they were written', () => {
    const nonce = Uint8Array.of(0x80, 1);
    expect(parseTimestampRequest(encodeTimestampRequest({ digest, nonce, certReq: true }))).toEqual({
      hash: 'sha256',
      digest,
      nonce,
      policy: undefined,
      certReq: true,
    });
    const bare = parseTimestampRequest(encodeTimestampRequest({ digest, nonce: undefined, certReq: false }));
    expect(bare).toMatchObject({ nonce: undefined, certReq: false });
  });

  test('a digest of another length is misuse', () => {
    const short = { digest: digest.subarray(1), nonce: undefined, certReq: true };
    expect(() => encodeTimestampRequest(short)).toThrow(RangeError);
  });

  const imprint = der.sequence(algorithm(TIMESTAMP_OIDS.sha256), der.octetString(digest));
  test.each([
    ['another version', [der.smallInteger(2), imprint], 'UNSUPPORTED'],
    [
      'SHA-1',
      [
        der.smallInteger(1),
        der.sequence(algorithm(TIMESTAMP_OIDS.sha1), der.octetString(new Uint8Array(20))),
      ],
      'UNSUPPORTED',
    ],
    ['an extension', [der.smallInteger(1), imprint, der.tagged(0)], 'UNSUPPORTED'],
    [
      'a nonce of 65 bytes',
      [der.smallInteger(1), imprint, der.integer(new Uint8Array(65).fill(1))],
      'MALFORMED',
    ],
    [
      'fields out of order',
      [der.smallInteger(1), imprint, der.element(TAG.boolean, Uint8Array.of(0xff)), der.smallInteger(3)],
      'MALFORMED',
    ],
  ])('refuses %s', (_, fields, code) => {
    expect(refusalOf(() => parseTimestampRequest(der.sequence(...fields)))?.code).toBe(code);
  });

  test('refuses trailing bytes and more than 4 KiB', () => {
    const query = encodeTimestampRequest({ digest, nonce: undefined, certReq: true });
    for (const bytes of [concat(query, Uint8Array.of(0)), new Uint8Array(4097)]) {
      expect(refusalOf(() => parseTimestampRequest(bytes))?.code).toBe('MALFORMED');
    }
  });
});

describe('parseTimestampResponse', () => {
  const token = der.sequence(der.smallInteger(9));
  const status = (code: number, ...more: readonly Uint8Array[]) =>
    der.sequence(der.smallInteger(code), ...more);

  test.each([0, 1])('takes the token of status %d', (code) => {
    expect(parseTimestampResponse(der.sequence(status(code), token))).toEqual(token);
  });

  test('names why nothing was granted', () => {
    const texts = der.sequence(der.utf8String('come again'), der.utf8String('later'));
    const failure = der.bitString(Uint8Array.of(0x40), 6);
    const refusal = refusalOf(() => parseTimestampResponse(der.sequence(status(2, texts, failure))));
    expect(refusal?.code).toBe('TIMESTAMP_NOT_GRANTED');
    expect(refusal?.message).toContain('come again; later');
  });

  test.each([
    ['granted without a token', der.sequence(status(0))],
    ['two tokens', der.sequence(status(0), token, token)],
    [
      'nine texts',
      der.sequence(status(0, der.sequence(...Array.from({ length: 9 }, () => der.utf8String('a')))), token),
    ],
    ['trailing bytes', concat(der.sequence(status(0), token), Uint8Array.of(0))],
    ['a response above 128 KiB', new Uint8Array(128 * 1024 + 1)],
  ])('refuses %s', (_, bytes) => {
    expect(refusalOf(() => parseTimestampResponse(bytes))?.code).toBe('MALFORMED');
  });
});
