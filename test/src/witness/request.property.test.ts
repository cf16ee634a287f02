import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Refusal } from '../../../attestation/errors.ts';
import { encodeAddCheckpoint, MAX_PROOF_LINES, parseAddCheckpoint } from '../../../src/witness/request.ts';
import { parseLogList } from '../../../src/witness/logList.ts';
import { WitnessError } from '../../../src/witness/errors.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const request = fc.record({
  oldSize: fc.maxSafeNat(),
  path: fc.array(hash, { maxLength: MAX_PROOF_LINES }),
  checkpoint: fc.string().map((text) => new TextEncoder().encode(text)),
});

describe('add-checkpoint bodies', () => {
  test(
    'come back as they were written',
    () => {
      fc.assert(
        fc.property(request, (value) => {
          expect(parseAddCheckpoint(encodeAddCheckpoint(value))).toEqual(value);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'that strangers wrote are read or refused, and nothing else is thrown',
    () => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 400 }),
        fc.tuple(request, fc.nat(), fc.nat(255)).map(([value, at, byte]) => {
          const body = encodeAddCheckpoint(value);
          body[at % body.length] = byte;
          return body;
        }),
      );
      fc.assert(
        fc.property(bytes, (body) => {
          try {
            expect(encodeAddCheckpoint(parseAddCheckpoint(body))).toEqual(body);
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

test(
  'lists of logs are read or refused, and nothing else is thrown',
  () => {
    const word = fc.constantFrom(
      'log',
      'service',
      '#',
      'https://a.example',
      'x+00000000+AA==',
      ' ',
      '\n',
      '\t',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(word, fc.string())), (words) => {
        try {
          parseLogList(words.join(''));
        } catch (error) {
          if (!(error instanceof WitnessError)) throw error;
        }
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);
