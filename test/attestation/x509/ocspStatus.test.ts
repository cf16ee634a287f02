import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { OcspLibrary } from '../../../attestation/x509/ocspLibrary.ts';
import { lookUpOcspStatus, type OcspStatusOptions } from '../../../attestation/x509/ocspStatus.ts';
import { refusalOfAsync } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import * as ocsp from '../../support/ocspAuthority.ts';

const { DAY, HOUR, NOW } = ocsp;
const { rimIssuer, rimCa, rimSigner, deviceProvisioner } = ocsp.AUTHORITY;
const issuer = ocsp.certificateOf(rimIssuer);
const subject = ocsp.certificateOf(rimSigner);
const responder = ocsp.mintResponder(rimIssuer);
const HOLD = 6;

type Stated = Omit<ocsp.StatementParts, 'certId'>;

function stating(parts: Stated = {}): Uint8Array {
  return ocsp.respond(rimIssuer, subject, parts, responder);
}

/** `good`, `held`, `absent CODE` or the code of the refusal. */
async function lookUp(
  responses: readonly Uint8Array[],
  changes: Partial<OcspStatusOptions> = {},
): Promise<string> {
  const options = { crypto: nodeCrypto, now: NOW, tolerance: 0, hold: 'refused' as const, ...changes };
  let outcome = '';
  const refusal = await refusalOfAsync(async () => {
    const found = await lookUpOcspStatus(subject, issuer, new OcspLibrary(responses), options);
    outcome = found.kind === 'absent' ? `absent ${found.refusal.code}` : found.kind;
  });
  return refusal?.code ?? outcome;
}

describe('window', () => {
  const window = { thisUpdate: NOW - HOUR, nextUpdate: NOW + HOUR };

  test.each([
    ['at its first instant', NOW - HOUR, 0, 'good'],
    ['at its last instant', NOW + HOUR, 0, 'good'],
    ['before its first instant', NOW - HOUR - 1, 0, 'COLLATERAL_NOT_YET_VALID'],
    ['after its last instant', NOW + HOUR + 1, 0, 'COLLATERAL_EXPIRED'],
    ['at the tolerance before', NOW - HOUR - PROPERTY_TIMEOUT, PROPERTY_TIMEOUT, 'good'],
    ['at the tolerance after', NOW + HOUR + PROPERTY_TIMEOUT, PROPERTY_TIMEOUT, 'good'],
    [
      'beyond the tolerance before',
      NOW - HOUR - PROPERTY_TIMEOUT - 1,
      PROPERTY_TIMEOUT,
      'COLLATERAL_NOT_YET_VALID',
    ],
    ['beyond the tolerance after', NOW + HOUR + PROPERTY_TIMEOUT + 1, PROPERTY_TIMEOUT, 'COLLATERAL_EXPIRED'],
  ])('%s', async (_, now, tolerance, outcome) => {
    expect(await lookUp([stating(window)], { now, tolerance })).toBe(outcome);
  });

  test('without nextUpdate a response is stale from the start', async () => {
    const open = stating({ thisUpdate: NOW, nextUpdate: 'none' });
    expect(await lookUp([open], { tolerance: PROPERTY_TIMEOUT })).toBe('COLLATERAL_EXPIRED');
  });

  test.each([
    ['expired', { notAfter: NOW - 1000 }],
    ['not yet valid', { notBefore: NOW + 1000 }],
  ])('of a responder whose certificate is %s', async (_, validity) => {
    const response = ocsp.respond(rimIssuer, subject, {}, ocsp.mintResponder(rimIssuer, validity));
    expect(await lookUp([response], { tolerance: DAY })).toBe('CERT_EXPIRED');
  });

  test('a stale response beside one that is in date', async () => {
    const stale = stating({ thisUpdate: NOW - 3 * DAY });
    expect(await lookUp([stale, stating()])).toBe('good');
    expect(await lookUp([stating(), stale])).toBe('good');
  });

  test('a stale response beside a later one: what is said is why the newest is out of date', async () => {
    const stale = stating({ thisUpdate: NOW - 3 * DAY });
    const later = stating({ thisUpdate: NOW + HOUR });
    expect(await lookUp([stale, later])).toBe('COLLATERAL_NOT_YET_VALID');
  });
});

