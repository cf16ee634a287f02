import { beforeAll, describe, expect, test } from '@jest/globals';
import { encode } from 'cborg';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { parseNitroDocument, type NitroDocument } from '../../../../attestation/evidence/nitro/parse.ts';
import {
  encodeMembers,
  enclaveMembers,
  mintNitroAuthority,
  MODULE_ID,
  NOW,
  PROTECTED,
  registers,
  type NitroAuthority,
} from '../../../support/nitroAuthority.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

let authority: NitroAuthority;
let members: Record<string, unknown>;

beforeAll(async () => {
  authority = await mintNitroAuthority();
  members = enclaveMembers(authority.leaf, [authority.root, authority.intermediate]);
});

const code = (bytes: Uint8Array) => refusalOf(() => parseNitroDocument(bytes))?.code;

async function refusedWith(changes: Record<string, unknown>): Promise<string | undefined> {
  return code(await authority.mint(changes));
}

/** What the appraisal may rest on. */
function content(document: NitroDocument): unknown {
  return { ...document, signature: undefined };
}

describe('parseNitroDocument', () => {
  test.each([
    ['a counted map', {}],
    ['an indefinite map', { indefinite: true }],
    ['tag 18', { tagged: true }],
    ['tag 18 and an indefinite map', { tagged: true, indefinite: true }],
  ])('reads members out of %s', async (_name, envelope) => {
    const optional = {
      public_key: new Uint8Array(294),
      user_data: new Uint8Array(64),
      nonce: new Uint8Array(),
    };
    const document = parseNitroDocument(await authority.mint(optional, envelope));
    expect(document).toMatchObject({
      kind: 'enclave',
      moduleId: MODULE_ID,
      timestamp: NOW - 60_000,
      publicKey: new Uint8Array(294),
      userData: new Uint8Array(64),
      nonce: new Uint8Array(),
      protectedBytes: PROTECTED,
    });
    expect([...document.pcrs.keys()]).toEqual(Array.from({ length: 16 }, (_, index) => index));
    expect(document.cabundle[0]).toEqual(authority.root);
    expect(Object.getPrototypeOf(document.certificate)).toBe(Uint8Array.prototype);
  });

  test('optional members are null or absent', async () => {
    for (const value of [null, undefined]) {
      const bytes = await authority.mint({ public_key: value, user_data: value, nonce: value });
      const { publicKey, userData, nonce } = parseNitroDocument(bytes);
      expect([publicKey, userData, nonce]).toEqual([undefined, undefined, undefined]);
    }
  });

  test('registers of a TPM have a member of their own', async () => {
    const document = parseNitroDocument(
      await authority.mint({ pcrs: undefined, nitrotpm_pcrs: registers(24) }),
    );
    expect(document.kind).toBe('tpm');
    expect(document.pcrs.size).toBe(24);
  });

  test.each([
    ['1024 bytes in each optional member', { public_key: 1024, user_data: 1024, nonce: 1024 }],
    ['empty user data and nonce', { user_data: 0, nonce: 0 }],
  ])('takes %s', async (_name, sizes) => {
    const changes = Object.entries(sizes).map(([name, size]) => [name, new Uint8Array(size)] as const);
    expect(await refusedWith(Object.fromEntries(changes))).toBeUndefined();
  });

  test.each<[string, Record<string, unknown>]>([
    ['an unknown member', { debug: false }],
    ['no module id', { module_id: undefined }],
    ['an empty module id', { module_id: '' }],
    ['a module id with a line break', { module_id: 'i-1\nenc' }],
    ['a module id of bytes', { module_id: new Uint8Array(4) }],
    ['a module id of 257 characters', { module_id: 'i'.repeat(257) }],
    ['another digest', { digest: 'SHA512' }],
    ['no digest', { digest: undefined }],
    ['no timestamp', { timestamp: undefined }],
    ['timestamp 0', { timestamp: 0 }],
    ['a negative timestamp', { timestamp: -5 }],
    ['a timestamp that is no integer', { timestamp: 1.5 }],
    ['a timestamp beyond what a Date holds', { timestamp: 8.64e15 + 1 }],
    ['a timestamp of 64 bits', { timestamp: 2n ** 63n }],
    ['a timestamp as text', { timestamp: '1' }],
    ['no registers', { pcrs: undefined }],
    ['an empty map of registers', { pcrs: new Map() }],
    ['registers of both kinds', { nitrotpm_pcrs: registers(24) }],
    ['33 registers', { pcrs: registers(33) }],
    ['register 32', { pcrs: new Map([[32, new Uint8Array(48)]]) }],
    ['register -1', { pcrs: new Map([[-1, new Uint8Array(48)]]) }],
    ['a register with a name', { pcrs: new Map([['0', new Uint8Array(48)]]) }],
    ['a register of 32 bytes in a SHA384 document', { pcrs: new Map([[0, new Uint8Array(32)]]) }],
    ['a register of 49 bytes', { pcrs: new Map([[0, new Uint8Array(49)]]) }],
    ['a register of text', { pcrs: new Map([[0, '0'.repeat(48)]]) }],
    ['registers in an array', { pcrs: [new Uint8Array(48)] }],
    ['no certificate', { certificate: undefined }],
    ['an empty certificate', { certificate: new Uint8Array() }],
    ['a certificate of 1025 bytes', { certificate: new Uint8Array(1025) }],
    ['a null certificate', { certificate: null }],
    ['no bundle', { cabundle: undefined }],
    ['an empty bundle', { cabundle: [] }],
    ['an empty certificate in the bundle', { cabundle: [new Uint8Array()] }],
    ['a certificate of 1025 bytes in the bundle', { cabundle: [new Uint8Array(1025)] }],
    ['17 certificates in the bundle', { cabundle: Array.from({ length: 17 }, () => new Uint8Array(1)) }],
    ['one certificate for a bundle', { cabundle: new Uint8Array(533) }],
    ['an empty public key', { public_key: new Uint8Array() }],
    ['a public key of 1025 bytes', { public_key: new Uint8Array(1025) }],
    ['user data of 1025 bytes', { user_data: new Uint8Array(1025) }],
    ['a nonce of 1025 bytes', { nonce: new Uint8Array(1025) }],
    ['a nonce of text', { nonce: 'nonce' }],
    ['user data that is false', { user_data: false }],
    ['a payload of more than 16 KiB', { cabundle: Array.from({ length: 16 }, () => new Uint8Array(1024)) }],
  ])('refuses a document with %s', async (_corruption, changes) => {
    expect(await refusedWith(changes)).toBe('MALFORMED');
  });

  test.each([false, true])('refuses a member twice (indefinite map: %s)', async (indefinite) => {
    for (const twice of [
      ['nonce', null],
      ['module_id', MODULE_ID],
    ] as const) {
      const payload = encodeMembers([...Object.entries(members), twice], indefinite);
      expect(code(await authority.sign(payload))).toBe('MALFORMED');
    }
  });

  test('refuses a register twice, and one with two encodings of its index', async () => {
    const register = encode(new Uint8Array(48));
    for (const second of [[0x00], [0x18, 0x00]]) {
      const map = concat(Uint8Array.of(0xa2, 0x00), register, Uint8Array.from(second), register);
      const others = Object.entries(members).filter(([name]) => name !== 'pcrs');
      const head = Uint8Array.of(0xa0 | (others.length + 1));
      const rest = others.flatMap(([key, value]) => [encode(key), encode(value)]);
      const payload = concat(head, encode('pcrs'), map, ...rest);
      expect(code(await authority.sign(payload))).toBe('MALFORMED');
    }
  });

  test('refuses a member or a register twice where one is in disguise', async () => {
    const chunkedNonce = concat(Uint8Array.of(0x7f), encode('nonce'), Uint8Array.of(0xff));
    const rest = Object.entries(members).flatMap(([key, value]) => [encode(key), encode(value)]);
    const twice = concat(Uint8Array.of(0xbf), ...rest, chunkedNonce, encode(null), Uint8Array.of(0xff));
    expect(code(await authority.sign(twice))).toBe('MALFORMED');
    const register = encode(new Uint8Array(48));
    const map = concat(Uint8Array.of(0xa2, 0x00), register, Uint8Array.of(0xf9, 0x00, 0x00), register);
    const others = Object.entries(members).filter(([name]) => name !== 'pcrs');
    const kept = others.flatMap(([key, value]) => [encode(key), encode(value)]);
    const payload = concat(Uint8Array.of(0xa9), encode('pcrs'), map, ...kept);
    expect(code(await authority.sign(payload))).toBe('MALFORMED');
  });

  test('refuses an optional member that is undefined', async () => {
    const others = Object.entries(members).filter(([name]) => name !== 'nonce');
    const rest = others.flatMap(([key, value]) => [encode(key), encode(value)]);
    const payload = concat(Uint8Array.of(0xa9), ...rest, encode('nonce'), Uint8Array.of(0xf7));
    expect(code(await authority.sign(payload))).toBe('MALFORMED');
  });
});

