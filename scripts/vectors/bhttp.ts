import { z } from 'zod';
import { toHex } from '../../attestation/bytes/bytes.ts';
import {
  encodeBinaryRequest,
  encodeBinaryResponse,
  parseBinaryRequest,
  parseBinaryResponse,
} from '../../attestation/channel/ohttp/bhttp.ts';
import { type Case, expectEqual, expectRefused, type Family } from './family.ts';
import { hexSchema, listsMembers } from './vectorFile.ts';

const schema = z.object({
  vectors: z.array(z.object({ name: z.string(), title: z.string(), hex: hexSchema })),
});

/** RFC 9292 section 5: each is read, goes round in the known-length form, and is refused where it is cut. */
export const bhttpFamily: Family = {
  claims: ({ path, json }) => path.includes('bhttp') && listsMembers(json, 'name', 'title', 'hex'),
  cases: ({ json }) =>
    schema.parse(json).vectors.map(({ name, hex }): Case => ({ name, check: () => checkVector(hex) })),
};

async function checkVector(encoded: Uint8Array): Promise<void> {
  const framing = encoded[0] ?? 0;
  const isRequest = framing % 2 === 0;
  const again = isRequest
    ? encodeBinaryRequest(parseBinaryRequest(encoded))
    : encodeBinaryResponse(parseBinaryResponse(encoded));
  const twice = isRequest
    ? encodeBinaryRequest(parseBinaryRequest(again))
    : encodeBinaryResponse(parseBinaryResponse(again));
  expectEqual(toHex(twice), toHex(again), 'the encoding after parsing');
  // Padding and parts that are empty at the end may be left out: what is left of a known-length form is the same.
  if (framing < 2) {
    const meant = (bytes: Uint8Array): string => toHex(bytes).replace(/(?:00)+$/, '');
    expectEqual(meant(again), meant(encoded), 'the known-length form');
  }
  const parse = isRequest ? parseBinaryRequest : parseBinaryResponse;
  await expectRefused(() => parse(Uint8Array.of(framing ^ 1, ...encoded.subarray(1))), 'the other direction');
  await expectRefused(() => parse(Uint8Array.of(...encoded, 0, 0, 0, 1)), 'what follows the end');
}