describe('status', () => {
  const now = { thisUpdate: NOW - HOUR };
  const keyCompromise = ocsp.revoked(NOW - DAY, 1);

  test.each([
    ['unknown', ocsp.UNKNOWN, 'CERT_STATUS_UNKNOWN'],
    ['revoked', keyCompromise, 'CERT_REVOKED'],
    ['revoked without reason', ocsp.revoked(NOW - DAY), 'CERT_REVOKED'],
    ['revoked for a reason that is not known', ocsp.revoked(NOW - DAY, 99), 'CERT_REVOKED'],
    ['removed from a list', ocsp.revoked(NOW - DAY, 8), 'CERT_REVOKED'],
    ['on hold', ocsp.revoked(NOW - DAY, HOLD), 'CERT_ON_HOLD'],
    ['on hold since 1970, which means never issued', ocsp.revoked(0, HOLD), 'CERT_STATUS_UNKNOWN'],
    ['revoked from tomorrow', ocsp.revoked(NOW + DAY, 1), 'CERT_REVOKED'],
  ])('%s', async (_, status, code) => {
    expect(await lookUp([stating({ ...now, status })])).toBe(code);
  });

  test('ocsp-replay: a GOOD of before the revocation no longer counts once its window is over', async () => {
    const replayed = stating({ thisUpdate: NOW - 2 * DAY, nextUpdate: NOW - DAY });
    expect(await lookUp([replayed], { now: NOW - 2 * DAY })).toBe('good');
    expect(await lookUp([replayed])).toBe('COLLATERAL_EXPIRED');
  });

  test('ocsp-replay: a GOOD whose window lasts does not hide a revocation that is supplied', async () => {
    const revocation = stating({ status: ocsp.revoked(NOW - 2 * HOUR, 1), thisUpdate: NOW - 2 * HOUR });
    const replayed = stating({ thisUpdate: NOW - HOUR });
    expect(await lookUp([replayed, revocation])).toBe('CERT_REVOKED');
    expect(await lookUp([revocation, replayed])).toBe('CERT_REVOKED');
  });

  test.each([
    ['stale', { thisUpdate: NOW - 90 * DAY }],
    ['without nextUpdate', { nextUpdate: 'none' }],
    ['from after the judged time', { thisUpdate: NOW + DAY }],
  ] as const)('a revocation that is %s counts', async (_, window) => {
    const revocation = stating({ ...window, status: ocsp.revoked(NOW - 100 * DAY, 1) });
    expect(await lookUp([stating(), revocation])).toBe('CERT_REVOKED');
  });

  test('a revocation of a responder that has expired since counts', async () => {
    const expired = ocsp.mintResponder(rimIssuer, { notAfter: NOW - DAY });
    const status = ocsp.revoked(NOW - 2 * DAY, 1);
    const revocation = ocsp.respond(rimIssuer, subject, { status, thisUpdate: NOW - 2 * DAY }, expired);
    expect(await lookUp([stating(), revocation])).toBe('CERT_REVOKED');
  });

  test('a revocation that happened after the judged time does not count', async () => {
    const later = stating({ status: ocsp.revoked(NOW + HOUR, 1), thisUpdate: NOW + 2 * HOUR });
    expect(await lookUp([stating(), later])).toBe('good');
    expect(await lookUp([later])).toBe('COLLATERAL_NOT_YET_VALID');
    expect(await lookUp([stating(), later], { tolerance: HOUR })).toBe('CERT_REVOKED');
  });

  test('of two statements of one time the worse counts, else the newer', async () => {
    const unknown = (thisUpdate: number) => stating({ thisUpdate, status: ocsp.UNKNOWN });
    expect(await lookUp([stating(now), unknown(NOW - HOUR)])).toBe('CERT_STATUS_UNKNOWN');
    expect(await lookUp([stating(now), unknown(NOW - 2 * HOUR)])).toBe('good');
    expect(await lookUp([stating(now), unknown(NOW)])).toBe('CERT_STATUS_UNKNOWN');
  });

  test('two statements about one certificate in one response', async () => {
    const certId = ocsp.encodeCertId(rimIssuer, subject.serial, 'sha1');
    const good = ocsp.encodeStatement({ certId });
    const bad = ocsp.encodeStatement({ certId, status: keyCompromise });
    expect(await lookUp([ocsp.encodeResponse({ responder, statements: [good, bad] })])).toBe('CERT_REVOKED');
  });
});

describe('hold', () => {
  const held = (window: Stated = {}) => stating({ ...window, status: ocsp.revoked(NOW - 2 * DAY, HOLD) });
  const accepting = { hold: 'accepted' } as const;

  test('accepted where the options say so, never as good', async () => {
    expect(await lookUp([held()], accepting)).toBe('held');
  });

  test('a revocation is none, whatever the options say', async () => {
    const revocation = stating({ status: ocsp.revoked(NOW - DAY, 1) });
    expect(await lookUp([held(), revocation], accepting)).toBe('CERT_REVOKED');
    expect(await lookUp([stating({ status: ocsp.revoked(0, HOLD) })], accepting)).toBe('CERT_STATUS_UNKNOWN');
  });

  test('accepted only while its own statement is in date', async () => {
    expect(await lookUp([held({ thisUpdate: NOW - 3 * DAY })], accepting)).toBe('COLLATERAL_EXPIRED');
    expect(await lookUp([held({ thisUpdate: NOW + HOUR })], accepting)).toBe('COLLATERAL_NOT_YET_VALID');
  });

  test('lifted by a later statement in date, and by no other', async () => {
    const before = held({ thisUpdate: NOW - 2 * HOUR });
    expect(await lookUp([before, stating()])).toBe('good');
    expect(await lookUp([held(), stating()])).toBe('CERT_ON_HOLD');
    expect(await lookUp([held(), stating({ thisUpdate: NOW - 2 * HOUR })])).toBe('CERT_ON_HOLD');
    const outOfDate = stating({ thisUpdate: NOW - HOUR, nextUpdate: NOW - 1000 });
    expect(await lookUp([before, outOfDate])).toBe('CERT_ON_HOLD');
  });

  test('of after the judged time does not count', async () => {
    const later = stating({ status: ocsp.revoked(NOW + HOUR, HOLD), thisUpdate: NOW + 2 * HOUR });
    expect(await lookUp([stating(), later])).toBe('good');
  });
});

