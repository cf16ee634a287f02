import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { encodeAnchor, MAX_TOKEN_BYTES, MAX_TOKENS, parseAnchor } from '../../../attestation/log/anchor.ts';
import { refusalOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const note = Uint8Array.of(1, 2, 3);
const LABEL = 'vouchsafe/anchor/1';

test(
  'what is encoded comes back',
  () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.array(fc.uint8Array(), { maxLength: MAX_TOKENS }), (text, tokens) => {
        const anchor = { note: text, tokens };
        expect(parseAnchor(encodeAnchor(anchor))).toEqual(anchor);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are refused, never anything else thrown',
  () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        expect(refusalOf(() => parseAnchor(bytes))).toBeDefined();
      }),
      propertyRuns(500),
    );
  },
  PROPERTY_TIMEOUT,
);

test.each([
  ['another label', ['vouchsafe/anchor/2', note, []]],
  ['a further member', [LABEL, note, [], 1]],
  ['no tokens', [LABEL, note]],
  ['a token that is text', [LABEL, note, ['token']]],
  ['seventeen tokens', [LABEL, note, Array.from({ length: 17 }, () => note)]],
  ['a token above 64 KiB', [LABEL, note, [new Uint8Array(MAX_TOKEN_BYTES + 1)]]],
])('refuses %s', (_, value) => {
  expect(refusalOf(() => parseAnchor(encodeDc(value)))?.code).toBe('MALFORMED');
});

test('refuses trailing bytes', () => {
  const encoded = encodeAnchor({ note, tokens: [] });
  expect(refusalOf(() => parseAnchor(Uint8Array.of(...encoded, 0)))?.code).toBe('MALFORMED');
});

test('what could not be read again is misuse', () => {
  const tokens = Array.from({ length: 17 }, () => note);
  expect(() => encodeAnchor({ note, tokens })).toThrow(TypeError);
});