describe('parseNitroDocument refuses an envelope', () => {
  test.each([
    ['with ES256', [0xa1, 0x01, 0x26], 'ALGORITHM_MISMATCH'],
    ['with no algorithm', [0xa0], 'ALGORITHM_MISMATCH'],
    ['with an empty protected header', [], 'ALGORITHM_MISMATCH'],
    ['with ES384 as text', [0xa1, 0x01, 0x65, ...Buffer.from('ES384')], 'ALGORITHM_MISMATCH'],
    ['with a key id beside the algorithm', [0xa2, 0x01, 0x38, 0x22, 0x04, 0x41, 0x00], 'MALFORMED'],
    ['with two algorithms', [0xa2, 0x01, 0x38, 0x22, 0x01, 0x26], 'MALFORMED'],
    ['with a byte after the protected header', [0xa1, 0x01, 0x38, 0x22, 0x00], 'MALFORMED'],
    ['whose protected header is an array', [0x82, 0x01, 0x38, 0x22], 'MALFORMED'],
  ])('%s', async (_corruption, header, expected) => {
    expect(code(await authority.mint({}, { protectedBytes: Uint8Array.from(header) }))).toBe(expected);
  });

  test('with an unprotected header', async () => {
    expect(code(await authority.mint({}, { unprotected: new Map([[4, new Uint8Array(1)]]) }))).toBe(
      'MALFORMED',
    );
    expect(code(await authority.mint({}, { unprotected: new Map([[1, -7]]) }))).toBe('MALFORMED');
  });

  test.each([0, 64, 95, 97, 132])('with a signature of %i bytes', async (size) => {
    expect(code(await authority.mint({}, { signature: new Uint8Array(size) }))).toBe('MALFORMED');
  });

  test('without a payload, with an empty one, and with one that is no map', async () => {
    const signature = new Uint8Array(96);
    expect(code(encode([PROTECTED, new Map(), null, signature]))).toBe('MALFORMED');
    expect(code(await authority.sign(new Uint8Array()))).toBe('MALFORMED');
    expect(code(await authority.sign(encode([1, 2])))).toBe('MALFORMED');
    expect(code(await authority.sign(encode('payload')))).toBe('MALFORMED');
  });

  test('that is no array of four, has another tag or two', async () => {
    const bytes = await authority.mint();
    expect(code(new Uint8Array())).toBe('MALFORMED');
    expect(code(encode([PROTECTED, new Map(), new Uint8Array(4)]))).toBe('MALFORMED');
    expect(code(encode(new Map([[1, 2]])))).toBe('MALFORMED');
    expect(code(concat(Uint8Array.of(0xd2, 0xd2), bytes))).toBe('MALFORMED');
    expect(code(concat(Uint8Array.of(0xd1), bytes))).toBe('MALFORMED');
  });

  test('followed by bytes, after the document or after its payload', async () => {
    const bytes = await authority.mint();
    expect(code(concat(bytes, Uint8Array.of(0)))).toBe('MALFORMED');
    const payload = encodeMembers(Object.entries(members));
    expect(code(await authority.sign(concat(payload, Uint8Array.of(0xf6))))).toBe('MALFORMED');
  });

  test('of more bytes than a document can have', () => {
    expect(code(new Uint8Array(17 * 1024 + 1))).toBe('MALFORMED');
  });
});

