import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseCertificate, type Certificate } from '../../../attestation/x509/certificate.ts';
import { isInDate, parseCrl, serialKey, verifyCrl } from '../../../attestation/x509/crl.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { criticalExtension, mintAuthority, type SnpAuthority } from '../../support/snpAuthority.ts';
import { propertyRuns } from '../../support/runs.ts';

const THIS_UPDATE = new Date('2026-03-01T00:00:00Z');
const NEXT_UPDATE = new Date('2027-03-01T00:00:00Z');

let authority: SnpAuthority;
let ark: Certificate;
let der: Uint8Array;

beforeAll(async () => {
  authority = await mintAuthority();
  ark = parseCertificate(authority.ark);
  der = await authority.issueCrl({
    revoked: ['020001', '00ff'],
    thisUpdate: THIS_UPDATE,
    nextUpdate: NEXT_UPDATE,
  });
});

describe('parseCrl', () => {
  test('reads issuer, window and serials', () => {
    const crl = parseCrl(der);
    expect(crl.issuerName).toEqual(ark.subjectName);
    expect([crl.thisUpdate, crl.nextUpdate]).toEqual([THIS_UPDATE.getTime(), NEXT_UPDATE.getTime()]);
    expect([...crl.revoked.keys()].toSorted()).toEqual(['020001', 'ff']);
  });

  test('an empty list revokes nothing', async () => {
    expect(parseCrl(await authority.issueCrl({})).revoked.size).toBe(0);
  });

  test('refuses a list that covers only part of its issuer', async () => {
    const partial = await authority.issueCrl({ extensions: [criticalExtension('2.5.29.28')] });
    expect(refusalOf(() => parseCrl(partial))?.code).toBe('UNSUPPORTED');
  });

  test('refuses truncation, trailing bytes and excess', () => {
    const longer = new Uint8Array([...der, 0]);
    for (const bytes of [new Uint8Array(), der.subarray(0, -1), longer, new Uint8Array(1024 * 1024 + 1)]) {
      expect(refusalOf(() => parseCrl(bytes))?.code).toBe('MALFORMED');
    }
  });
});

describe('verifyCrl', () => {
  test('passes under its issuer', async () => {
    await expect(verifyCrl(parseCrl(der), ark, nodeCrypto)).resolves.toBeUndefined();
  });

  test('refuses an issuer of another name or another key', async () => {
    const ask = parseCertificate(authority.ask);
    const lookAlike = parseCertificate((await mintAuthority()).ark);
    const code = async (issuer: Certificate) =>
      (await refusalOfAsync(() => verifyCrl(parseCrl(der), issuer, nodeCrypto)))?.code;
    expect(await code(ask)).toBe('COLLATERAL_MISMATCH');
    expect(await code(lookAlike)).toBe('SIGNATURE_INVALID');
    expect(await code({ ...ark, maySignCrls: false })).toBe('CERT_CHAIN_INVALID');
  });

  test('any byte changed is refused, by refusals only', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), async (offset, mask) => {
        const forged = der.slice();
        forged[offset] = forged[offset]! ^ mask;
        const refusal = await refusalOfAsync(async () => {
          await verifyCrl(parseCrl(forged), ark, nodeCrypto);
        });
        expect(refusal).toBeInstanceOf(Refusal);
      }),
      propertyRuns(300),
    );
  });
});

test('a list is in date from its first to its last instant', () => {
  const crl = parseCrl(der);
  expect(isInDate(crl, THIS_UPDATE.getTime())).toBe(true);
  expect(isInDate(crl, NEXT_UPDATE.getTime())).toBe(true);
  expect(isInDate(crl, THIS_UPDATE.getTime() - 1)).toBe(false);
  expect(isInDate(crl, NEXT_UPDATE.getTime() + 1)).toBe(false);
});

test('serials compare without leading zeros', () => {
  expect(serialKey(Uint8Array.of(0, 0, 1, 0))).toBe(serialKey(Uint8Array.of(1, 0)));
  expect(serialKey(Uint8Array.of(0))).toBe(serialKey(new Uint8Array()));
});
