import { beforeAll, describe, expect, test } from '@jest/globals';
import type { AnchorRole } from '../../../../attestation/anchors.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { encodeCpu, parseCpu } from '../../../../attestation/evidence/cpuEncoding.ts';
import { PLATFORMS, type CpuEvidence, type Platform } from '../../../../attestation/evidence/evidence.ts';
import { DEFAULT_POLICY } from '../../../../attestation/policy/defaults.ts';
import { parsePolicy } from '../../../../attestation/policy/policy.ts';
import {
  contextFor,
  cpuFailures,
  judgeDocument,
  mintDocument,
  NO_PLATFORM,
  type MintedPlatform,
} from '../../../support/evidenceDocument.ts';
import { machineOn } from '../../../support/platforms.ts';
import { failures } from '../../../support/world.ts';

// Whole evidence documents of one machine on each platform, through the public door.

describe.each(PLATFORMS)('%s', (platform) => {
  let minted: MintedPlatform;
  let document: Uint8Array;

  beforeAll(async () => {
    minted = await machineOn(platform);
    document = await mintDocument(minted.collectCpu, { bootLog: minted.bootLog });
  });

  test.each([
    ['node', nodeCrypto],
    ['portable', portableCrypto],
  ])('is accepted by a policy that names it, with %s cryptography', async (_name, crypto) => {
    const verdict = await judgeDocument(document, minted, { crypto });
    expect(failures(verdict)).toEqual([]);
    expect(verdict).toMatchObject({ decision: 'accepted', simulated: [] });
  });

  test('every check of it states what was seen, and none stands twice for one subject', async () => {
    const { checks } = await judgeDocument(document, minted);
    const cpu = checks.filter(({ id }) => id.startsWith('cpu.'));
    expect(cpu.filter(({ code }) => code === 'NOT_REACHED')).toEqual([]);
    const named = cpu.map(({ id, subject }) => `${subject} ${id}`);
    expect(new Set(named).size).toBe(named.length);
  });

  test('is refused by a policy that does not name it', async () => {
    const policy = { ...contextFor(minted).policy, cpu: NO_PLATFORM };
    const verdict = await judgeDocument(document, minted, { policy });
    expect(failures(verdict)).toEqual(['cpu: cpu.platform PLATFORM_NOT_ALLOWED']);
  });

  test('is refused where its root is not pinned, or pinned for another role', async () => {
    const role: AnchorRole = minted.anchors[0]!.role === 'tpm' ? 'aws-nitro' : 'tpm';
    for (const anchors of [[], minted.anchors.map((anchor) => ({ ...anchor, role }))]) {
      const verdict = await judgeDocument(document, minted, { anchors });
      expect(verdict.decision).toBe('refused');
      expect(failures(verdict)[0]).toMatch(/cpu.(?:chain|vtpm-key) UNTRUSTED_ROOT$/);
    }
  });

  test('over a simulated root it is refused unless the policy says so', async () => {
    const anchors = minted.anchors.map((anchor) => ({ ...anchor, simulated: true }));
    const verdict = await judgeDocument(document, minted, { anchors });
    expect(failures(verdict)).toEqual(['document: document.simulated SIMULATED_HARDWARE']);
    expect(verdict.simulated).toEqual(['cpu']);
  });

  test('evidence of another statement is refused', async () => {
    const other = () => minted.collectCpu(new Uint8Array(64).fill(0x0f));
    const verdict = await judgeDocument(await mintDocument(minted.collectCpu, { change: other }), minted);
    const mismatch = 'cpu.binding BINDING_MISMATCH';
    expect(cpuFailures(verdict)).toEqual(
      platform.startsWith('azure-')
        ? [`cpu paravisor: ${mismatch}`, `cpu vtpm: ${mismatch}`]
        : [`cpu: ${mismatch}`],
    );
  });

  test('after its certificates it is refused', async () => {
    const now = Date.parse('2036-01-01T00:00:00Z');
    const { decision, checks } = await judgeDocument(document, minted, { now });
    expect(decision).toBe('refused');
    expect(checks.filter(({ result }) => result === 'fail').map(({ code }) => code)).toContain(
      'CERT_EXPIRED',
    );
  });

  test('a refused verdict passes nothing that was not looked at', async () => {
    const { checks } = await judgeDocument(document, minted, { anchors: [] });
    expect(checks.find(({ id }) => id === 'document.simulated')?.code).toBe('NOT_REACHED');
    expect(checks.find(({ id }) => id === 'cpu.boot-log')?.result).toBe('skip');
    const passed = checks.filter(({ id, result }) => id.startsWith('cpu.') && result === 'pass');
    expect(passed.map(({ id }) => id).filter((id) => AFTER_THE_CHAIN.test(id))).toEqual([]);
  });

  test('encoded and parsed again it is the same', async () => {
    const evidence = await minted.collectCpu(new Uint8Array(64));
    expect(parseCpu(encodeCpu(evidence))).toEqual(evidence);
    expect(encodeCpu(parseCpu(encodeCpu(evidence)))).toEqual(encodeCpu(evidence));
  });

  test('the policy that accepts it is one that can be written down', () => {
    const { policy } = contextFor(minted);
    expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
  });
});

