import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import { parseOcspResponse } from '../../../attestation/x509/ocsp.ts';
import { extension } from '../../../enclave/collect/simulated/certificate.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { refusalOf } from '../../support/refusal.ts';
import { propertyRuns } from '../../support/runs.ts';
import * as ocsp from '../../support/ocspAuthority.ts';

const { rimIssuer } = ocsp.AUTHORITY;
const subject = ocsp.certificateOf(ocsp.AUTHORITY.rimSigner);
const responder = ocsp.mintResponder(rimIssuer);
const certId = ocsp.encodeCertId(rimIssuer, subject.serial);
const statement = ocsp.encodeStatement({ certId });

function encoded(parts: Partial<ocsp.ResponseParts> = {}): Uint8Array {
  return ocsp.encodeResponse({ responder, statements: [statement], ...parts });
}

function stating(parts: Partial<ocsp.StatementParts>): Uint8Array {
  return encoded({ statements: [ocsp.encodeStatement({ certId, ...parts })] });
}

describe('parseOcspResponse', () => {
  test('reads every field', () => {
    const nonce = new Uint8Array(16).fill(9);
    const response = parseOcspResponse(encoded({ extensions: [ocsp.nonceExtension(nonce)] }));
    expect(response.responderId).toEqual({ keyHash: ocsp.hashOf('sha1', ocsp.pointOf(responder.key)) });
    expect(response.producedAt).toBe(ocsp.NOW - ocsp.HOUR);
    expect(response.nonce).toEqual(nonce);
    expect(response.certificates.map(({ der: bytes }) => bytes)).toEqual(responder.certificates);
    expect(response.statements).toEqual([
      {
        certId: {
          hash: 'sha384',
          issuerNameHash: ocsp.hashOf('sha384', rimIssuer.name),
          issuerKeyHash: ocsp.hashOf('sha384', ocsp.pointOf(rimIssuer.key)),
          serial: subject.serial,
        },
        status: { kind: 'good' },
        thisUpdate: ocsp.NOW - ocsp.HOUR,
        nextUpdate: ocsp.NOW - ocsp.HOUR + ocsp.DAY,
      },
    ]);
  });

  test('a responder named by its name, no nonce, no certificates, a written version', () => {
    const response = parseOcspResponse(
      encoded({
        responderId: ocsp.byName(responder.name),
        certificates: [],
        version: der.tagged(0, der.smallInteger(0)),
      }),
    );
    expect(response.responderId).toEqual({ name: responder.name });
    expect(response.nonce).toBeUndefined();
    expect(response.certificates).toEqual([]);
  });

  test.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('a CertID of %s', (hash) => {
    const id = ocsp.encodeCertId(rimIssuer, subject.serial, hash);
    const response = parseOcspResponse(encoded({ statements: [ocsp.encodeStatement({ certId: id })] }));
    expect(response.statements[0]?.certId).toMatchObject({ hash, serial: subject.serial });
  });

  test('a CertID hash without parameters', () => {
    const algorithm = der.sequence(der.oid(ocsp.HASH_OID.sha384));
    const id = ocsp.encodeCertId(rimIssuer, subject.serial, 'sha384', { algorithm });
    const response = parseOcspResponse(encoded({ statements: [ocsp.encodeStatement({ certId: id })] }));
    expect(response.statements[0]?.certId.hash).toBe('sha384');
  });

  const since = ocsp.NOW - ocsp.DAY;
  test.each([
    ['good', ocsp.GOOD, { kind: 'good' }],
    ['unknown', ocsp.UNKNOWN, { kind: 'unknown' }],
    ['revoked', ocsp.revoked(since), { kind: 'revoked', since, reason: undefined }],
    ['revoked with a reason', ocsp.revoked(since, 1), { kind: 'revoked', since, reason: 1 }],
    ['a reason that is not known', ocsp.revoked(since, 99), { kind: 'revoked', since, reason: 99 }],
  ])('status %s', (_, status, read) => {
    expect(parseOcspResponse(stating({ status })).statements[0]?.status).toEqual(read);
  });

  test('no nextUpdate', () => {
    const [read] = parseOcspResponse(stating({ nextUpdate: 'none' })).statements;
    expect(read?.nextUpdate).toBeUndefined();
  });

  test('several statements, and extensions that nobody must understand', () => {
    const unread = extension('1.3.6.1.5.5.7.48.1.6', der.octetString(Uint8Array.of(1)));
    const single = ocsp.encodeStatement({ certId, extensions: [unread] });
    const response = parseOcspResponse(encoded({ statements: [single, statement], extensions: [unread] }));
    expect(response.statements).toHaveLength(2);
  });

  test.each([
    [1, 'malformedRequest'],
    [2, 'internalError'],
    [3, 'tryLater'],
    [5, 'sigRequired'],
    [6, 'unauthorized'],
  ])('error %i of a responder is named: %s', (status, name) => {
    const refusal = refusalOf(() => parseOcspResponse(ocsp.encodeError(status)));
    expect(refusal?.code).toBe('COLLATERAL_MISSING');
    expect(refusal?.message).toContain(name);
  });
});

