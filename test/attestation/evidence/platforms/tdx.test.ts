import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import * as dcap from '../../../support/dcapAuthority.ts';
import { cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { mintTdx, type TdxMachine } from '../../../support/platforms.ts';

let machine: TdxMachine;

beforeAll(async () => {
  machine = await mintTdx();
});

async function judge(
  quote: (reportData: Uint8Array) => Promise<Uint8Array>,
  changes: Partial<AppraisalContext> = {},
) {
  const document = await mintDocument(async (reportData) => ({
    platform: 'tdx',
    report: await quote(reportData),
  }));
  return judgeDocument(document, machine, changes);
}

test.each([
  [
    'a TD that its host may debug',
    (report: DataView) => report.setBigUint64(dcap.TD.tdAttributes, (1n << 28n) | 1n, true),
    'cpu.debug DEBUG_ENABLED',
  ],
  [
    'other firmware',
    (report: DataView) => report.setUint8(dcap.TD.mrTd, 0),
    'cpu.measurement MEASUREMENT_MISMATCH',
  ],
  [
    'another kernel',
    (report: DataView) => report.setUint8(dcap.TD.rtmr1, 0),
    'cpu.measurement MEASUREMENT_MISMATCH',
  ],
])('%s is refused', async (_name, edit, failure) => {
  const verdict = await judge((reportData) => machine.quote(reportData, edit));
  expect(cpuFailures(verdict)).toEqual([`cpu: ${failure}`]);
});

describe('collateral', () => {
  test.each([
    ['TCB info', { tcbInfos: [] }, 'cpu.collateral'],
    ['identities of quoting enclaves', { qeIdentities: [] }, 'cpu.collateral'],
    ['revocation lists', { crls: [] }, 'cpu.revocation'],
  ])('without %s the quote is not judged', async (_name, changes, check) => {
    const collateral = { ...machine.collateral, ...changes };
    const verdict = await judge(machine.quote, { collateral });
    expect(verdict.decision).toBe('not-judged');
    expect(cpuFailures(verdict)).toContain(`cpu: ${check} COLLATERAL_MISSING`);
  });

  test('that is missing hides no failure of the quote', async () => {
    const collateral = { ...machine.collateral, tcbInfos: [] };
    const verdict = await judge(() => machine.quote(OTHER), { collateral });
    expect(verdict.decision).toBe('refused');
    expect(cpuFailures(verdict)).toContain('cpu: cpu.binding BINDING_MISMATCH');
  });
});

test('a quote in a larger buffer is the same quote', async () => {
  const verdict = await judge(async (reportData) =>
    concat(await machine.quote(reportData), new Uint8Array(700)),
  );
  expect(verdict.decision).toBe('accepted');
});

test('a quote cut short is refused', async () => {
  const verdict = await judge(async (reportData) => (await machine.quote(reportData)).slice(0, -3));
  expect(cpuFailures(verdict)).toEqual(['cpu: cpu.format MALFORMED']);
});

const OTHER = nodeCrypto.hash('sha512', new Uint8Array());
