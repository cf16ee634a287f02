import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { parseCertificate, parsePemChain } from '../../../attestation/x509/certificate.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import {
  bitString,
  element,
  ia5String,
  integer,
  octetString,
  oid,
  printableString,
  sequence,
  smallInteger,
  tagged,
  time,
  utf8String,
} from '../../../enclave/collect/simulated/der.ts';
import { propertyRuns } from '../../support/runs.ts';
import { refusalOf } from '../../support/refusal.ts';
import {
  commonName,
  ECDSA_SHA_384,
  encodeCertificate,
  extension,
  extensions,
  generalizedTime,
  name,
  P384_SPKI,
  utcTime,
  type CertificateParts,
} from './encodedCertificate.ts';
import { libraryCertificate, ourCertificate } from './libraryFields.ts';

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const TRUE = element(TAG.boolean, Uint8Array.of(0xff));

function parse(changed: Partial<CertificateParts> = {}) {
  return parseCertificate(encodeCertificate(changed));
}

function codeOf(changed: Partial<CertificateParts>): string | undefined {
  return refusalOf(() => parse(changed))?.code;
}

function withExtension(type: string, value: Uint8Array, flag?: number) {
  return { tail: extensions(extension(type, value, flag)) };
}

describe('parseCertificate', () => {
  test('reads every field', () => {
    const usage = extension(KEY_USAGE, bitString(Uint8Array.of(0x04), 2), 0xff);
    const constraints = extension(BASIC_CONSTRAINTS, sequence(TRUE, smallInteger(3)), 0xff);
    const certificate = parse({ tail: extensions(usage, constraints, extension('1.2.3', utf8('any'))) });
    expect(certificate).toMatchObject({
      subject: 'CN=subject',
      issuer: 'CN=issuer',
      notBefore: Date.UTC(2025, 0, 1),
      notAfter: Date.UTC(2060, 0, 1),
      isCa: true,
      pathLength: 3,
      maySignCertificates: true,
      maySignCrls: false,
    });
    expect(toHex(certificate.serial)).toBe('07');
    expect(certificate.spki).toEqual(P384_SPKI);
    expect(certificate.signatureAlgorithm).toEqual(ECDSA_SHA_384);
    expect([...certificate.extensions.keys()]).toEqual([KEY_USAGE, BASIC_CONSTRAINTS, '1.2.3']);
    expect(certificate.extensions.get('1.2.3')).toEqual({ critical: false, value: utf8('any') });
  });

  test('absent extensions grant nothing and forbid nothing', () => {
    expect(parse()).toMatchObject({
      isCa: false,
      pathLength: undefined,
      maySignCertificates: undefined,
      maySignCrls: undefined,
    });
  });

  test.each([
    ['0', integer(Uint8Array.of(0)), '00'],
    ['above 127', integer(Uint8Array.of(0xff)), 'ff'],
    ['negative', element(TAG.integer, Uint8Array.of(0x80, 1)), '8001'],
  ])('takes a serial that is %s', (_name, serial, hex) => {
    expect(toHex(parse({ serial }).serial)).toBe(hex);
  });

  test('takes an empty subject', () => {
    expect(parse({ subject: sequence() }).subject).toBe('');
  });

  test('passes over the unique identifiers of version 2', () => {
    const ids = [element(0x81, Uint8Array.of(0, 1)), element(0x82, Uint8Array.of(0, 2))];
    const tail = Uint8Array.from([...ids[0]!, ...ids[1]!, ...extensions(extension('1.2.3', utf8('any')))]);
    expect(parse({ tail }).extensions.size).toBe(1);
  });

  test('a copy with one field changed keeps the names', () => {
    expect({ ...parse(), isCa: true }).toMatchObject({ isCa: true, subject: 'CN=subject' });
  });

  test('any certificate of these parts reads as the library reads it', () => {
    fc.assert(
      fc.property(certificateParts(), (parts) => {
        const der = encodeCertificate(parts);
        expect(ourCertificate(parseCertificate(der))).toEqual(libraryCertificate(der));
      }),
      propertyRuns(300),
    );
  });
});

