import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { encodeSign1 } from '../../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeEntryHeader, RECORD_TYPE } from '../../../attestation/receipt/receipt.ts';
import {
  ACTS,
  actSubject,
  encodeRecord,
  type LogRecord,
  parseRecord,
} from '../../../attestation/receipt/record.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

type ActRecord = Extract<LogRecord, { kind: 'act' }>;

const ACT: ActRecord = {
  kind: 'act',
  issuedAt: 5,
  keysetDigest: new Uint8Array(32).fill(1),
  act: 'hold-placed',
  actor: 'admin',
  rule: 'case 7',
  subject: new Uint8Array(32).fill(2),
  count: 1,
};

function sealed(payload: Uint8Array, subject = 'act'): Uint8Array {
  const header = {
    alg: -7,
    kid: new Uint8Array(32),
    type: RECORD_TYPE,
    issuer: 'urn:uuid:x',
    subject,
  } as const;
  return encodeSign1(encodeEntryHeader(header), payload, new Uint8Array(64));
}

function altered(change: (map: Map<number | string, Dc>) => void): Uint8Array {
  const map = new Map(decodeDc(encodeRecord(ACT)) as ReadonlyMap<number | string, Dc>);
  change(map);
  return sealed(encodeDc(map));
}

describe('the record of an act', () => {
  test(
    'comes back as it was',
    () => {
      const acts = fc.record({
        act: fc.constantFrom(...ACTS),
        actor: fc.string({ minLength: 1, maxLength: 64 }),
        rule: fc.string({ minLength: 1, maxLength: 256 }),
        count: fc.nat(),
      });
      fc.assert(
        fc.property(acts, (changes) => {
          const record = { ...ACT, ...changes };
          expect(parseRecord(sealed(encodeRecord(record))).record).toEqual(record);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test.each<[string, (map: Map<number | string, Dc>) => void]>([
    ['an act that is not known', (map) => map.set(-65605, 'receipts-forged')],
    ['no actor', (map) => map.delete(-65606)],
    ['an empty actor', (map) => map.set(-65606, '')],
    ['a rule that is too long', (map) => map.set(-65607, 'x'.repeat(257))],
    ['a short subject', (map) => map.set(-65608, new Uint8Array(31))],
    ['a negative count', (map) => map.set(-65609, -1)],
    ['one claim more', (map) => map.set(-65604, 1)],
  ])('with %s is refused', (_name, change) => {
    expect(() => parseRecord(altered(change))).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  test('under the subject of another kind is refused', () => {
    expect(() => parseRecord(sealed(encodeRecord(ACT), 'epoch'))).toThrow(
      expect.objectContaining({ code: 'MALFORMED' }),
    );
  });

  test('its subject is a digest of what it is about, in order', () => {
    const [a, b] = [Uint8Array.of(1), Uint8Array.of(2)];
    expect(actSubject([a, b], nodeCrypto)).not.toEqual(actSubject([b, a], nodeCrypto));
    expect(actSubject([a], nodeCrypto)).toEqual(nodeCrypto.hash('sha256', encodeDc([a])));
  });
});