describe('parseOcspResponse refuses', () => {
  const many = <T>(count: number, value: T): readonly T[] => Array.from({ length: count }, () => value);
  const basic = (...parts: readonly Uint8Array[]) => ocsp.wrapBasic(der.sequence(...parts));
  const idWith = (changes: Partial<ocsp.CertIdParts>) =>
    encoded({
      statements: [
        ocsp.encodeStatement({ certId: ocsp.encodeCertId(rimIssuer, subject.serial, 'sha384', changes) }),
      ],
    });
  const unread = (critical: boolean) => extension('1.2.3.4', der.octetString(Uint8Array.of(1)), critical);
  const time = (tag: number, text: string) => encoded({ producedAt: der.element(tag, utf8(text)) });

  const refused: readonly (readonly [string, Uint8Array, string?])[] = [
    ['nothing', new Uint8Array()],
    ['a byte after the end', concat(encoded(), Uint8Array.of(0))],
    ['a missing last byte', encoded().subarray(0, -1)],
    ['more than 64 KiB', new Uint8Array(64 * 1024 + 1)],
    ['status 4, which is not used', ocsp.encodeError(4)],
    ['a status of two bytes', der.sequence(ocsp.enumerated(0, 0))],
    ['a negative status', der.sequence(ocsp.enumerated(0x80))],
    ['a status of no byte', der.sequence(ocsp.enumerated())],
    ['success without a response', ocsp.encodeError(0)],
    ['a response of another type', encoded({ type: '1.3.6.1.5.5.7.48.1.2' }), 'UNSUPPORTED'],
    ['version 2', encoded({ version: der.tagged(0, der.smallInteger(1)) }), 'UNSUPPORTED'],
    ['no statement', encoded({ statements: [] })],
    ['too many statements', encoded({ statements: many(65, statement) })],
    ['too many certificates', encoded({ certificates: many(5, responder.certificates[0]!) })],
    ['a certificate that is none', encoded({ certificates: [der.sequence()] })],
    ['a key hash of 32 bytes', encoded({ responderId: der.tagged(2, der.octetString(new Uint8Array(32))) })],
    ['a responder that is not named', encoded({ responderId: der.tagged(3, der.octetString(certId)) })],
    ['a responder whose name is none', encoded({ responderId: der.tagged(1, der.sequence(certId)) })],
    ['a time in UTCTime', time(TAG.utcTime, '260601000000Z')],
    ['a time with fractions', time(TAG.generalizedTime, '20260601000000.5Z')],
    ['a time without zone', time(TAG.generalizedTime, '20260601000000')],
    ['the 31st of June', time(TAG.generalizedTime, '20260631000000Z')],
    ['a window that ends before it begins', stating({ nextUpdate: ocsp.NOW - ocsp.DAY })],
    ['a status that is not known', stating({ status: der.element(0x83) })],
    ['content in a good status', stating({ status: der.element(0x80, Uint8Array.of(0)) })],
    ['content in an unknown status', stating({ status: der.element(0x82, Uint8Array.of(0)) })],
    ['a revocation without time', stating({ status: der.element(0xa1) })],
    [
      'a revocation with more than a reason',
      stating({ status: der.element(0xa1, ocsp.generalizedTime(0), statement) }),
    ],
    ['a critical extension of a statement', stating({ extensions: [unread(true)] }), 'UNSUPPORTED'],
    ['a critical extension of the response', encoded({ extensions: [unread(true)] }), 'UNSUPPORTED'],
    ['an extension twice', encoded({ extensions: [unread(false), unread(false)] })],
    ['an empty nonce', encoded({ extensions: [ocsp.nonceExtension(new Uint8Array())] })],
    ['a nonce of 129 bytes', encoded({ extensions: [ocsp.nonceExtension(new Uint8Array(129))] })],
    [
      'a nonce that is no OCTET STRING',
      encoded({ extensions: [extension(ocsp.OCSP_NONCE, der.smallInteger(1))] }),
    ],
    ['a CertID of MD5', idWith({ algorithm: der.sequence(der.oid(ocsp.HASH_OID.md5)) }), 'UNSUPPORTED'],
    [
      'parameters of a CertID hash',
      idWith({ algorithm: der.sequence(der.oid(ocsp.HASH_OID.sha384), der.smallInteger(1)) }),
    ],
    [
      'a NULL with content',
      idWith({ algorithm: der.sequence(der.oid(ocsp.HASH_OID.sha384), der.element(TAG.null, certId)) }),
    ],
    ['a name hash of another length', idWith({ nameHash: new Uint8Array(32) })],
    ['a key hash of another length', idWith({ keyHash: new Uint8Array(49) })],
    ['a serial with needless zeros', idWith({ serial: der.element(TAG.integer, Uint8Array.of(0, 0, 1)) })],
    ['an empty serial', idWith({ serial: der.element(TAG.integer) })],
    ['a basic response without signature', basic(der.sequence())],
    ['a basic response of nothing', basic()],
  ];

  test.each(refused)('%s', (_, bytes, code = 'MALFORMED') => {
    expect(refusalOf(() => parseOcspResponse(bytes))?.code).toBe(code);
  });

  test('any bytes, by refusals only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(refusalOf(() => parseOcspResponse(bytes))).toBeInstanceOf(Refusal);
      }),
      propertyRuns(500),
    );
  });

  test('a changed byte shows in the refusal or in a field', () => {
    const bytes = encoded();
    const original = parseOcspResponse(bytes);
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (offset, mask) => {
        const changed = ocsp.xored(bytes, offset, mask);
        let read: ReturnType<typeof parseOcspResponse> | undefined;
        const refusal = refusalOf(() => (read = parseOcspResponse(changed)));
        expect(refusal === undefined).toBe(read !== undefined);
        if (!read) return;
        const parts = [
          read.tbs,
          read.signatureAlgorithm,
          read.signature,
          ...read.certificates.map((c) => c.der),
        ];
        const before = [
          original.tbs,
          original.signatureAlgorithm,
          original.signature,
          ...original.certificates.map((c) => c.der),
        ];
        expect(parts.map(toHex)).not.toEqual(before.map(toHex));
      }),
      propertyRuns(1500),
    );
  });
});