describe('parseCertificate refuses', () => {
  const malformed: readonly (readonly [string, Partial<CertificateParts>])[] = [
    ['no version', { version: undefined }],
    ['version 1', { version: tagged(0, smallInteger(0)) }],
    ['version 2', { version: tagged(0, smallInteger(1)) }],
    ['version 4', { version: tagged(0, smallInteger(3)) }],
    ['two versions', { version: tagged(0, smallInteger(2), smallInteger(2)) }],
    ['a serial with a needless zero byte', { serial: element(TAG.integer, Uint8Array.of(0, 7)) }],
    ['a serial with needless sign bits', { serial: element(TAG.integer, Uint8Array.of(0xff, 0x87)) }],
    ['an empty serial', { serial: element(TAG.integer) }],
    ['a serial that is no INTEGER', { serial: octetString(Uint8Array.of(7)) }],
    ['another algorithm inside', { algorithm: sequence(oid('1.2.840.10045.4.3.2')) }],
    ['another algorithm outside', { outerAlgorithm: sequence(oid('1.2.840.10045.4.3.2')) }],
    ['an issuer that is no SEQUENCE', { issuer: element(TAG.set) }],
    ['an empty RDN', { subject: sequence(element(TAG.set)) }],
    ['an attribute without value', { subject: sequence(element(TAG.set, sequence(oid('2.5.4.3')))) }],
    [
      'an attribute of three members',
      { subject: sequence(element(TAG.set, sequence(oid('2.5.4.3'), utf8String('a'), utf8String('b')))) },
    ],
    ['an attribute type that is cut short', { subject: rawType(Uint8Array.of(0x55, 0x84)) }],
    ['an attribute type with a padded arc', { subject: rawType(Uint8Array.of(0x55, 0x80, 0x04)) }],
    ['one time', { validity: sequence(utcTime('250101000000Z')) }],
    [
      'three times',
      { validity: sequence(utcTime('250101000000Z'), utcTime('350101000000Z'), utcTime('350101000000Z')) },
    ],
    ['a key that is no SEQUENCE', { spki: octetString(Uint8Array.of(1)) }],
    ['a key without bits', { spki: sequence(sequence(oid('1.3.101.112'))) }],
    [
      'a key with unused bits',
      { spki: sequence(sequence(oid('1.3.101.112')), bitString(Uint8Array.of(2), 1)) },
    ],
    ['a key of an algorithm without OID', { spki: sequence(sequence(), bitString(Uint8Array.of(2))) }],
    [
      'a key of an algorithm with a padded arc',
      {
        spki: sequence(
          sequence(element(TAG.oid, Uint8Array.of(0x2b, 0x80, 0x65))),
          bitString(Uint8Array.of(2)),
        ),
      },
    ],
    [
      'a key with more members',
      { spki: sequence(sequence(oid('1.3.101.112')), bitString(Uint8Array.of(2)), TRUE) },
    ],
    ['a signature with unused bits', { signature: bitString(Uint8Array.of(0), 1) }],
    ['an empty signature BIT STRING', { signature: element(TAG.bitString) }],
    ['a signature that is no BIT STRING', { signature: octetString(Uint8Array.of(0, 1)) }],
    ['fields after the extensions', { tail: Uint8Array.from([...extensions(), ...TRUE]) }],
    ['extensions before the identifiers', { tail: Uint8Array.from([...extensions(), 0x81, 1, 0]) }],
    ['two lists of extensions', { tail: tagged(3, sequence(), sequence()) }],
    [
      'an extension twice',
      { tail: extensions(extension('1.2.3', utf8('a')), extension('1.2.3', utf8('b'))) },
    ],
    ['an extension without value', { tail: extensions(sequence(oid('1.2.3'), TRUE)) }],
    [
      'an extension with more members',
      { tail: extensions(sequence(oid('1.2.3'), octetString(utf8('a')), TRUE)) },
    ],
    ['an extension that is critical as 1', withExtension('1.2.3', utf8('a'), 1)],
    [
      'an extension that is critical in two bytes',
      {
        tail: extensions(
          sequence(oid('1.2.3'), element(TAG.boolean, Uint8Array.of(0xff, 0xff)), octetString(utf8('a'))),
        ),
      },
    ],
    [
      'an extension in a constructed OCTET STRING',
      { tail: extensions(sequence(oid('1.2.3'), element(0x24, octetString(utf8('a'))))) },
    ],
    ['basicConstraints that are no SEQUENCE', withExtension(BASIC_CONSTRAINTS, TRUE)],
    ['basicConstraints with bytes after them', withExtension(BASIC_CONSTRAINTS, Uint8Array.of(0x30, 0, 0))],
    [
      'basicConstraints that say authority as 1',
      withExtension(BASIC_CONSTRAINTS, sequence(element(1, Uint8Array.of(1)))),
    ],
    [
      'a negative path length',
      withExtension(BASIC_CONSTRAINTS, sequence(TRUE, element(TAG.integer, Uint8Array.of(0xff)))),
    ],
    [
      'a path length before the authority flag',
      withExtension(BASIC_CONSTRAINTS, sequence(smallInteger(1), TRUE)),
    ],
    ['keyUsage without bits count', withExtension(KEY_USAGE, element(TAG.bitString))],
    ['keyUsage with 8 unused bits', withExtension(KEY_USAGE, bitString(Uint8Array.of(0), 8))],
    ['keyUsage whose unused bits are set', withExtension(KEY_USAGE, bitString(Uint8Array.of(0x06), 2))],
    [
      'keyUsage of no bits, of which some are unused',
      withExtension(KEY_USAGE, element(TAG.bitString, Uint8Array.of(1))),
    ],
    ['keyUsage of three bytes', withExtension(KEY_USAGE, bitString(Uint8Array.of(4, 0, 1)))],
    ['keyUsage with bytes after it', withExtension(KEY_USAGE, Uint8Array.of(3, 2, 2, 4, 0))],
  ];

  test.each(malformed)('%s', (_name, changed) => {
    expect(codeOf(changed)).toBe('MALFORMED');
  });

  test('truncation at any byte, a byte after the end, and more than 16 KiB', () => {
    const der = encodeCertificate({ tail: extensions(extension(BASIC_CONSTRAINTS, sequence())) });
    for (let length = 0; length < der.length; length++) {
      expect(refusalOf(() => parseCertificate(der.subarray(0, length)))?.code).toBe('MALFORMED');
    }
    expect(refusalOf(() => parseCertificate(Uint8Array.of(...der, 0)))?.code).toBe('MALFORMED');
    const long = encodeCertificate({ subject: commonName('x'.repeat(16 * 1024)) });
    expect(refusalOf(() => parseCertificate(long))?.code).toBe('MALFORMED');
  });

  test('lengths that are longer than need be, indefinite or of five bytes', () => {
    const der = encodeCertificate({ subject: commonName('x'.repeat(300)) });
    const inner = der.subarray(4);
    expect(toHex(der.subarray(0, 2))).toBe('3082');
    for (const header of [[0x83, 0, der[2]!, der[3]!], [0x80], [0x85, 0, 0, 0, der[2]!, der[3]!], [0xff]]) {
      expect(refusalOf(() => parseCertificate(Uint8Array.of(0x30, ...header, ...inner)))?.code).toBe(
        'MALFORMED',
      );
    }
  });
});

