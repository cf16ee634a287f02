import { describe, expect, test } from '@jest/globals';
import { fromHex, fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../attestation/checks.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { referenceLibrary } from '../../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { appraiseCpu } from '../../../attestation/evidence/cpu.ts';
import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { appraiseDevices } from '../../../attestation/evidence/devices.ts';
import { NVIDIA_ANCHORS } from '../../../attestation/evidence/nvidia/anchors.ts';
import { SIMULATED_ANCHORS } from '../../../attestation/evidence/simulatedAnchors.ts';
import { AMD_ANCHORS } from '../../../attestation/evidence/snp/anchors.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import {
  createSimulatedCollector,
  type SimulatedCollectorOptions,
} from '../../../enclave/collect/simulated/collector.ts';
import { issueSimulatedCrl } from '../../../enclave/collect/simulated/crl.ts';

const NOW = new Date('2026-11-21T12:34:56.789Z');
const NONCE = new Uint8Array(32).fill(0x5a);
const REPORT_DATA = new Uint8Array(64).fill(0xa5);
const GENUINE = [...AMD_ANCHORS, ...NVIDIA_ANCHORS];
const { snp } = SIMULATED_POLICY.cpu;
if (snp === 'refused') throw new TypeError('the simulated policy accepts SNP');
/** Stricter than the published one: the revocation list must be there. */
const POLICY = {
  ...SIMULATED_POLICY,
  cpu: { ...SIMULATED_POLICY.cpu, snp: { ...snp, revocation: 'required' as const } },
};
const PROVIDERS: readonly (readonly [string, CryptoProvider])[] = [
  ['node', nodeCrypto],
  ['portable', portableCrypto],
];

async function collect(options: SimulatedCollectorOptions = {}) {
  const collector = await createSimulatedCollector({ now: () => NOW, ...options });
  const context: AppraisalContext = {
    policy: POLICY,
    anchors: [...GENUINE, ...SIMULATED_ANCHORS],
    collateral: await collector.collateral(),
    now: NOW.getTime(),
    crypto: nodeCrypto,
  };
  return {
    cpu: await collector.collectCpu(REPORT_DATA),
    devices: await collector.collectDevices(NONCE),
    context,
  };
}

function failures(checks: readonly Check[]): readonly string[] {
  return checks.filter(({ result }) => result === 'fail').map(({ id, code }) => `${id} ${code}`);
}

describe('the production verifier on a simulated chip', () => {
  test.each(PROVIDERS)(
    'passes every check, under a simulated anchor, with %s cryptography',
    async (_, crypto) => {
      const { cpu, context } = await collect();
      const { checks, anchors } = await appraiseCpu(cpu, REPORT_DATA, 'cpu', { ...context, crypto });
      expect(checks.filter(({ result }) => result !== 'pass' && result !== 'skip')).toEqual([]);
      expect(checks.find(({ id }) => id === 'cpu.revocation')?.result).toBe('pass');
      expect(checks.find(({ id }) => id === 'cpu.measurement')?.result).toBe('pass');
      expect(anchors.map(({ simulated }) => simulated)).toEqual([true]);
    },
  );

  test('refuses it where only the vendors are trusted', async () => {
    const { cpu, context } = await collect();
    const { checks } = await appraiseCpu(cpu, REPORT_DATA, 'cpu', { ...context, anchors: GENUINE });
    expect(failures(checks)).toEqual(['cpu.chain UNTRUSTED_ROOT']);
  });

  test.each([
    [{ debug: true }, 'cpu.debug DEBUG_ENABLED'],
    [{ vmpl: 2 }, 'cpu.privilege PRIVILEGE_LEVEL_MISMATCH'],
  ])('refuses a launch with %p', async (options, failure) => {
    const { cpu, context } = await collect(options);
    const { checks } = await appraiseCpu(cpu, REPORT_DATA, 'cpu', context);
    expect(failures(checks)).toEqual([failure]);
  });

  test('refuses a revoked ASK', async () => {
    const { cpu, context } = await collect();
    const crls = [issueSimulatedCrl(NOW, [fromHex('020002')])];
    const revoked = { ...context, collateral: { ...context.collateral, crls } };
    const { checks } = await appraiseCpu(cpu, REPORT_DATA, 'cpu', revoked);
    expect(failures(checks)).toEqual(['cpu.revocation CERT_REVOKED']);
  });

  test('refuses the certificate after its seven years', async () => {
    const { cpu, context } = await collect();
    const later = { ...context, now: Date.UTC(2034, 0, 1) };
    const { checks } = await appraiseCpu(cpu, REPORT_DATA, 'cpu', later);
    expect(failures(checks)).toEqual(['cpu.chain CERT_EXPIRED']);
  });
});

function judgeDevices(devices: readonly DeviceEvidence[], nonce: Uint8Array, context: AppraisalContext) {
  return appraiseDevices(devices, nonce, '', context, referenceLibrary(context));
}

describe('the production verifier on simulated GPUs', () => {
  test.each(PROVIDERS)(
    'passes every check, under simulated anchors, with %s cryptography',
    async (_, crypto) => {
      const { devices, context } = await collect({ gpus: 2 });
      const { checks, anchors, verified } = await judgeDevices(devices, NONCE, { ...context, crypto });
      expect(failures(checks)).toEqual([]);
      expect(verified).toHaveLength(2);
      expect(anchors.length).toBeGreaterThan(0);
      expect(anchors.every(({ simulated }) => simulated)).toBe(true);
      const measured = checks.filter(({ id }) => id === 'device.measurements');
      expect(measured.map(({ result }) => result)).toEqual(['pass', 'pass']);
    },
  );

  test('refuses them where only the vendors are trusted', async () => {
    const { devices, context } = await collect();
    const { checks } = await judgeDevices(devices, NONCE, { ...context, anchors: GENUINE });
    expect(failures(checks)).toContain('device.chain UNTRUSTED_ROOT');
  });

  test('refuses a report for another nonce', async () => {
    const { devices, context } = await collect();
    const { checks } = await judgeDevices(devices, new Uint8Array(32).fill(1), context);
    expect(failures(checks)).toContain('device.nonce NONCE_MISMATCH');
  });

  test('refuses a manifest with another golden value', async () => {
    const { devices, context } = await collect();
    const rims = new Map([...context.collateral.rims].map(([id, xml]) => [id, changeGoldenValue(xml)]));
    const forged = { ...context, collateral: { ...context.collateral, rims } };
    const { checks } = await judgeDevices(devices, NONCE, forged);
    expect(failures(checks)).toContain('device.driver-reference SIGNATURE_INVALID');
    expect(failures(checks)).toContain('device.vbios-reference SIGNATURE_INVALID');
  });
});

/** Changes the first hash of the first active measurement. */
function changeGoldenValue(xml: Uint8Array): Uint8Array {
  return utf8(
    fromUtf8(xml).replace(/(active="True"[^>]*Hash0=")(.)/, (_, head: string, digit: string) =>
      head.concat(digit === '0' ? '1' : '0'),
    ),
  );
}
