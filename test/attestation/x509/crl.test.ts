import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseCertificate, type Certificate } from '../../../attestation/x509/certificate.ts';
import { isInDate, parseCrl, serialKey, verifyCrl } from '../../../attestation/x509/crl.ts';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import {
  bitString,
  element,
  integer,
  oid,
  sequence,
  smallInteger,
  tagged,
} from '../../../enclave/collect/simulated/der.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import { criticalExtension, mintAuthority, type SnpAuthority } from '../../support/snpAuthority.ts';
import { propertyRuns } from '../../support/runs.ts';
import { commonName, ECDSA_SHA_384, extension, utcTime } from './encodedCertificate.ts';

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

describe('parseCrl of encoded lists', () => {
  const code = (changed: Partial<CrlParts>) => refusalOf(() => parseCrl(encodeCrl(changed)))?.code;

  test.each<[string, Partial<CrlParts>, string]>([
    ['version 1', { version: smallInteger(0) }, 'MALFORMED'],
    ['no version', { version: new Uint8Array() }, 'MALFORMED'],
    ['no end of validity', { nextUpdate: new Uint8Array() }, 'MALFORMED'],
    ['another algorithm inside', { algorithm: sequence(oid('1.2.840.10045.4.3.2')) }, 'MALFORMED'],
    ['an issuer that is no name', { issuer: sequence(sequence()) }, 'MALFORMED'],
    ['an entry without date', { entries: sequence(sequence(smallInteger(1))) }, 'MALFORMED'],
    ['an entry of no INTEGER', { entries: sequence(sequence(utcTime('250101000000Z'))) }, 'MALFORMED'],
    [
      'an entry with a needless zero byte in its serial',
      { entries: sequence(entry(element(TAG.integer, Uint8Array.of(0, 1)))) },
      'MALFORMED',
    ],
    [
      'an entry with fields after its extensions',
      { entries: sequence(entry(smallInteger(1), sequence(), sequence())) },
      'MALFORMED',
    ],
    [
      'an entry with a critical extension (another issuer)',
      { entries: sequence(entry(smallInteger(1), sequence(extension('2.5.29.29', sequence(), 0xff)))) },
      'UNSUPPORTED',
    ],
    [
      'a critical extension (issuing distribution point)',
      { tail: tagged(0, sequence(extension('2.5.29.28', sequence(), 0xff))) },
      'UNSUPPORTED',
    ],
    [
      'an extension twice',
      { tail: tagged(0, sequence(extension('1.2.3', sequence()), extension('1.2.3', sequence()))) },
      'MALFORMED',
    ],
    ['fields after the extensions', { tail: Uint8Array.of(...tagged(0, sequence()), 5, 0) }, 'MALFORMED'],
    ['a second list of entries', { entries: sequence(), tail: sequence() }, 'MALFORMED'],
  ])('refuses %s', (_name, changed, wanted) => {
    expect(code(changed)).toBe(wanted);
  });

  const reasonOf = (content: Uint8Array, tag = 0x0a) =>
    sequence(extension('2.5.29.21', element(tag, content)));
  const revokedFor = (...reasons: readonly (number | undefined)[]) =>
    sequence(
      ...reasons.map((reason) =>
        entry(smallInteger(5), ...(reason === undefined ? [] : [reasonOf(Uint8Array.of(reason))])),
      ),
    );

  test('reads reasons, and passes over the number of the list', () => {
    const tail = tagged(0, sequence(extension('2.5.29.20', smallInteger(9))));
    const crl = parseCrl(encodeCrl({ entries: revokedFor(1), tail }));
    expect([...crl.revoked]).toEqual([['05', Date.UTC(2025, 0, 1)]]);
    expect([...crl.reasons]).toEqual([['05', 1]]);
  });

  test.each<[string, readonly (number | undefined)[], readonly number[]]>([
    ['none', [undefined], []],
    ['the same', [4, 4], [4]],
    ['another', [4, 1], []],
    ['none after one', [4, undefined, 4], []],
    ['one after none', [undefined, 4], []],
  ])('entries for one serial that state %s', (_name, stated, reasons) => {
    expect([...parseCrl(encodeCrl({ entries: revokedFor(...stated) })).reasons.values()]).toEqual(reasons);
  });

  test.each([
    ['of two bytes', reasonOf(Uint8Array.of(0, 4))],
    ['of no byte', reasonOf(new Uint8Array())],
    ['that is no ENUMERATED', reasonOf(Uint8Array.of(4), TAG.integer)],
  ])('refuses a reason %s', (_name, reason) => {
    expect(code({ entries: sequence(entry(smallInteger(5), reason)) })).toBe('MALFORMED');
  });

  test('of two entries for one serial the earlier date counts', () => {
    const [early, late] = ['240101000000Z', '250101000000Z'].map((date) =>
      sequence(smallInteger(5), utcTime(date)),
    );
    for (const entries of [sequence(early!, late!), sequence(late!, early!)]) {
      expect([...parseCrl(encodeCrl({ entries })).revoked]).toEqual([['05', Date.UTC(2024, 0, 1)]]);
    }
  });

  test('reads a list as long as a list may be, in time that grows with its length', () => {
    // As much to read either way, and as much to be collected meanwhile.
    const cost = (lists: number, count: number): number => {
      const crl = encodeLongCrl(count);
      const runs = [1, 2, 3, 4, 5].map(() => {
        const start = process.cpuUsage();
        for (let i = 0; i < lists; i++) expect(parseCrl(crl).revoked.size).toBe(count);
        return process.cpuUsage(start).user;
      });
      return Math.min(...runs);
    };
    cost(9, 5_000);
    // A time that grew with the square would be 9 times that of the short lists.
    expect(cost(1, 45_000)).toBeLessThan(5 * cost(9, 5_000));
    expect(encodeLongCrl(47_000).length).toBeGreaterThan(0.98 * 1024 * 1024);
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

interface CrlParts {
  readonly version: Uint8Array;
  readonly algorithm: Uint8Array;
  readonly issuer: Uint8Array;
  readonly nextUpdate: Uint8Array;
  readonly entries: Uint8Array;
  readonly tail: Uint8Array;
}

/** A list that parses, with the given parts in place of its own. Its signature verifies under no key. */
function encodeCrl(changed: Partial<CrlParts> = {}): Uint8Array {
  const parts: CrlParts = {
    version: smallInteger(1),
    algorithm: ECDSA_SHA_384,
    issuer: commonName('issuer'),
    nextUpdate: utcTime('270101000000Z'),
    entries: new Uint8Array(),
    tail: new Uint8Array(),
    ...changed,
  };
  const { version, algorithm, issuer, nextUpdate, entries, tail } = parts;
  const tbs = sequence(version, algorithm, issuer, utcTime('260101000000Z'), nextUpdate, entries, tail);
  return sequence(tbs, ECDSA_SHA_384, bitString(Uint8Array.of(1)));
}

function entry(serial: Uint8Array, ...rest: readonly Uint8Array[]): Uint8Array {
  return sequence(serial, utcTime('250101000000Z'), ...rest);
}

/** Entries of 22 bytes each, with serials from 65536 on. */
function encodeLongCrl(count: number): Uint8Array {
  const one = entry(integer(Uint8Array.of(1, 0, 0)));
  const entries = new Uint8Array(count * one.length);
  for (let i = 0; i < count; i++) {
    entries.set(one, i * one.length);
    entries.set([i >> 8, i & 0xff], i * one.length + 5);
  }
  const head = [smallInteger(1), ECDSA_SHA_384, commonName('issuer'), utcTime('260101000000Z')];
  const tbs = long(TAG.sequence, concat(...head, utcTime('270101000000Z'), long(TAG.sequence, entries)));
  return long(TAG.sequence, concat(tbs, ECDSA_SHA_384, bitString(Uint8Array.of(1))));
}

/** An element with a length of three bytes. */
function long(tag: number, content: Uint8Array): Uint8Array {
  const { length } = content;
  return concat(Uint8Array.of(tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff), content);
}
