import { beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import type { SnpEvidence } from '../../../../attestation/evidence/evidence.ts';
import { cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { mintSnp, SNP, type SnpMachine } from '../../../support/platforms.ts';

let machine: SnpMachine;
/** Another chip of the same vendor. */
let other: SnpMachine;

beforeAll(async () => {
  [machine, other] = await Promise.all([mintSnp(), mintSnp()]);
});

async function judge(
  collect: (reportData: Uint8Array) => Promise<Partial<SnpEvidence>>,
  changes: Partial<AppraisalContext> = {},
) {
  const document = await mintDocument(async (reportData) => ({
    ...(await machine.collectCpu(reportData)),
    ...(await collect(reportData)),
  }));
  return judgeDocument(document, machine, changes);
}

describe('certificates', () => {
  test('of another chip are refused', async () => {
    const verdict = await judge(() => Promise.resolve({ certificates: other.certificates }));
    expect(cpuFailures(verdict)).toEqual(['cpu: cpu.signature SIGNATURE_INVALID']);
  });

  test.each([
    ['without a root', (chain: readonly Uint8Array[]) => chain.slice(0, 2), 'CERT_MISSING'],
    ['without any', () => [], 'CERT_MISSING'],
    ['twice the root', (chain: readonly Uint8Array[]) => [...chain, chain[2]!], 'MALFORMED'],
    [
      'in another order',
      ([vek, ask, ark]: readonly Uint8Array[]) => [ask!, vek!, ark!],
      'CERT_CHAIN_INVALID',
    ],
  ])('%s are refused', async (_name, change, code) => {
    const verdict = await judge(() => Promise.resolve({ certificates: change(machine.certificates) }));
    expect(cpuFailures(verdict)).toEqual([`cpu: cpu.chain ${code}`]);
  });
});

test.each([
  ['a guest that its host may debug', SNP.policy, 0xb0000n, 'cpu.debug DEBUG_ENABLED'],
  ['a report of another privilege level', SNP.vmpl, 1n, 'cpu.privilege PRIVILEGE_LEVEL_MISMATCH'],
])('%s is refused', async (_name, offset, value, failure) => {
  const edit = (report: DataView) => {
    if (offset === SNP.vmpl) report.setUint32(offset, Number(value), true);
    else report.setBigUint64(offset, value, true);
  };
  const verdict = await judge(async (reportData) => ({ report: await machine.report(reportData, edit) }));
  expect(cpuFailures(verdict)).toEqual([`cpu: ${failure}`]);
});

describe('the list of the root', () => {
  const NO_LIST = { crls: [] };

  test('that the policy demands and nobody supplied leaves the report not judged', async () => {
    const collateral = { ...machine.collateral, ...NO_LIST };
    const verdict = await judge(() => Promise.resolve({}), { collateral });
    expect(verdict.decision).toBe('not-judged');
    expect(cpuFailures(verdict)).toEqual(['cpu: cpu.revocation COLLATERAL_MISSING']);
  });

  test('does not hide that the report is for another statement', async () => {
    const collateral = { ...machine.collateral, ...NO_LIST };
    const verdict = await judge(() => machine.collectCpu(OTHER), { collateral });
    expect(verdict.decision).toBe('refused');
    expect(cpuFailures(verdict)).toEqual([
      'cpu: cpu.revocation COLLATERAL_MISSING',
      'cpu: cpu.binding BINDING_MISMATCH',
    ]);
  });

  test('never counts as looked at in a refused report', async () => {
    const { checks } = await judge(() => Promise.resolve({ certificates: other.certificates }), {
      collateral: { ...machine.collateral, ...NO_LIST },
    });
    expect(checks.find(({ id }) => id === 'cpu.revocation')).toMatchObject({
      result: 'skip',
      code: 'NOT_REACHED',
    });
  });
});

const OTHER = nodeCrypto.hash('sha512', new Uint8Array());
