import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseTimestamp, verifyTimestamp } from '../../../attestation/time/timestamp.ts';
import {
  encodeTimestampRequest,
  parseTimestampRequest,
  parseTimestampResponse,
} from '../../../attestation/time/timestampExchange.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const DATA = utf8('a checkpoint\n');
const authority = timestampAuthority();
const token = authority.token(DATA, NOW, { certificates: [authority.certificates[0]] });
const query = encodeTimestampRequest({
  digest: nodeCrypto.hash('sha256', DATA),
  nonce: Uint8Array.of(7),
  certReq: true,
});
const reply = authority.answer(query, NOW);

function flipped(bytes: Uint8Array, position: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const at = Math.floor(position / 8) % copy.length;
  copy[at] = (copy[at] ?? 0) ^ (1 << (position % 8));
  return copy;
}

const options = {
  data: DATA,
  anchors: [authority.anchors.signer],
  crypto: nodeCrypto,
};

/** Not covered by the signature: digest algorithms, which nothing uses, and the order and presence of certificates. */
test(
  'a flipped bit of a token never changes what it says',
  async () => {
    const genuine = (await verifyTimestamp(token, options)).info;
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: token.length * 8 - 1 }), async (position) => {
        const bytes = flipped(token, position);
        await refusalOfAsync(async () => {
          expect((await verifyTimestamp(bytes, options)).info).toEqual(genuine);
        });
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are refused, never anything else thrown',
  () => {
    const parsers = [parseTimestamp, parseTimestampRequest, parseTimestampResponse];
    const seeds = fc.constantFrom(token, query, reply);
    const inputs = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(seeds, fc.nat()).map(([bytes, position]) => flipped(bytes, position % (bytes.length * 8))),
      fc.tuple(seeds, fc.nat()).map(([bytes, length]) => bytes.subarray(0, length % bytes.length)),
    );
    fc.assert(
      fc.property(inputs, (bytes) => {
        for (const parse of parsers) refusalOf(() => parse(bytes));
      }),
      propertyRuns(1000),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'requests come back as they were written',
  () => {
    const nonces = fc.uint8Array({ minLength: 1, maxLength: 32 }).map((bytes) => Uint8Array.of(1, ...bytes));
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.option(nonces, { nil: undefined }),
        fc.boolean(),
        (digest, nonce, certReq) => {
          const parsed = parseTimestampRequest(encodeTimestampRequest({ digest, nonce, certReq }));
          expect(parsed).toEqual({ hash: 'sha256', digest, nonce, policy: undefined, certReq });
        },
      ),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);
