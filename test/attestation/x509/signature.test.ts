import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { curveOf, rawSignature, schemeOf } from '../../../attestation/x509/signature.ts';
import {
  bitString,
  element,
  integer,
  oid,
  sequence,
  smallInteger,
  tagged,
} from '../../../enclave/collect/simulated/der.ts';
import { refusalOf } from '../../support/refusal.ts';
import { propertyRuns } from '../../support/runs.ts';
import { P384_SPKI } from './encodedCertificate.ts';

const NULL = element(5);
const PSS = oid('1.2.840.113549.1.1.10');
const MGF1 = oid('1.2.840.113549.1.1.8');
const SHA1 = sequence(oid('1.3.14.3.2.26'), NULL);
const [SHA256, SHA384, SHA512] = ['1', '2', '3'].map((arc) =>
  sequence(oid(`2.16.840.1.101.3.4.2.${arc}`), NULL),
);
const RSA_SPKI = sequence(sequence(oid('1.2.840.113549.1.1.1'), NULL), bitString(Uint8Array.of(0x30, 0)));

interface PssParts {
  readonly hash: Uint8Array | undefined;
  readonly mask: Uint8Array | undefined;
  readonly salt: Uint8Array | undefined;
  readonly trailer: Uint8Array | undefined;
}

function pss(changed: Partial<PssParts> = {}): Uint8Array {
  const parts: PssParts = {
    hash: SHA384,
    mask: sequence(MGF1, SHA384!),
    salt: smallInteger(48),
    trailer: undefined,
    ...changed,
  };
  const members = [parts.hash, parts.mask, parts.salt, parts.trailer];
  return sequence(PSS, sequence(...members.flatMap((part, i) => (part ? [tagged(i, part)] : []))));
}

function schemeOrCode(algorithm: Uint8Array, spki = RSA_SPKI): unknown {
  let scheme: unknown;
  const refusal = refusalOf(() => (scheme = schemeOf(algorithm, spki)));
  return refusal?.code ?? scheme;
}

describe('RSASSA-PSS parameters (RFC 4055)', () => {
  test.each([
    ['sha256', SHA256!, 32],
    ['sha384', SHA384!, 48],
    ['sha512', SHA512!, 64],
  ])('with %s', (hash, algorithm, saltLength) => {
    const changed = { hash: algorithm, mask: sequence(MGF1, algorithm), salt: smallInteger(saltLength) };
    expect(schemeOrCode(pss(changed))).toEqual({ kind: 'rsa-pss', hash, saltLength });
  });

  test('trailer field 1 written out, a salt left out, and a hash without NULL', () => {
    expect(schemeOrCode(pss({ trailer: smallInteger(1) }))).toMatchObject({ saltLength: 48 });
    expect(schemeOrCode(pss({ salt: undefined }))).toMatchObject({ saltLength: 20 });
    const bare = sequence(oid('2.16.840.1.101.3.4.2.2'));
    expect(schemeOrCode(pss({ hash: bare, mask: sequence(MGF1, bare) }))).toMatchObject({ hash: 'sha384' });
  });

  test.each([
    ['SHA-1 by default', pss({ hash: undefined, mask: undefined })],
    ['SHA-1 written out', pss({ hash: SHA1, mask: sequence(MGF1, SHA1) })],
    ['a mask of another hash', pss({ mask: sequence(MGF1, SHA256!) })],
    ['a mask of SHA-1 by default', pss({ mask: undefined })],
    ['a mask that is not MGF1', pss({ mask: sequence(oid('1.2.840.113549.1.1.9'), SHA384!) })],
    ['a mask without hash', pss({ mask: sequence(MGF1) })],
    ['another trailer field', pss({ trailer: smallInteger(2) })],
  ])('%s is not supported', (_name, algorithm) => {
    expect(schemeOrCode(algorithm)).toBe('UNSUPPORTED');
  });

  test.each([
    ['no parameters', sequence(PSS)],
    ['parameters that are NULL', sequence(PSS, NULL)],
    ['a salt that is negative', pss({ salt: element(2, Uint8Array.of(0xff)) })],
    ['a hash with other parameters', pss({ hash: sequence(oid('2.16.840.1.101.3.4.2.2'), smallInteger(1)) })],
    ['members out of order', sequence(PSS, sequence(tagged(2, smallInteger(48)), tagged(0, SHA384!)))],
    ['a member of two elements', sequence(PSS, sequence(tagged(0, SHA384!, NULL)))],
    [
      'an unknown member',
      sequence(PSS, sequence(tagged(0, SHA384!), tagged(1, sequence(MGF1, SHA384!)), tagged(4, NULL))),
    ],
    ['bytes after them', sequence(PSS, sequence(), NULL)],
  ])('%s are malformed', (_name, algorithm) => {
    expect(schemeOrCode(algorithm)).toBe('MALFORMED');
  });
});

