import { expect, test } from '@jest/globals';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { AzurePolicy } from '../../attestation/policy/azure.ts';
import { DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import * as dcap from '../support/dcapAuthority.ts';
import { contextFor, cpuFailures, judgeDocument, mintDocument } from '../support/evidenceDocument.ts';
import { mintAzureSnp, mintAzureTdx, mintTdx, quotePcrs } from '../support/platforms.ts';

// Rows of the attack table that are mounted on one platform.

/** What the machine committed to when it booted. */
const AT_BOOT = nodeCrypto.hash('sha512', new Uint8Array());

test.each([
  ['azure-snp', mintAzureSnp],
  ['azure-tdx', mintAzureTdx],
] as const)('azure-stale-hcl on %s: the hardware report of boot under a fresh quote', async (name, mint) => {
  const machine = await mint();
  const withUserData = async (claims: Readonly<Record<string, unknown>>) => {
    const atBoot = await machine.collect(AT_BOOT, { claims });
    return mintDocument(async (fresh) => ({ ...atBoot, tpm: await quotePcrs(machine.keys, fresh) }));
  };
  const former = await withUserData({});
  const unset = await withUserData({ 'user-data': '00'.repeat(64) });
  for (const document of [former, unset]) {
    expect(cpuFailures(await judgeDocument(document, machine))).toEqual([
      'cpu paravisor: cpu.binding BINDING_MISMATCH',
    ]);
  }
  // The published policy requires it on both platforms; one that does not is told what it gives up.
  const published = DEFAULT_POLICY.cpu[name];
  expect(published === 'refused' ? undefined : published.claims.userData).toBe('required');
  const { policy } = contextFor(machine);
  const own = policy.cpu[name] as { readonly claims: AzurePolicy };
  const lax = { ...own, claims: { ...own.claims, userData: 'any' } };
  const cpu = { ...policy.cpu, [name]: lax };
  const verdict = await judgeDocument(unset, machine, { policy: { ...policy, cpu } });
  const said = verdict.checks.find(({ id, result }) => id === 'cpu.binding' && result === 'skip');
  expect(said?.reason).toContain('only the quote of the virtual TPM is fresh');
});

test.each([
  ['azure-snp', mintAzureSnp],
  ['azure-tdx', mintAzureTdx],
] as const)('azure-foreign-ak on %s: a fresh quote by the virtual TPM of another VM', async (_name, mint) => {
  const [machine, other] = await Promise.all([mint(), mint()]);
  const document = (certificates: readonly Uint8Array[]) =>
    mintDocument(async (fresh) => ({
      ...(await machine.collectCpu(fresh)),
      tpm: await quotePcrs(other.keys, fresh, { certificates }),
    }));
  expect(cpuFailures(await judgeDocument(await document([]), machine))).toEqual([
    'cpu vtpm: cpu.vtpm-quote SIGNATURE_INVALID',
  ]);
  const { authority } = other;
  const genuine = [await authority.issueLeaf(other.keys), authority.ca, authority.root];
  expect(cpuFailures(await judgeDocument(await document(genuine), machine))).toEqual([
    'cpu vtpm: cpu.vtpm-key UNTRUSTED_KEY',
  ]);
});

test('debug-td', async () => {
  const machine = await mintTdx();
  const debug = (report: DataView) => report.setBigUint64(dcap.TD.tdAttributes, (1n << 28n) | 1n, true);
  const document = await mintDocument(async (reportData) => ({
    platform: 'tdx',
    report: await machine.quote(reportData, debug),
  }));
  expect(cpuFailures(await judgeDocument(document, machine))).toEqual(['cpu: cpu.debug DEBUG_ENABLED']);
});
