import { beforeAll, describe, expect, test } from '@jest/globals';
import type { Platform } from '../../../../attestation/evidence/evidence.ts';
import { contextFor, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import type { MintedPlatform } from '../../../support/evidenceDocument.ts';
import { machineOn, mintTpm, otherBootLog, quotePcrs } from '../../../support/platforms.ts';
import { BOOT, ccelLog, separator, sha1Log, tcg2Log, TD_BOOT } from '../bootlog/mint.ts';

/** RSA keys of a TPM are found by chance: on a busy machine in seconds. */
const KEYS_MS = 60_000;

const WITH_REGISTERS: readonly Platform[] = ['tdx', 'azure-snp', 'azure-tdx', 'gcp-vtpm', 'nitrotpm', 'tpm'];

async function checkOf(
  machine: MintedPlatform,
  bootLog: Uint8Array | undefined,
  wanted: 'required' | 'when-present' = 'when-present',
) {
  const document = await mintDocument(machine.collectCpu, { bootLog });
  const { policy } = contextFor(machine);
  const cpu = { ...policy.cpu, bootLog: wanted };
  const verdict = await judgeDocument(document, machine, { policy: { ...policy, cpu } });
  const found = verdict.checks.filter(({ id }) => id === 'cpu.boot-log');
  expect(found).toHaveLength(1);
  const [{ result, code, reason }] = found as [(typeof found)[0]];
  return { decision: verdict.decision, outcome: `${result} ${code}`, reason };
}

describe.each(WITH_REGISTERS)('on %s', (platform) => {
  let machine: MintedPlatform;
  let log: Uint8Array;

  beforeAll(async () => {
    machine = await machineOn(platform);
    log = machine.bootLog!;
  }, KEYS_MS);

  test('the log of this boot passes', async () => {
    expect(await checkOf(machine, log, 'required')).toMatchObject({
      decision: 'accepted',
      outcome: 'pass OK',
    });
  });

  test.each(['required', 'when-present'] as const)('a log of another boot is refused, %s', async (wanted) => {
    expect(await checkOf(machine, otherBootLog(log), wanted)).toMatchObject({
      decision: 'refused',
      outcome: 'fail EVENT_LOG_MISMATCH',
    });
  });

  test('an absent log is refused only where one is required', async () => {
    expect(await checkOf(machine, undefined, 'required')).toMatchObject({
      decision: 'refused',
      outcome: 'fail EVIDENCE_INCOMPLETE',
    });
    expect(await checkOf(machine, undefined)).toMatchObject({
      decision: 'accepted',
      outcome: 'skip NOT_REQUIRED',
    });
  });

  test.each([
    ['that is cut', (bytes: Uint8Array) => bytes.slice(0, -9)],
    ['of nothing', () => new Uint8Array(1)],
  ])('a log %s is refused', async (_name, change) => {
    const { decision, outcome } = await checkOf(machine, change(log));
    expect({ decision, failed: outcome.startsWith('fail ') }).toEqual({ decision: 'refused', failed: true });
  });

  test('a log that leaves out registers of the firmware is refused', async () => {
    const isTd = platform === 'tdx';
    const events = (isTd ? TD_BOOT : BOOT).filter(({ register }) => register > (isTd ? 2 : 7));
    const cut = isTd ? ccelLog(events) : tcg2Log(events, ['sha1', 'sha256', 'sha384']);
    const { outcome, reason } = await checkOf(machine, cut);
    expect(outcome).toBe('fail EVENT_LOG_MISMATCH');
    expect(reason).toContain('says nothing of');
  });

  test('an event more is refused', async () => {
    const isTd = platform === 'tdx';
    const more = [...(isTd ? TD_BOOT : BOOT), separator(isTd ? 1 : 4)];
    const longer = isTd ? ccelLog(more) : tcg2Log(more, ['sha1', 'sha256', 'sha384']);
    expect((await checkOf(machine, longer)).outcome).toBe('fail EVENT_LOG_MISMATCH');
  });
});

describe.each<Platform>(['snp', 'nitro'])('on %s, which signs no registers', (platform) => {
  test('any log is refused: nothing proves it', async () => {
    const log = tcg2Log(BOOT);
    expect(await checkOf(await machineOn(platform), log)).toMatchObject({
      decision: 'refused',
      outcome: 'fail EVENT_LOG_MISMATCH',
    });
  });

  test('a required one can only be absent', async () => {
    expect((await checkOf(await machineOn(platform), undefined, 'required')).outcome).toBe(
      'fail EVIDENCE_INCOMPLETE',
    );
  });
});

test('a log is held to no register of a refused quote', async () => {
  const machine = await machineOn('tpm');
  expect((await checkOf({ ...machine, anchors: [] }, machine.bootLog)).outcome).toBe('skip NOT_REACHED');
});

describe('a TPM', () => {
  test('whose quote is of SHA-1 proves no log', async () => {
    const { keys, certificates, ...machine } = await mintTpm('tpm');
    const collectCpu = async (reportData: Uint8Array) => ({
      platform: 'tpm' as const,
      tpm: await quotePcrs(keys, reportData, { certificates, hash: 'sha1' }),
    });
    const { outcome } = await checkOf({ ...machine, collectCpu }, sha1Log(BOOT));
    expect(outcome).toBe('fail EVENT_LOG_MISMATCH');
  });

  test('whose quote covers some registers proves the log of those, and says so', async () => {
    const { keys, certificates, ...machine } = await mintTpm('tpm');
    const collectCpu = async (reportData: Uint8Array) => ({
      platform: 'tpm' as const,
      tpm: await quotePcrs(keys, reportData, { certificates, pcrs: [0, 4] }),
    });
    const { outcome, reason } = await checkOf({ ...machine, collectCpu }, machine.bootLog);
    expect(outcome).toBe('pass OK');
    expect(reason).toContain('not signed, so not proved: PCR 1,');
  });

  test('that was extended by more than the log says is told so', async () => {
    const { keys, certificates, ...machine } = await mintTpm('tpm');
    const values = new Map((await machine.collectCpu(new Uint8Array(64))).tpm.pcrs.values);
    values.set(10, new Uint8Array(32).fill(1));
    const collectCpu = async (reportData: Uint8Array) => ({
      platform: 'tpm' as const,
      tpm: await quotePcrs(keys, reportData, { certificates, values }),
    });
    const { outcome, reason } = await checkOf({ ...machine, collectCpu }, machine.bootLog);
    expect(outcome).toBe('pass OK');
    expect(reason).toContain('extended besides: PCR 10');
  });
});