describe('parseNitroDocument on changed bytes', () => {
  test(
    'cut anywhere, a document is refused',
    async () => {
      const bytes = await authority.mint({}, { indefinite: true });
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), (length) => {
          expect(code(bytes.subarray(0, length))).toBe('MALFORMED');
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'throws nothing but refusals, and reads changed content only out of changed signed bytes',
    async () => {
      const bytes = await authority.mint({ user_data: new Uint8Array(64), nonce: new Uint8Array(32) });
      const original = parseNitroDocument(bytes);
      const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
          const forged = bytes.slice();
          for (const [offset, mask] of changes) forged[offset] = forged[offset]! ^ mask;
          const parsed = parsedOrRefused(forged);
          if (parsed instanceof Refusal) return;
          const sameSigned =
            Buffer.compare(parsed.payload, original.payload) === 0 &&
            Buffer.compare(parsed.protectedBytes, original.protectedBytes) === 0;
          if (sameSigned) expect(content(parsed)).toEqual(content(original));
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'any bytes at all are refused',
    () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
          expect(parsedOrRefused(bytes)).toBeInstanceOf(Refusal);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'any CBOR for a payload is read or refused',
    async () => {
      const item = fc.oneof(
        fc.integer(),
        fc.string(),
        fc.constant(null),
        fc.boolean(),
        fc.double(),
        fc.uint8Array({ maxLength: 60 }),
      );
      const names = fc.constantFrom(...Object.keys(members), 'nitrotpm_pcrs', 'x');
      await fc.assert(
        fc.asyncProperty(fc.dictionary(names, item), async (changes) => {
          const bytes = await authority.mint(changes, { signature: new Uint8Array(96) });
          const parsed = parsedOrRefused(bytes);
          if (parsed instanceof Refusal) expect(parsed.code).toBe('MALFORMED');
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

function parsedOrRefused(bytes: Uint8Array): NitroDocument | Refusal {
  try {
    return parseNitroDocument(bytes);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}
