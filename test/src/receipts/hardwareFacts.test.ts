import { describe, expect, test } from '@jest/globals';
import type { CpuEvidence, TpmEvidence } from '../../../attestation/evidence/evidence.ts';
import { Discontinuity, requireContinuity } from '../../../src/receipts/continuity.ts';
import { readHardware } from '../../../src/receipts/hardwareFacts.ts';
import { TD } from '../../support/dcapAuthority.ts';
import { mintAzureSnp, mintAzureTdx, mintNitro, mintTdx } from '../../support/platforms.ts';
import { encodeAttest, mintPcrs } from '../../support/tpmAuthority.ts';

const DATA = new Uint8Array(64).fill(1);
const OTHER_DATA = new Uint8Array(64).fill(2);

/** Code of what changed from one piece of evidence to the next; `same` where nothing did. */
function changeOf(before: CpuEvidence, now: CpuEvidence): string {
  try {
    requireContinuity(readHardware(before, []), readHardware(now, []));
    return 'same';
  } catch (error) {
    if (error instanceof Discontinuity) return error.code;
    throw error;
  }
}

describe('a TD', () => {
  const CHANGES: readonly (readonly [string, string, (report: DataView) => void])[] = [
    ['nothing but the data', 'same', () => undefined],
    ['its own register', 'same', (report) => report.setUint8(TD.rtmr3, 9)],
    ['newer module', 'same', (report) => report.setUint8(TD.teeTcbSvn2, 9)],
    ['older module', 'TCB_LOWERED', (report) => report.setUint8(TD.teeTcbSvn2, 5)],
    ['another firmware', 'MEASUREMENT_CHANGED', (report) => report.setUint8(TD.mrTd, 9)],
    ['another kernel', 'MEASUREMENT_CHANGED', (report) => report.setUint8(TD.rtmr1, 9)],
    ['a service TD', 'MEASUREMENT_CHANGED', (report) => report.setUint8(TD.mrServiceTd, 9)],
    ['debug mode', 'DEBUG_ENABLED', (report) => report.setUint8(TD.tdAttributes, 1)],
    ['a module in debug mode', 'DEBUG_ENABLED', (report) => report.setUint8(TD.seamAttributes, 1)],
  ];
  test.each(CHANGES)('with %s: %s', async (_name, change, edit) => {
    const machine = await mintTdx();
    const before = { platform: 'tdx', report: await machine.quote(DATA) } as const;
    const now = { platform: 'tdx', report: await machine.quote(OTHER_DATA, edit) } as const;
    expect(changeOf(before, now)).toBe(change);
  });

  test('on another machine: HARDWARE_CHANGED', async () => {
    const [one, other] = await Promise.all([mintTdx(), mintTdx(new Uint8Array(16).fill(9))]);
    expect(changeOf(await one.collectCpu(DATA), await other.collectCpu(DATA))).toBe('HARDWARE_CHANGED');
  });
});

describe('a TPM', () => {
  const evidence = (fields = {}, changed?: number): TpmEvidence => {
    const pcrs = mintPcrs('sha256');
    const values = new Map(pcrs.values);
    if (changed !== undefined) values.set(changed, new Uint8Array(32).fill(0xee));
    return {
      platform: 'tpm',
      tpm: {
        message: encodeAttest(fields),
        signature: new Uint8Array(0),
        pcrs: { ...pcrs, values },
        certificates: [],
      },
    };
  };
  test.each([
    ['a later quote', 'same', evidence({ clock: 999_999n, extraData: new Uint8Array(32) })],
    ['a register that grows while a system runs', 'same', evidence({}, 11)],
    ['another boot loader', 'MEASUREMENT_CHANGED', evidence({}, 4)],
    ['a machine that was started again', 'HARDWARE_CHANGED', evidence({ resetCount: 4 })],
    [
      'another key',
      'HARDWARE_CHANGED',
      evidence({ qualifiedSigner: Uint8Array.of(0, 0x0b, ...new Uint8Array(32)) }),
    ],
  ])('with %s: %s', (_name, change, now) => {
    expect(changeOf(evidence(), now)).toBe(change);
  });
});

test('two documents of one Azure VM or enclave agree; another platform is another machine', async () => {
  const machines = await Promise.all([mintAzureSnp(), mintAzureTdx(), mintNitro()]);
  const kinds: CpuEvidence[] = [];
  for (const machine of machines) {
    const before = await machine.collectCpu(DATA);
    expect(changeOf(before, await machine.collectCpu(OTHER_DATA))).toBe('same');
    kinds.push(before);
  }
  expect(changeOf(kinds[0]!, kinds[1]!)).toBe('HARDWARE_CHANGED');
});