/** Nothing of these can pass without a chain. */
const AFTER_THE_CHAIN =
  /revocation|collateral|endorsement|signature|quoting|runtime|vtpm|boot-log|binding|debug|tcb|identity|measurement|privilege|guest/;

test.each<Platform>(['nitro', 'gcp-vtpm', 'nitrotpm', 'tpm'])(
  'the published default does not name %s',
  async (platform) => {
    const minted = await machineOn(platform);
    const policy = { ...DEFAULT_POLICY, devices: 'none' } as const;
    const verdict = await judgeDocument(await mintDocument(minted.collectCpu), minted, { policy });
    expect(failures(verdict)).toEqual(['cpu: cpu.platform PLATFORM_NOT_ALLOWED']);
  },
);

test.each(PLATFORMS)('the right bytes of %s under any other label are refused', async (platform) => {
  const minted = await machineOn(platform);
  const policy = { ...contextFor(minted).policy, cpu: await everyPlatform() };
  for (const label of PLATFORMS.filter((name) => name !== platform)) {
    const change = (cpu: CpuEvidence) => relabelled(cpu, label);
    const document = await mintDocument(minted.collectCpu, { change });
    const { decision } = await judgeDocument(document, minted, { policy });
    expect({ label, decision }).toEqual({ label, decision: 'refused' });
  }
});

/** A policy that takes each of the minted machines. */
async function everyPlatform() {
  const policies = await Promise.all(PLATFORMS.map(async (name) => (await machineOn(name)).cpu[name]));
  return { ...NO_PLATFORM, ...Object.fromEntries(PLATFORMS.map((name, i) => [name, policies[i]])) };
}

/** The parts that the other platform has, from this evidence where it has them. */
function relabelled(cpu: CpuEvidence, platform: Platform): CpuEvidence {
  const quote = {
    message: new Uint8Array(145),
    signature: new Uint8Array(70),
    pcrs: { hash: 'sha256', values: new Map() },
    certificates: [],
  } as const;
  const all = { report: new Uint8Array(), certificates: [], quote: new Uint8Array(), tpm: quote, ...cpu };
  const { report, certificates, quote: td, tpm } = all;
  switch (platform) {
    case 'snp':
      return { platform, report, certificates };
    case 'tdx':
    case 'nitro':
    case 'nitrotpm':
      return { platform, report: report.length > 0 ? report : td };
    case 'azure-snp':
      return { platform, report, certificates, tpm };
    case 'azure-tdx':
      return { platform, report, quote: td.length > 0 ? td : report, tpm };
    case 'gcp-vtpm':
    case 'tpm':
      return { platform, tpm };
  }
}