describe('times of a certificate', () => {
  const valid: readonly (readonly [string, Uint8Array, string])[] = [
    ['UTCTime of 1950', utcTime('500101000000Z'), '1950-01-01T00:00:00Z'],
    ['UTCTime of 2049', utcTime('491231235959Z'), '2049-12-31T23:59:59Z'],
    ['a leap day', utcTime('240229120000Z'), '2024-02-29T12:00:00Z'],
    ['GeneralizedTime before 2050', generalizedTime('20250607080910Z'), '2025-06-07T08:09:10Z'],
    ['no well-defined end (RFC 5280)', generalizedTime('99991231235959Z'), '9999-12-31T23:59:59Z'],
  ];

  test.each(valid)('%s', (_name, encoded, iso) => {
    expect(parse({ validity: sequence(encoded, encoded) })).toMatchObject({
      notBefore: Date.parse(iso),
      notAfter: Date.parse(iso),
    });
  });

  test.each([
    ['without seconds', utcTime('2501010000Z')],
    ['with an offset', utcTime('250101000000+0100')],
    ['without zone', utcTime('250101000000')],
    ['with a small zone letter', utcTime('250101000000z')],
    ['with fractions', generalizedTime('20250101000000.5Z')],
    ['with a space for a digit', utcTime(' 50101000000Z')],
    ['with a sign for a digit', utcTime('+50101000000Z')],
    ['of month 0', utcTime('250001000000Z')],
    ['of month 13', utcTime('251301000000Z')],
    ['of day 0', utcTime('250100000000Z')],
    ['of 31 April', utcTime('250431000000Z')],
    ['of 29 February in a common year', utcTime('250229000000Z')],
    ['of hour 24', utcTime('250101240000Z')],
    ['of minute 60', utcTime('250101006000Z')],
    ['of second 60', utcTime('250101000060Z')],
    ['of year 50', generalizedTime('00500101000000Z')],
    ['of 15 digits in UTCTime', utcTime('20250101000000Z')],
    ['of 13 digits in GeneralizedTime', generalizedTime('250101000000Z')],
    ['in an IA5String', ia5String('250101000000Z')],
  ])('refuses one %s', (_name, encoded) => {
    const later = utcTime('350101000000Z');
    expect(codeOf({ validity: sequence(encoded, later) })).toBe('MALFORMED');
    expect(codeOf({ validity: sequence(utcTime('200101000000Z'), encoded) })).toBe('MALFORMED');
  });
});

