import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import {
  decodeBitString,
  decodeBoolean,
  decodeInteger,
  decodeOid,
  decodeString,
  decodeUint,
  DerReader,
  readElement,
  readElements,
  readOnly,
  TAG,
} from '../../../attestation/x509/der.ts';
import { integer, oid } from '../../../enclave/collect/simulated/der.ts';
import { refusalOf } from '../../support/refusal.ts';
import { propertyRuns } from '../../support/runs.ts';

function element(hex: string) {
  return readElement(fromHex(hex), 'element');
}

function codeOf(step: () => unknown): string | undefined {
  return refusalOf(step)?.code;
}

describe('elements', () => {
  test('are tag, content and whole encoding, as views', () => {
    const bytes = fromHex('0403010203ff');
    const { tag, content, encoded } = readElement(bytes, 'element');
    expect([tag, toHex(content), toHex(encoded)]).toEqual([TAG.octetString, '010203', '0403010203']);
    expect(content.buffer).toBe(bytes.buffer);
  });

  test.each([
    ['nothing', ''],
    ['a tag alone', '04'],
    ['content cut short', '040301'],
    ['a length cut short', '0482ff'],
    ['an indefinite length', '04800000'],
    ['a long length below 128', '04817f'],
    ['a long length with a leading zero', `04820080${'00'.repeat(128)}`],
    ['a length of five bytes', '04850000000001'],
    ['a length beyond any input', '0484ffffffff'],
    ['a tag number of two bytes', '1f810100'],
    ['a constructed tag number of two bytes', 'bf8d450101'],
  ])('refuses %s', (_name, hex) => {
    expect(codeOf(() => element(hex))).toBe('MALFORMED');
  });

  test('one alone is of the tag and has nothing after it', () => {
    expect(toHex(readOnly(fromHex('0401ff'), TAG.octetString, 'x').content)).toBe('ff');
    expect(codeOf(() => readOnly(fromHex('0401ff'), TAG.integer, 'x'))).toBe('MALFORMED');
    expect(codeOf(() => readOnly(fromHex('0401ff00'), TAG.octetString, 'x'))).toBe('MALFORMED');
  });

  test('a list has at most 1,024', () => {
    expect(readElements(fromHex('0500'.repeat(1024)), 'list')).toHaveLength(1024);
    expect(codeOf(() => readElements(fromHex('0500'.repeat(1025)), 'list'))).toBe('MALFORMED');
    expect(codeOf(() => readElements(fromHex('050005'), 'list'))).toBe('MALFORMED');
  });
});

describe('DerReader', () => {
  test('reads on from element to element', () => {
    const reader = new DerReader(fromHex('02010130060401aa0500050005000500').slice(0, 11), 'list');
    expect(decodeUint(reader.take(TAG.integer), 'n')).toBe(1);
    expect(reader.optional(TAG.integer)).toBeUndefined();
    const inner = reader.enter(TAG.sequence);
    expect(reader.done).toBe(true);
    reader.end();
    inner.skip(TAG.octetString);
    expect(inner.has(TAG.null)).toBe(true);
    expect(codeOf(() => inner.end())).toBe('MALFORMED');
    expect(inner.optional(TAG.null)).toBeDefined();
    expect(codeOf(() => inner.take())).toBe('MALFORMED');
  });

  test('an inner reader does not see beyond its content', () => {
    const inner = new DerReader(fromHex('300304030102'), 'list').enter(TAG.sequence);
    expect(codeOf(() => inner.take())).toBe('MALFORMED');
    const short = new DerReader(fromHex('3001040100'), 'list').enter(TAG.sequence);
    expect(codeOf(() => short.take())).toBe('MALFORMED');
  });
});

describe('values', () => {
  test.each([
    ['020100', 0],
    ['02017f', 127],
    ['02020080', 128],
    ['02071fffffffffffff', Number.MAX_SAFE_INTEGER],
  ])('INTEGER %s is %d', (hex, value) => {
    expect(decodeUint(element(hex), 'n')).toBe(value);
  });

  test.each(['0200', '0201ff', '02020001', '0202ff80', '0208007fffffffffffff', '0401ff'])(
    'INTEGER %s is no small non-negative one in its shortest form',
    (hex) => {
      expect(codeOf(() => decodeUint(element(hex), 'n'))).toBe('MALFORMED');
    },
  );

  test('INTEGERs of any size are read as they were written', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 30 }), (magnitude) => {
        const content = decodeInteger(readElement(integer(magnitude), 'n'), 'n');
        expect(BigInt(`0x${toHex(content)}`)).toBe(BigInt(`0x${toHex(magnitude)}`));
      }),
      propertyRuns(200),
    );
  });

  test.each(['2.5.4.3', '1.2.840.113741.1.13.1', '2.999.1', '0.9.2342.19200300.100.1.25', '1.39.0'])(
    'OID %s',
    (text) => {
      expect(decodeOid(readElement(oid(text), 'oid').content)).toBe(text);
    },
  );

  test.each(['', '80', '5580', '558001', '55ffffffffffffffff7f', '8055'])('OID content %s is none', (hex) => {
    expect(codeOf(() => decodeOid(fromHex(hex)))).toBe('MALFORMED');
  });

  test('BOOLEANs', () => {
    expect([decodeBoolean(element('010100'), 'b'), decodeBoolean(element('0101ff'), 'b')]).toEqual([
      false,
      true,
    ]);
    for (const hex of ['0100', '010101', '0102ffff', '020100']) {
      expect(codeOf(() => decodeBoolean(element(hex), 'b'))).toBe('MALFORMED');
    }
  });

  test('BIT STRINGs of whole bytes', () => {
    expect(toHex(decodeBitString(element('030300aabb'), 'b'))).toBe('aabb');
    for (const hex of ['0300', '030201aa', '040200aa']) {
      expect(codeOf(() => decodeBitString(element(hex), 'b'))).toBe('MALFORMED');
    }
  });

  test('strings', () => {
    expect(decodeString(element('0c02c3a9'), 's')).toBe('é');
    expect(decodeString(element('160141'), 's')).toBe('A');
    for (const hex of ['130141', '0c01ff'])
      expect(codeOf(() => decodeString(element(hex), 's'))).toBe('MALFORMED');
  });
});

test('any bytes are read or refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const refusal = refusalOf(() => {
        const { encoded, content } = readElement(bytes, 'element');
        expect(encoded.length).toBeLessThanOrEqual(bytes.length);
        expect(content.length).toBeLessThan(encoded.length);
      });
      expect([undefined, 'MALFORMED']).toContain(refusal?.code);
    }),
    propertyRuns(1000),
  );
});