describe('library', () => {
  const withId = (certId: Uint8Array) =>
    ocsp.encodeResponse({ responder, statements: [ocsp.encodeStatement({ certId })] });

  test.each(['sha1', 'sha256', 'sha384', 'sha512'] as const)('finds a certificate by %s', async (hash) => {
    expect(await lookUp([withId(ocsp.encodeCertId(rimIssuer, subject.serial, hash))])).toBe('good');
  });

  test('finds a certificate among those of one response and of others', async () => {
    const other = ocsp.encodeCertId(rimIssuer, Uint8Array.of(0x55));
    const mine = ocsp.encodeCertId(rimIssuer, subject.serial);
    const statements = [other, mine].map((certId) => ocsp.encodeStatement({ certId }));
    expect(await lookUp([withId(other), ocsp.encodeResponse({ responder, statements })])).toBe('good');
  });

  const { serial } = subject;
  test.each([
    ['nothing', [], 'absent COLLATERAL_MISSING'],
    [
      'a response for another serial of the issuer',
      [withId(ocsp.encodeCertId(rimIssuer, Uint8Array.of(0x55)))],
      'absent COLLATERAL_MISSING',
    ],
    [
      'a response for the serial under another issuer',
      [withId(ocsp.encodeCertId(rimCa, serial))],
      'absent COLLATERAL_MISMATCH',
    ],
    [
      'the name of another issuer',
      [withId(ocsp.encodeCertId({ ...rimIssuer, name: rimCa.name }, serial))],
      'absent COLLATERAL_MISMATCH',
    ],
    [
      'the key of another issuer',
      [withId(ocsp.encodeCertId({ ...rimIssuer, key: rimCa.key }, serial))],
      'absent COLLATERAL_MISMATCH',
    ],
    ['an error of the responder', [ocsp.encodeError(6)], 'absent COLLATERAL_MISSING'],
  ])('%s', async (_, responses, outcome) => {
    expect(await lookUp(responses)).toBe(outcome);
  });

  test('a missing response is named, with the errors of responders', async () => {
    const options = { crypto: nodeCrypto, now: NOW, tolerance: 0, hold: 'refused' } as const;
    const outcome = await lookUpOcspStatus(subject, issuer, new OcspLibrary([ocsp.encodeError(3)]), options);
    const reason = outcome.kind === 'absent' ? outcome.refusal.message : '';
    expect(reason).toContain(subject.subject);
    expect(reason).toContain('tryLater');
  });

  test('a forged response beside a genuine one is refused', async () => {
    const forged = ocsp.respond(rimIssuer, subject, {}, ocsp.mintResponder(deviceProvisioner));
    expect(await lookUp([stating(), forged])).toBe('UNTRUSTED_KEY');
  });

  test('what does not parse is named by its place; errors of responders are passed over', () => {
    const broken = stating().subarray(0, -1);
    const library = new OcspLibrary([stating(), ocsp.encodeError(3), broken]);
    expect(library.unreadable.map(({ code, message }) => `${code} ${message.slice(0, 16)}`)).toEqual([
      'MALFORMED OCSP response 2:',
    ]);
    expect(library.errors).toHaveLength(1);
  });

  test('more responses than any machine needs are not read', () => {
    const library = new OcspLibrary(Array.from({ length: 257 }, () => stating()));
    expect(library.unreadable.map(({ code }) => code)).toEqual(['MALFORMED']);
    expect(library.hasSerial(subject)).toBe(false);
  });

  test('a response is verified once for an issuer', async () => {
    let verifications = 0;
    const counting: CryptoProvider = {
      ...nodeCrypto,
      verify: (...input) => {
        verifications += 1;
        return nodeCrypto.verify(...input);
      },
    };
    const library = new OcspLibrary([stating()]);
    await library.statementsOf(subject, issuer, counting);
    await library.statementsOf({ ...subject }, { ...issuer }, counting);
    expect(verifications).toBe(2);
  });
});

test(
  'a changed byte never makes good of another status',
  async () => {
    const statuses = [ocsp.UNKNOWN, ocsp.revoked(NOW - DAY, 1), ocsp.revoked(NOW - DAY, HOLD)];
    const responses = statuses.map((status) => stating({ status }));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...responses),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (bytes, offset, mask) => {
          const outcome = await lookUp([ocsp.xored(bytes, offset % bytes.length, mask)]);
          expect(outcome).not.toMatch(/^(?:good|held)$/);
        },
      ),
      propertyRuns(500),
    );
  },
  PROPERTY_TIMEOUT,
);
