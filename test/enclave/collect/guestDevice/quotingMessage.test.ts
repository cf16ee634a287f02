import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  encodeQuoteRequest,
  readMessageLength,
  readQuoteResponse,
} from '../../../../enclave/collect/guestDevice/quotingMessage.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { quoteResponse, readQuoteRequest, withLength } from '../../../support/guestKernel.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const codeOf = (read: () => unknown) => collectFailure(() => Promise.resolve().then(read));

test('a request holds the whole TDREPORT', () => {
  const report = Uint8Array.from({ length: 1024 }, (_, i) => i & 0xff);
  expect(readQuoteRequest(encodeQuoteRequest(report))).toEqual(report);
});

test(
  'a response gives the quote inside, whatever key it names',
  () => {
    const part = (maxLength: number) => fc.uint8Array({ maxLength });
    fc.assert(
      fc.property(part(3000), part(256), (quote, id) => {
        const bytes = withLength(quoteResponse(quote, 0, id));
        expect(readMessageLength(bytes.subarray(0, 4))).toBe(bytes.length - 4);
        expect(readQuoteResponse(bytes.subarray(4))).toEqual(quote);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes, and a response with any byte altered, are read or refused',
  async () => {
    const altered = fc
      .tuple(fc.uint8Array({ maxLength: 60 }), fc.nat(), fc.nat(255))
      .map(([quote, at, by]) => {
        const message = quoteResponse(quote);
        message[at % message.length]! ^= by;
        return message;
      });
    const codes = [undefined, 'EVIDENCE_MALFORMED', 'DEVICE_REFUSED'];
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), altered), async (message) => {
        expect(codes).toContain(await codeOf(() => readQuoteResponse(message)));
        expect(codes).toContain(await codeOf(() => readMessageLength(message.subarray(0, 4))));
      }),
      propertyRuns(1000),
    );
  },
  PROPERTY_TIMEOUT,
);
