import { beforeAll, describe, expect, test } from '@jest/globals';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import type { EncodedTpmQuote } from '../../../../attestation/evidence/evidence.ts';
import type { TpmPolicy } from '../../../../attestation/policy/tpm.ts';
import { contextFor, cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { mintTpm, pcrsOf, quotePcrs, type TpmMachine } from '../../../support/platforms.ts';
import { generateRsa } from '../../../support/tpmAuthority.ts';

// A TPM that stands alone: the host's, and taken only where the policy names it.

describe.each(['gcp-vtpm', 'tpm'] as const)('%s', (platform) => {
  let machine: TpmMachine;

  beforeAll(async () => {
    machine = await mintTpm(platform);
  });

  async function judge(
    change: (quote: EncodedTpmQuote, reportData: Uint8Array) => Promise<EncodedTpmQuote> | EncodedTpmQuote,
    changes: Partial<AppraisalContext> = {},
  ) {
    const document = await mintDocument(async (reportData) => {
      const { tpm } = await machine.collectCpu(reportData);
      return { platform, tpm: await change(tpm, reportData) };
    });
    return judgeDocument(document, machine, changes);
  }

  function policyWith(changes: Partial<TpmPolicy>): Pick<AppraisalContext, 'policy'> {
    const { policy } = contextFor(machine);
    const cpu = { ...policy.cpu, [platform]: { ...machine.policy, ...changes } };
    return { policy: { ...policy, cpu } };
  }

  test('is said to protect no memory from its host, accepted or refused', async () => {
    for (const anchors of [machine.anchors, []]) {
      const { checks } = await judge((quote) => quote, { anchors });
      expect(checks.filter(({ id }) => id === 'limits.host-tpm')).toEqual([
        expect.objectContaining({ result: 'skip', code: 'NOT_EXCLUDED' }),
      ]);
    }
  });

  test('a key of nobody is refused: its own quote verifies and nothing vouches for it', async () => {
    const keys = await generateRsa();
    const bare = await judge((_quote, reportData) => quotePcrs(keys, reportData));
    expect(cpuFailures(bare)).toEqual(['cpu: cpu.vtpm-key CERT_MISSING']);
    const { certificates } = machine;
    const borrowed = await judge((_quote, reportData) => quotePcrs(keys, reportData, { certificates }));
    expect(cpuFailures(borrowed)).toEqual(['cpu: cpu.vtpm-quote SIGNATURE_INVALID']);
  });

  test('an intermediate is not the key of a TPM', async () => {
    const certificates = machine.certificates.slice(1);
    const { caKeys } = machine.authority;
    const verdict = await judge((_quote, reportData) => quotePcrs(caKeys, reportData, { certificates }));
    expect(verdict.decision).toBe('refused');
    expect(cpuFailures(verdict)[0]).toMatch(/^cpu: cpu\.vtpm-key /);
  });

  test('the rest of the chain may come from the caller', async () => {
    const [leaf, ...above] = machine.certificates;
    const change = (quote: EncodedTpmQuote) => ({ ...quote, certificates: [leaf!] });
    expect(cpuFailures(await judge(change))).toEqual(['cpu: cpu.vtpm-key CERT_MISSING']);
    const collateral = { ...machine.collateral, certificates: above };
    expect(cpuFailures(await judge(change, { collateral }))).toEqual([]);
  });

  test('registers of SHA-1 answer no policy', async () => {
    const { certificates } = machine;
    const change = (_quote: EncodedTpmQuote, reportData: Uint8Array) =>
      quotePcrs(machine.keys, reportData, { certificates, hash: 'sha1' });
    expect(cpuFailures(await judge(change))).toEqual(['cpu: cpu.measurement EVIDENCE_INCOMPLETE']);
  });

  test('values that the quote does not cover are not judged', async () => {
    const { certificates } = machine;
    const values = pcrsOf('sha256').set(4, new Uint8Array(32));
    const change = (_quote: EncodedTpmQuote, reportData: Uint8Array) =>
      quotePcrs(machine.keys, reportData, { certificates, pcrs: [0, 1], values });
    expect(cpuFailures(await judge(change))).toEqual(['cpu: cpu.measurement EVIDENCE_INCOMPLETE']);
  });

  test('a key that the policy does not list is refused', async () => {
    const policy = policyWith({ attestationKeys: ['00'.repeat(32)] });
    expect(cpuFailures(await judge((quote) => quote, policy))).toEqual([
      'cpu: cpu.identity DEVICE_NOT_ALLOWED',
    ]);
  });

  test('a Google project that the policy does not list is refused', async () => {
    const failed = async (project: string) =>
      cpuFailures(await judge((quote) => quote, policyWith({ googleProjects: [project] })));
    expect(await failed('4712')).toEqual(['cpu: cpu.identity DEVICE_NOT_ALLOWED']);
    expect(await failed('4711')).toEqual(
      platform === 'gcp-vtpm' ? [] : ['cpu: cpu.identity DEVICE_NOT_ALLOWED'],
    );
  });
});