describe('text of a name', () => {
  test('is escaped, so that it reads one way only', () => {
    const subject = name(['2.5.4.10', utf8String('a, b+c="d"')], ['2.5.4.3', utf8String(' #x ')]);
    expect(parse({ subject }).subject).toBe('O=a\\, b\\+c=\\"d\\", CN=\\ #x\\ ');
  });

  test('hides no control characters in messages', () => {
    const subject = commonName('a\r\n\u001b[2Jb\u0085');
    expect(parse({ subject }).subject).toBe('CN=a\\0d\\0a\\1b[2Jb\\c285');
  });

  test('is hex where it is none', () => {
    const subject = name(
      ['2.5.4.3', element(TAG.utf8String, Uint8Array.of(0xff))],
      ['2.5.4.97', sequence()],
      ['2.5.4.6', printableString('DE')],
    );
    expect(parse({ subject }).subject).toBe('CN=#0c01ff, 2.5.4.97=#3000, C=DE');
  });

  test('joins the attributes of one RDN', () => {
    const [cn, o] = [sequence(oid('2.5.4.3'), utf8String('a')), sequence(oid('2.5.4.10'), utf8String('b'))];
    expect(parse({ subject: sequence(element(TAG.set, cn, o)) }).subject).toBe('CN=a+O=b');
  });
});

describe('parsePemChain', () => {
  const pem = (der: Uint8Array) =>
    `-----BEGIN CERTIFICATE-----\n${toBase64(der).replaceAll(/(.{64})/g, '$1\r\n')}\n-----END CERTIFICATE-----\n`;
  const [first, second] = ['first', 'second'].map((text) => encodeCertificate({ subject: commonName(text) }));

  test('reads blocks in order and passes over what is around them', () => {
    const chain = parsePemChain(`before\n${pem(first!)}between\n${pem(second!)}\0`);
    expect(chain.map(({ subject }) => subject)).toEqual(['CN=first', 'CN=second']);
    expect(chain.map(({ der }) => der)).toEqual([first, second]);
  });

  test('refuses no certificate, too many, and base64 that is not canonical', () => {
    expect(refusalOf(() => parsePemChain('text'))?.code).toBe('CERT_MISSING');
    expect(refusalOf(() => parsePemChain(pem(first!).repeat(3), 2))?.code).toBe('MALFORMED');
    expect(refusalOf(() => parsePemChain(pem(first!).replace('\n-----END', '=\n-----END')))?.code).toBe(
      'MALFORMED',
    );
  });
});

/** A name of one attribute whose type has this content. */
function rawType(content: Uint8Array): Uint8Array {
  return sequence(element(TAG.set, sequence(element(TAG.oid, content), utf8String('a'))));
}

/** Parts of certificates that are valid, in the forms that vendors use. */
function certificateParts(): fc.Arbitrary<Partial<CertificateParts>> {
  const text = fc.string({ maxLength: 20, unit: fc.constantFrom(...Array.from('abc XYZ09,+"\\<>;#=é')) });
  const value = fc.oneof(
    text.map(utf8String),
    fc
      .stringMatching(/^[A-Za-z0-9 '()+,./:=?-]{0,20}$/)
      .chain((ascii) => fc.constantFrom(printableString(ascii), ia5String(ascii))),
  );
  const types = ['3', '4', '5', '6', '7', '8', '10', '11', '12', '42', '43'].map((arc) => `2.5.4.${arc}`);
  const type = fc.constantFrom(
    ...types,
    '1.2.840.113549.1.9.1',
    '0.9.2342.19200300.100.1.25',
    '1.3.6.1.4.1.311.60',
  );
  const names = fc.array(fc.tuple(type, value), { maxLength: 6 }).map((attributes) => name(...attributes));
  const instant = fc
    .integer({ min: Date.UTC(1950) / 1000, max: Date.UTC(9999) / 1000 })
    .map((seconds) => time(new Date(1000 * seconds)));
  const serial = fc.uint8Array({ minLength: 1, maxLength: 20 }).map(integer);
  const extra = fc.tuple(
    fc.constantFrom('1.3.6.1.4.1.3704.1.4', '2.999.1', '1.2.840.113741.1.13.1'),
    fc.uint8Array(),
  );
  const ca = fc.tuple(fc.boolean(), fc.option(fc.nat(255)), fc.nat(511), fc.boolean());
  return fc
    .record({ issuer: names, subject: names, serial, times: fc.tuple(instant, instant), extra, ca })
    .map(({ times, extra: [oidText, bytes], ca: [isCa, length, bits, critical], ...rest }) => ({
      ...rest,
      validity: sequence(...times),
      tail: extensions(
        extension(oidText, bytes),
        extension(BASIC_CONSTRAINTS, constraintsOf(isCa, length), critical ? 0xff : undefined),
        extension(KEY_USAGE, bitString(Uint8Array.of(bits >> 1, (bits & 1) << 7), 7), 0xff),
      ),
    }));
}

function constraintsOf(isCa: boolean, length: number | null): Uint8Array {
  if (!isCa) return sequence();
  return length === null ? sequence(TRUE) : sequence(TRUE, smallInteger(length));
}
