import { beforeAll, describe, expect, test } from '@jest/globals';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import { cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { registers } from '../../../support/nitroAuthority.ts';
import { mintNitro, mintNitroTpm, type NitroMachine } from '../../../support/platforms.ts';

type Members = Readonly<Record<string, unknown>>;

let enclave: NitroMachine;
let instance: NitroMachine;

beforeAll(async () => {
  [enclave, instance] = await Promise.all([mintNitro(), mintNitroTpm()]);
});

async function judge(
  machine: NitroMachine,
  members: (reportData: Uint8Array) => Members,
  changes: Partial<AppraisalContext> = {},
) {
  const document = await mintDocument((reportData) =>
    machine.mint({ user_data: reportData, ...members(reportData) }),
  );
  return judgeDocument(document, machine, changes);
}

describe('an enclave', () => {
  test.each<[string, Members, string]>([
    ['user_data of another statement', { user_data: new Uint8Array(64) }, 'cpu.binding BINDING_MISMATCH'],
    ['no user_data', { user_data: null }, 'cpu.binding BINDING_MISMATCH'],
    ['a nonce besides', { nonce: new Uint8Array(32) }, 'cpu.binding BINDING_MISMATCH'],
    ['a public key besides', { public_key: new Uint8Array(32) }, 'cpu.binding BINDING_MISMATCH'],
    ['debug mode', { pcrs: debugPcrs() }, 'cpu.debug DEBUG_ENABLED'],
    ['another image', { pcrs: otherImage() }, 'cpu.measurement MEASUREMENT_MISMATCH'],
  ])('with %s is refused', async (_name, members, failure) => {
    const failed = cpuFailures(await judge(enclave, () => members));
    expect(failed).toContain(`cpu: ${failure}`);
  });

  test('whose document is older than the policy takes is refused', async () => {
    const verdict = await judge(enclave, () => ({}), { now: enclave.now + 600_000 });
    expect(cpuFailures(verdict)).toEqual(['cpu: document.time EVIDENCE_STALE']);
  });

  test('of another instance is not one of this instance', async () => {
    const document = await mintDocument(async (reportData) => ({
      ...(await instance.collectCpu(reportData)),
      platform: 'nitro',
    }));
    expect(cpuFailures(await judgeDocument(document, enclave))).toEqual([
      'cpu: cpu.platform PLATFORM_NOT_ALLOWED',
    ]);
  });

  test('has no list of revoked certificates, and none is said to be looked at', async () => {
    const genuine = await judge(enclave, () => ({}));
    const forged = await judge(enclave, () => ({ certificate: new Uint8Array(1) }));
    for (const { checks } of [genuine, forged]) {
      expect(checks.find(({ id }) => id === 'cpu.revocation')?.result).toBe('skip');
    }
  });
});

describe('NitroTPM', () => {
  test('is said to protect no memory from its host', async () => {
    const { checks } = await judge(instance, () => ({}));
    expect(checks.find(({ id }) => id === 'limits.host-tpm')).toMatchObject({ code: 'NOT_EXCLUDED' });
  });

  test('with other registers is refused', async () => {
    const nitrotpm_pcrs = new Map([[4, new Uint8Array(48)]]);
    const verdict = await judge(instance, () => ({ nitrotpm_pcrs }));
    expect(cpuFailures(verdict)).toEqual(['cpu: cpu.measurement MEASUREMENT_MISMATCH']);
  });

  test('does not take the document of an enclave', async () => {
    const document = await mintDocument(async (reportData) => ({
      ...(await enclave.collectCpu(reportData)),
      platform: 'nitrotpm',
    }));
    expect(cpuFailures(await judgeDocument(document, instance))).toEqual([
      'cpu: cpu.platform PLATFORM_NOT_ALLOWED',
    ]);
  });
});

function debugPcrs(): Map<number, Uint8Array> {
  const pcrs = registers(16);
  for (const index of [0, 1, 2]) pcrs.set(index, new Uint8Array(48));
  return pcrs;
}

function otherImage(): Map<number, Uint8Array> {
  return registers(16).set(0, new Uint8Array(48).fill(0xee));
}
