import { describe, expect, test } from '@jest/globals';
import { decode, encode } from 'cborg';
import fc from 'fast-check';
import {
  encodeAttestation,
  encodeDescription,
  readAttestation,
  readDescription,
} from '../../../../enclave/collect/nsm/messages.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const DESCRIPTION = {
  version_major: 1,
  version_minor: 0,
  version_patch: 0,
  module_id: 'i-0123456789abcdef0-enc0fedcba987654321',
  max_pcrs: 32,
  locked_pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  digest: 'SHA384',
};

const codeOf = (read: () => unknown) => collectFailure(() => Promise.resolve().then(read));
const describeWith = (changes: Readonly<Record<string, unknown>>) =>
  encode({ DescribeNSM: { ...DESCRIPTION, ...changes } });

test.each([
  [
    'user data',
    { userData: Uint8Array.of(1, 2) },
    { user_data: Uint8Array.of(1, 2), nonce: null, public_key: null },
  ],
  [
    'a public key',
    { publicKey: Uint8Array.of(3) },
    { user_data: null, nonce: null, public_key: Uint8Array.of(3) },
  ],
  ['neither', {}, { user_data: null, nonce: null, public_key: null }],
])('a request for a document with %s', (_, ask, members) => {
  expect(decode(encodeAttestation(ask))).toEqual({ Attestation: members });
});

test('a request for a description is its name', () => {
  expect(decode(encodeDescription())).toBe('DescribeNSM');
});

test('an answer gives the document inside', () => {
  const document = Uint8Array.of(0xd2, 0x84);
  expect(readAttestation(encode({ Attestation: { document } }))).toEqual(document);
});

test('a description names module, version and locked registers', () => {
  expect(readDescription(describeWith({}))).toEqual({
    version: '1.0.0',
    moduleId: DESCRIPTION.module_id,
    digest: 'SHA384',
    maxPcrs: 32,
    lockedPcrs: DESCRIPTION.locked_pcrs,
  });
});

describe('an answer is refused', () => {
  test.each([
    ['to another request', encode({ GetRandom: { random: Uint8Array.of(1) } })],
    ['by name alone', encode('Attestation')],
    ['without a document', encode({ Attestation: {} })],
    ['with an empty document', encode({ Attestation: { document: new Uint8Array() } })],
    ['with a document that is text', encode({ Attestation: { document: 'abc' } })],
    ['with two answers', encode({ Attestation: { document: Uint8Array.of(1) }, GetRandom: 1 })],
    ['with a list for members', encode({ Attestation: [1] })],
    ['that is cut off', encode({ Attestation: { document: Uint8Array.of(1, 2, 3) } }).subarray(0, -1)],
    ['with bytes after it', Uint8Array.from([...encode({ Attestation: { document: Uint8Array.of(1) } }), 0])],
    ['that is nested too deeply', encode({ Attestation: { document: [[[[[]]]]] } })],
    ['that is no CBOR', Uint8Array.of(0xff)],
    ['that is empty', new Uint8Array()],
    ['with a member twice', Uint8Array.of(0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02)],
    ['with an error that is no name', encode({ Error: 7 })],
  ])('%s', async (_, answer) => {
    expect(await codeOf(() => readAttestation(answer))).toBe('EVIDENCE_MALFORMED');
  });

  test.each(['InvalidArgument', 'InternalError', 'x'.repeat(5000)])('with an error', async (error) => {
    expect(await codeOf(() => readAttestation(encode({ Error: error })))).toBe('DEVICE_REFUSED');
  });

  test.each([
    ['a negative version', { version_major: -1 }],
    ['a version that is text', { version_minor: '1' }],
    ['no module', { module_id: undefined }],
    ['a module with line feeds', { module_id: 'i-0\nfalse: true' }],
    ['a module that is too long', { module_id: 'i'.repeat(257) }],
    ['an unknown digest', { digest: 'MD5' }],
    ['more registers than there are', { max_pcrs: 33 }],
    ['a register that there is not', { locked_pcrs: [32] }],
    ['registers that are no list', { locked_pcrs: 'all' }],
    ['too many registers', { locked_pcrs: Array.from({ length: 33 }, () => 1) }],
  ])('of a description with %s', async (_, changes) => {
    expect(await codeOf(() => readDescription(describeWith(changes)))).toBe('EVIDENCE_MALFORMED');
  });
});

test(
  'any bytes, and an answer with any byte altered, are read or refused',
  async () => {
    const answers = [encode({ Attestation: { document: new Uint8Array(30) } }), describeWith({})];
    const altered = fc.tuple(fc.constantFrom(...answers), fc.nat(), fc.nat(255)).map(([answer, at, by]) => {
      const bytes = answer.slice();
      bytes[at % bytes.length]! ^= by;
      return bytes;
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 100 }), altered), async (bytes) => {
        for (const read of [readAttestation, readDescription]) {
          expect([undefined, 'EVIDENCE_MALFORMED', 'DEVICE_REFUSED']).toContain(
            await codeOf(() => read(bytes)),
          );
        }
      }),
      propertyRuns(1000),
    );
  },
  PROPERTY_TIMEOUT,
);
