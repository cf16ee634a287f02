import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { parseHclReport, type HclReport } from '../../../../attestation/evidence/azure/parse.ts';
import { verifyRuntimeClaims } from '../../../../attestation/evidence/azure/verify.ts';
import { claimsOf, mintHclReport, modulus, reportDataOf, rsaJwk } from '../../../support/hclReport.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const MISMATCH = { code: 'BINDING_MISMATCH', check: 'cpu.runtime-claims' };

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifyRuntimeClaims with %s cryptography', (_name, crypto) => {
  const refused = (report: HclReport, reportData = report.reportData) => {
    const refusal = refusalOf(() => verifyRuntimeClaims(report, reportData, crypto));
    return refusal && { code: refusal.code, check: refusal.check };
  };

  test.each([
    ['snp', 'sha256'],
    ['tdx', 'sha256'],
    ['snp', 'sha384'],
    ['snp', 'sha512'],
  ] as const)('accepts claims that a report of %s commits to with %s', (platform, hash) => {
    const report = parseHclReport(mintHclReport({ platform, hash }));
    const { claims, checks, ...rest } = verifyRuntimeClaims(report, report.reportData, crypto);
    expect(rest).toMatchObject({ platform });
    expect(claims).toBe(report.claims);
    expect(checks.map(({ id, result }) => `${id} ${result}`)).toEqual(['cpu.runtime-claims pass']);
  });

  test('claims changed after the report was made, such as its key, are refused', () => {
    const genuine = parseHclReport(mintHclReport());
    const keys = [rsaJwk('HCLAkPub', modulus(0xc0)), rsaJwk('HCLEkPub', modulus(0xb0))];
    const text = utf8(JSON.stringify(claimsOf({ keys })));
    const forged = mintHclReport({
      claims: claimsOf({ keys }),
      edit: (view) => new Uint8Array(view.buffer).set(genuine.reportData, 0x20 + 0x50),
    });
    expect(text).toHaveLength(genuine.claimsBytes.length);
    expect(refused(parseHclReport(forged))).toEqual(MISMATCH);
  });

  test('another hardware report than the one inside is refused, on both sides', () => {
    const report = parseHclReport(mintHclReport({ platform: 'tdx' }));
    const other = parseHclReport(mintHclReport({ claims: claimsOf({ 'user-data': '11'.repeat(64) }) }));
    expect(refused(report, other.reportData)).toEqual(MISMATCH);
    const swapped = mintHclReport({
      platform: 'tdx',
      edit: (view) => new Uint8Array(view.buffer).set(other.reportData, 0x20 + 128),
    });
    expect(refused(parseHclReport(swapped), report.reportData)).toEqual(MISMATCH);
    expect(refused(parseHclReport(swapped), other.reportData)).toEqual(MISMATCH);
  });

  test('bytes behind the hash are refused', () => {
    for (const offset of [32, 63]) {
      const bytes = mintHclReport({ edit: (view) => view.setUint8(0x70 + offset, 1) });
      expect(refused(parseHclReport(bytes))).toEqual(MISMATCH);
    }
  });

  test('the first 32 bytes of a longer hash are not enough', () => {
    const text = utf8(JSON.stringify(claimsOf()));
    const bytes = mintHclReport({
      hash: 'sha512',
      edit: (view) => new Uint8Array(view.buffer).fill(0, 0x70 + 32, 0x70 + 64),
    });
    expect(refused(parseHclReport(bytes))).toEqual(MISMATCH);
    const relabelled = mintHclReport({ edit: (view) => view.setUint32(0x4cc, 2, true) });
    expect(parseHclReport(relabelled).reportData).toEqual(reportDataOf(text));
    expect(refused(parseHclReport(relabelled))).toEqual(MISMATCH);
  });

  test('report data of another length is refused', () => {
    const report = parseHclReport(mintHclReport());
    for (const length of [0, 31, 32, 63]) {
      expect(refused(report, report.reportData.subarray(0, length))).toEqual(MISMATCH);
    }
  });

  test(
    'any byte of the report changed is refused, or changes nothing that is appraised',
    () => {
      const bytes = mintHclReport();
      const genuine = parseHclReport(bytes);
      const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
      fc.assert(
        fc.property(change, ([offset, mask]) => {
          const forged = bytes.slice();
          forged[offset] = forged[offset]! ^ mask;
          const refusal = refusalOf(() => {
            const { claims } = verifyRuntimeClaims(parseHclReport(forged), genuine.reportData, crypto);
            expect(claims).toEqual(genuine.claims);
          });
          // Unsigned and unread: the version, the hardware report outside its report data, and the padding.
          const end = 0x4d4 + genuine.claimsBytes.length;
          const reportData = offset >= 0x70 && offset < 0xb0;
          const unread = offset === 4 || (offset >= 0x20 && offset < 0x4c0 && !reportData) || offset >= end;
          if (!unread) expect(refusal?.code).toBeDefined();
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
