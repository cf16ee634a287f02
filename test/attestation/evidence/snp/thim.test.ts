import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toBase64, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { parseThimCertificates } from '../../../../attestation/evidence/snp/thim.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { generateChipKeys, mintAuthority } from '../../../support/snpAuthority.ts';

function pem(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map((der) => `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`)
    .join('');
}

let vek: Uint8Array, ask: Uint8Array, ark: Uint8Array;
let good: Record<string, unknown>;

beforeAll(async () => {
  const authority = await mintAuthority();
  ({ ask, ark } = authority);
  vek = await authority.issueVek(await generateChipKeys());
  good = {
    vcekCert: pem(vek),
    tcbm: 'C81B00000000000a',
    certificateChain: pem(ask, ark),
    cacheControl: '86400',
  };
});

const encode = (members: Record<string, unknown>) => utf8(JSON.stringify({ ...good, ...members }));
const parse = (members: Record<string, unknown>) => parseThimCertificates(encode(members));
const codeOf = (members: Record<string, unknown>) => refusalOf(() => parse(members))?.code;

describe('parseThimCertificates', () => {
  test('gives the certificates in the order that verification wants, and the TCB as reports lay it out', () => {
    const { certificates, tcb } = parse({});
    expect(certificates).toEqual([vek, ask, ark]);
    expect(tcb).toEqual(Uint8Array.of(10, 0, 0, 0, 0, 0, 27, 200));
  });

  test('passes over members that it does not know', () => {
    expect(parse({ cacheControl: undefined, region: 'north' }).certificates).toEqual([vek, ask, ark]);
  });

  test.each(['vcekCert', 'tcbm', 'certificateChain'])('refuses an answer without %s', (member) => {
    expect(codeOf({ [member]: undefined })).toBe('MALFORMED');
    expect(codeOf({ [member]: 1 })).toBe('MALFORMED');
    expect(refusalOf(() => parse({ [member]: null }))?.message).toContain(member);
  });

  test.each(['', 'c81b', 'c81b00000000000g', 'c81b00000000000a0', ' c81b0000000000a'])(
    'refuses TCB «%s»',
    (tcbm) => {
      expect(codeOf({ tcbm })).toBe('MALFORMED');
    },
  );

  test('refuses more certificates than a chain has, and members without any', () => {
    expect(codeOf({ vcekCert: pem(vek, vek) })).toBe('MALFORMED');
    expect(codeOf({ certificateChain: pem(ask, ask, ask, ask, ark) })).toBe('MALFORMED');
    expect(codeOf({ vcekCert: '' })).toBe('CERT_MISSING');
    expect(codeOf({ certificateChain: 'no PEM' })).toBe('CERT_MISSING');
    expect(codeOf({ vcekCert: pem(vek.subarray(1)) })).toBe('MALFORMED');
  });

  test('refuses what is not one strict JSON object', () => {
    const code = (text: string | Uint8Array) =>
      refusalOf(() => parseThimCertificates(typeof text === 'string' ? utf8(text) : text))?.code;
    const twice = JSON.stringify(good).replace('{', `{"vcekCert":${JSON.stringify(pem(vek))},`);
    for (const text of [twice, '', '[]', 'null', '"text"', `${JSON.stringify(good)}}`, Uint8Array.of(0xff)]) {
      expect(code(text)).toBe('MALFORMED');
    }
    expect(code(new Uint8Array(64 * 1024 + 1).fill(0x20))).toBe('MALFORMED');
  });

  test(
    'an altered answer is refused with a code, or gives certificates',
    () => {
      const bytes = encode({});
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (position, flip) => {
          const altered = bytes.slice();
          altered[position] = (altered[position] ?? 0) ^ flip;
          try {
            expect(parseThimCertificates(altered).certificates.length).toBeGreaterThanOrEqual(1);
          } catch (error) {
            expect(error).toBeInstanceOf(Refusal);
          }
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