describe('schemeOf', () => {
  test('ECDSA takes the curve from the key of the issuer', () => {
    const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
    expect(schemeOrCode(algorithm, P384_SPKI)).toEqual({ kind: 'ecdsa', curve: 'P-384', hash: 'sha256' });
    expect(schemeOrCode(algorithm, RSA_SPKI)).toBe('CERT_CHAIN_INVALID');
  });

  test.each([
    ['1.2.840.113549.1.1.5', 'UNSUPPORTED'],
    ['1.2.840.113549.1.1.4', 'UNSUPPORTED'],
    ['1.2.840.10045.4.1', 'UNSUPPORTED'],
  ])('%s (SHA-1, MD5) is %s', (algorithm, code) => {
    expect(schemeOrCode(sequence(oid(algorithm), NULL))).toBe(code);
  });

  test('RSA and Ed25519', () => {
    expect(schemeOrCode(sequence(oid('1.2.840.113549.1.1.12'), NULL))).toEqual({
      kind: 'rsa-pkcs1',
      hash: 'sha384',
    });
    expect(schemeOrCode(sequence(oid('1.3.101.112')))).toEqual({ kind: 'ed25519' });
  });
});

test('a curve is known by its name alone', () => {
  const key = (...parameters: readonly Uint8Array[]) =>
    sequence(sequence(oid('1.2.840.10045.2.1'), ...parameters), bitString(Uint8Array.of(4)));
  expect(curveOf(P384_SPKI)).toEqual({ curve: 'P-384', size: 48 });
  expect(curveOf(key())).toBeUndefined();
  expect(curveOf(key(oid('1.3.132.0.10')))).toBeUndefined();
  expect(curveOf(RSA_SPKI)).toBeUndefined();
  expect(refusalOf(() => curveOf(key(sequence(smallInteger(1)))))?.code).toBe('MALFORMED');
});

describe('rawSignature', () => {
  const scheme = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;
  const code = (hex: string) => refusalOf(() => rawSignature(scheme, fromHex(hex)))?.code;

  test('pads each scalar to the size of the curve', () => {
    expect(toHex(rawSignature(scheme, fromHex('3007020101020200ff')))).toBe(
      `${'00'.repeat(31)}01${'00'.repeat(31)}ff`,
    );
  });

  test('is the inverse of the DER encoding', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (raw) => {
        const encoded = sequence(integer(raw.subarray(0, 32)), integer(raw.subarray(32)));
        expect(rawSignature(scheme, encoded)).toEqual(raw);
      }),
      propertyRuns(200),
    );
  });

  test('leaves the signatures of other schemes as they are', () => {
    const signature = Uint8Array.of(1, 2, 3);
    expect(rawSignature({ kind: 'rsa-pkcs1', hash: 'sha256' }, signature)).toBe(signature);
  });

  test.each([
    ['one scalar', '3003020101'],
    ['three scalars', '3009020101020101020101'],
    ['a needless zero byte', '300702020001020101'],
    ['a negative scalar', '30060201ff020101'],
    ['an empty scalar', '30050200020101'],
    ['a scalar that is no INTEGER', '3006040101020101'],
    ['bytes after it', '300602010102010100'],
    ['no SEQUENCE', '020101'],
  ])('refuses %s', (_name, hex) => {
    expect(code(hex)).toBe('MALFORMED');
  });

  test('refuses a scalar that is longer than the curve', () => {
    const long = toHex(concat(integer(Uint8Array.from({ length: 33 }, () => 1)), integer(Uint8Array.of(1))));
    expect(code(toHex(sequence(fromHex(long))))).toBe('MALFORMED');
  });
});
