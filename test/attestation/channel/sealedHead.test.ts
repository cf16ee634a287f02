import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { encodeSealedHead, parseSealedHead, type SealedHead } from '../../../attestation/channel/sealed.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { propertyRuns, PROPERTY_TIMEOUT } from '../../support/runs.ts';

const [id, k, encoded] = [new Uint8Array(16).fill(1), new Uint8Array(32).fill(2), new Uint8Array(70).fill(3)];
const HEAD = { status: 200, contentType: 'application/json' } as const;
const LABEL = 'vouchsafe/sealed-response/1';
const NONE = new Uint8Array(0);

describe('the head of a sealed response', () => {
  test.each<[string, SealedHead]>([
    ['without a receipt', { ...HEAD, receipt: undefined }],
    ['with the names of one', { ...HEAD, receipt: { id, k } }],
    ['with the receipt itself', { ...HEAD, receipt: { id, k, encoded } }],
  ])('%s comes back as it was written', (_name, head) => {
    expect(parseSealedHead(encodeSealedHead(head))).toEqual(head);
  });

  test.each<[string, Parameters<typeof encodeDc>[0]]>([
    ['a receipt without its names', [LABEL, 200, 'a/b', NONE, NONE, encoded]],
    ['a seventh member', [LABEL, 200, 'a/b', id, k, encoded, encoded]],
    ['a receipt that is no bytes', [LABEL, 200, 'a/b', id, k, 'receipt']],
    ['an id that is too short', [LABEL, 200, 'a/b', id.subarray(1), k]],
  ])('%s is refused', (_name, members) => {
    expect(() => parseSealedHead(encodeDc(members))).toThrow(Refusal);
  });

  test(
    'is a head or a refusal, whatever the bytes',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
          try {
            parseSealedHead(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(Refusal);
          }
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
