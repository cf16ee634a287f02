import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { tdxToTrustee } from '../../../../enclave/keys/release/trusteeEvidence.ts';

const [REPORT_DATA, QUOTE, LOG] = [randomBytes(64), randomBytes(700), randomBytes(90)];

test.each([
  ['with its event log', LOG, LOG.toString('base64')],
  ['without one', undefined, null],
])('a TD quote goes to Trustee %s', async (_name, log, sent) => {
  const asked: Uint8Array[] = [];
  const { tee, attest } = tdxToTrustee(
    (reportData) => {
      asked.push(reportData);
      return Promise.resolve({ platform: 'tdx', report: QUOTE });
    },
    () => Promise.resolve(log),
  );
  expect(tee).toBe('tdx');
  expect(await attest(REPORT_DATA)).toEqual({
    primary: { cc_eventlog: sent, quote: QUOTE.toString('base64') },
  });
  expect(asked).toEqual([REPORT_DATA]);
});

test('evidence of another platform has no form for Trustee', async () => {
  const { attest } = tdxToTrustee(
    () => Promise.resolve({ platform: 'snp', report: QUOTE, certificates: [] }),
    () => Promise.resolve(undefined),
  );
  await expect(attest(REPORT_DATA)).rejects.toMatchObject({ code: 'ATTESTATION_FAILED' });
});
