import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { appraiseBundle, appraiseEvidence } from '../../../attestation/appraise.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { documentDigest } from '../../../attestation/evidence/document.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CpuEvidence, DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { CollectError, type CollectErrorCode } from '../../../enclave/collect/errors.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { issuedClaims, startTestService, type TestService } from '../../support/service.ts';
import { contextOf, failures, makeWorld, NOW, policyOf, type WorldOptions } from '../../support/world.ts';
import { faultyHardware, type Faults } from '../../support/faultyHardware.ts';

const HOUR_MS = 3_600_000;
const EMBED = { model: 'fake', input: 'hello' };

interface Obstacle {
  readonly component: string;
  readonly code?: string;
  readonly refusal?: string;
}

interface Ready {
  readonly obstacles: readonly Obstacle[];
  readonly evidence_failing: boolean;
  readonly evidence_failure?: { readonly code: string; readonly advice?: string };
}

async function begin(world: WorldOptions = {}) {
  const hardware = await faultyHardware(world.hardware);
  const clock = { now: NOW };
  const service = await startTestService(
    {},
    { world: { now: () => clock.now, selfCheck: {}, ...world, collector: hardware.collector } },
  );
  return { ...hardware, service, clock };
}

/** Asks for evidence of a fresh nonce: status, and where it is refused the message. */
async function attest({ url }: TestService): Promise<readonly [number, string]> {
  const answer = await fetch(`${url}/v1/attestation?nonce=${randomBytes(32).toString('hex')}`);
  const { error } = (await answer.json()) as { error?: { message: string } };
  return [answer.status, error?.message ?? ''];
}

async function infer(service: TestService): Promise<readonly [number, string]> {
  const answer = await service.post('/v1/embeddings', EMBED);
  const { error } = (await answer.json()) as { error?: { message: string } };
  return [answer.status, error?.message ?? ''];
}

async function ready({ url }: TestService): Promise<readonly [number, Ready]> {
  const answer = await fetch(`${url}/readyz`);
  return [answer.status, (await answer.json()) as Ready];
}

/** The service is stopped, and says so to all who ask. */
async function expectStopped(service: TestService, code: string, refusal?: string): Promise<void> {
  const evidence = await attest(service);
  const answer = await infer(service);
  const [status, { obstacles }] = await ready(service);
  expect([evidence[0], answer[0], status]).toEqual([503, 503, 503]);
  expect(answer[1]).toContain(code);
  expect(obstacles).toContainEqual(
    expect.objectContaining({ component: 'evidence', code, ...(refusal && { refusal }) }),
  );
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  expect(metrics).toContain(`vouchsafe_stopped{code="${code}",refusal="${refusal ?? ''}"} 1`);
  expect(metrics).toContain('vouchsafe_signing_stopped 1');
}

async function expectServing(service: TestService): Promise<void> {
  expect([(await attest(service))[0], (await infer(service))[0], (await ready(service))[0]]).toEqual([
    200, 200, 200,
  ]);
}

/** Every document that was published is one that clients accept, and every receipt cites one of them. */
async function expectNothingFalse(service: TestService, at = NOW): Promise<void> {
  const { log, collateral } = service.world;
  const documents = log.documents.filter((document) => document.length > 0);
  for (const document of documents) {
    const context = contextOf({ collateral, now: at, policy: policyOf({ nonce: 'optional' }) });
    const { verdict } = await appraiseEvidence(document, undefined, context);
    expect(verdict.checks.filter(({ result }) => result === 'fail')).toEqual([]);
  }
  const digests = documents.map((document) => toHex(documentDigest(document, nodeCrypto)));
  for (const { evidenceDigest } of issuedClaims(service)) expect(digests).toContain(toHex(evidenceDigest));
}

const failing = (code: CollectErrorCode) => () =>
  Promise.reject(new CollectError(code, 'as the driver says'));

/** Adds to one byte of a field of the first GPU's report, found by its content. */
const bumpField =
  (content: Uint8Array, at: number) =>
  (devices: readonly DeviceEvidence[]): Promise<readonly DeviceEvidence[]> => {
    const [first, ...rest] = devices;
    const report = Buffer.from(first!.report);
    const offset = report.lastIndexOf(content);
    expect(offset).toBeGreaterThan(0);
    report[offset + at] = (report[offset + at]! + 1) & 0xff;
    return Promise.resolve([{ ...first!, report }, ...rest]);
  };

describe('hardware that is lost lasts until a restart', () => {
  const LOSSES: readonly (readonly [string, string, Partial<Faults>])[] = [
    ['a GPU is gone', 'DEVICES_CHANGED', { devices: failing('DEVICE_LOST') }],
    ['a GPU falls off the list', 'DEVICES_CHANGED', { devices: () => Promise.resolve([]) }],
    ['the quote device is gone', 'DEVICES_CHANGED', { cpu: failing('DEVICE_MISSING') }],
    ['the driver is loaded again', 'DRIVER_RELOADED', { devices: bumpField(Uint8Array.of(12, 0, 0, 1), 8) }],
    [
      'confidential computing is off',
      'DEVICE_MODE_CHANGED',
      { devices: failing('CONFIDENTIAL_COMPUTING_OFF') },
    ],
    ['DevTools mode is on', 'DEVICE_MODE_CHANGED', { devices: failing('DEVTOOLS_ON') }],
    [
      'a GPU reports another mode',
      'DEVICE_MODE_CHANGED',
      { devices: bumpField(Uint8Array.of(36, 0, 2, 0), 4) },
    ],
  ];

  test.each(LOSSES)('%s: %s', async (_name, code, fault) => {
    const { service, faults, heal } = await begin();
    await expectServing(service);
    const documents = service.world.log.documents.length;
    Object.assign(faults, fault);
    expect((await attest(service))[0]).toBe(503);
    await expectStopped(service, code);
    heal();
    await expectStopped(service, code);
    expect(service.world.log.documents).toHaveLength(documents);
    await expectNothingFalse(service);
    // A restart is another instance over the same hardware.
    const again = await startTestService(
      {},
      { world: { collector: service.world.collector, selfCheck: {} } },
    );
    await expectServing(again);
  });

  test('a start without the device fails with the code of the collector', async () => {
    const { collector, faults } = await faultyHardware();
    faults.devices = failing('DEVICE_LOST');
    await expect(makeWorld({ collector, selfCheck: {} })).rejects.toMatchObject({ code: 'DEVICE_LOST' });
  });
});

describe('hardware that fails and comes back', () => {
  test.each(['DEVICE_BUSY', 'DEVICE_TIMEOUT', 'SERVICE_UNREACHABLE', 'EVIDENCE_MISMATCH'] as const)(
    '%s: evidence is refused with the code, answers go on until it is too old',
    async (code) => {
      const { service, faults, heal, clock } = await begin();
      faults.cpu = failing(code);
      expect(await attest(service)).toEqual([503, expect.stringContaining(code)]);
      expect((await infer(service))[0]).toBe(200);
      const [status, facts] = await ready(service);
      expect([status, facts.evidence_failing, facts.evidence_failure?.code]).toEqual([200, true, code]);
      expect(facts.evidence_failure?.advice).not.toBe('');
      clock.now += HOUR_MS + 1000;
      await expectStopped(service, 'EVIDENCE_TOO_OLD');
      heal();
      expect((await attest(service))[0]).toBe(200);
      await expectServing(service);
      const [, healed] = await ready(service);
      expect(healed.evidence_failing).toBe(false);
      await expectNothingFalse(service);
    },
  );

  test('messages of a collector, which can name paths, reach no client', async () => {
    const { service, faults } = await begin();
    faults.cpu = () => Promise.reject(new CollectError('DEVICE_BUSY', '/dev/secret-path'));
    const [, message] = await attest(service);
    const [, facts] = await ready(service);
    expect([message, JSON.stringify(facts)].join()).not.toContain('secret-path');
  });

  test('a device that is slow has at most one request, and those who wait share the next', async () => {
    const { service, faults } = await begin({ hardware: { gpuDelayMs: 40 } });
    const before = faults.asked;
    const first = attest(service);
    while (faults.asked === before) await new Promise((resolve) => setTimeout(resolve, 2));
    const rest = Array.from({ length: 20 }, () => attest(service));
    const answers = await Promise.all([first, ...rest]);
    expect(answers.every(([status]) => status === 200)).toBe(true);
    expect(faults.asked - before).toBeLessThanOrEqual(3);
    expect(faults.overlapped).toBe(false);
  });
});

describe('hardware that lies', () => {
  const truncated = (evidence: CpuEvidence): Promise<CpuEvidence> =>
    Promise.resolve({
      ...evidence,
      report: (evidence as { report: Uint8Array }).report.subarray(0, 600),
    } as CpuEvidence);
  const empty = (evidence: CpuEvidence): Promise<CpuEvidence> =>
    Promise.resolve({ ...evidence, report: new Uint8Array(0) } as CpuEvidence);

  test.each([
    ['cuts reports off', truncated],
    ['sends empty reports', empty],
  ])('and %s: nothing of it is published, and what comes after is', async (_name, cpu) => {
    const { service, faults, heal } = await begin();
    faults.cpu = cpu;
    expect(await attest(service)).toEqual([503, expect.stringContaining('MALFORMED')]);
    heal();
    await expectServing(service);
    await expectNothingFalse(service);
  });

  test('and sends a report over other data: our own verifier refuses it, for good', async () => {
    const hardware = await begin();
    const { service, faults, real, heal } = hardware;
    faults.cpu = () => real.collectCpu(new Uint8Array(64).fill(7));
    expect(await attest(service)).toEqual([503, expect.stringContaining('BINDING_MISMATCH')]);
    await expectStopped(service, 'SELF_CHECK_FAILED', 'BINDING_MISMATCH');
    heal();
    await expectStopped(service, 'SELF_CHECK_FAILED', 'BINDING_MISMATCH');
    expect(service.world.log.documents).toHaveLength(1);
    await expectNothingFalse(service);
  });

  test('and sends device reports of an older generation: our own verifier refuses them', async () => {
    const { service, faults, real } = await begin();
    const old = await real.collectDevices(new Uint8Array(32).fill(3));
    faults.devices = () => Promise.resolve(old);
    expect(await attest(service)).toEqual([503, expect.stringContaining('SELF_CHECK_FAILED')]);
    await expectStopped(service, 'SELF_CHECK_FAILED', 'NONCE_MISMATCH');
    await expectNothingFalse(service);
  });
});

describe('collateral', () => {
  test('that is at its end stops the service; a newer one has it go on', async () => {
    const { service, faults, clock } = await begin({ keys: { lifetimeSeconds: 3000 * 86_400 } });
    await expectServing(service);
    const documents = service.world.log.documents.length;
    clock.now += 400 * 24 * HOUR_MS;
    expect((await attest(service))[0]).toBe(503);
    await expectStopped(service, 'SELF_CHECK_FAILED', 'CRL_EXPIRED');
    expect(service.world.log.documents).toHaveLength(documents);
    const later = await createSimulatedCollector({ now: () => new Date(clock.now) });
    const { crls } = await later.collateral();
    faults.collateral = (own) => ({ ...own, crls });
    service.world.vouching.reconsider();
    expect((await attest(service))[0]).toBe(200);
    await expectServing(service);
  });

  test('that nobody has at the start: the service is there and refuses, and does not end', async () => {
    const hardware = await faultyHardware();
    hardware.faults.collateral = () => NO_COLLATERAL;
    const service = await startTestService({}, { world: { collector: hardware.collector, selfCheck: {} } });
    await expectStopped(service, 'SELF_CHECK_FAILED', 'COLLATERAL_MISSING');
    expect((await fetch(`${service.url}/livez`)).status).toBe(200);
    const keyset = await fetch(`${service.url}/v1/keyset`);
    expect(keyset.status).toBe(503);
    expect(service.world.log.documents).toEqual([]);
    hardware.heal();
    expect((await attest(service))[0]).toBe(200);
    await expectServing(service);
  });
});

describe('a clock', () => {
  test('that is set an hour back: evidence of unknown age is renewed before anything is signed', async () => {
    const { service, clock } = await begin();
    await expectServing(service);
    const { digest } = service.world.vouching.head;
    clock.now -= HOUR_MS;
    expect(service.world.vouching.stopReason?.code).toBe('EVIDENCE_TOO_OLD');
    expect((await infer(service))[0]).toBe(503);
    while (service.world.vouching.stopReason) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(service.world.vouching.head.digest).not.toEqual(digest);
    await expectServing(service);
    await expectNothingFalse(service);
  });

  test('that is set an hour on: evidence is too old, and is renewed', async () => {
    const { service, clock } = await begin();
    clock.now += HOUR_MS + 1000;
    expect((await infer(service))[0]).toBe(503);
    while (service.world.vouching.stopReason) await new Promise((resolve) => setTimeout(resolve, 5));
    await expectServing(service);
    await expectNothingFalse(service);
  });

  test('that is behind the vendors by more than their slack: the self-check says so until it is right', async () => {
    const clock = { now: NOW - 400 * 24 * HOUR_MS };
    const hardware = await faultyHardware();
    const world = { collector: hardware.collector, selfCheck: {}, now: () => clock.now };
    const service = await startTestService({}, { world });
    await expectStopped(service, 'SELF_CHECK_FAILED', 'CERT_EXPIRED');
    clock.now = NOW;
    expect((await attest(service))[0]).toBe(200);
    await expectServing(service);
  });

  test.each([
    ['fast: its receipts are refused', HOUR_MS, ['receipt: receipt.time TIME_CONTRADICTION']],
    // What a receipt says of its own time is a claim: only `upper` bounds it.
    ['slow: its receipts claim an earlier time', -HOUR_MS, []],
  ])('of a service that is an hour %s', async (_name, error, refusals) => {
    const clock = { now: NOW + error };
    const hardware = await faultyHardware();
    const world = { collector: hardware.collector, selfCheck: {}, now: () => clock.now };
    const service = await startTestService({}, { world });
    const answer = await service.post('/v1/embeddings', EMBED);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const bundle = await fetch(`${service.url}/v1/receipts/${id}/bundle`, {
      headers: { 'vouchsafe-fresh': '?1' },
    });
    const bytes = new Uint8Array(await bundle.arrayBuffer());
    const { verdict, receipt } = await appraiseBundle(bytes, {}, contextOf());
    expect(receipt!.claims.issuedAt * 1000 - NOW).toBe(error);
    expect(failures(verdict)).toEqual(refusals);
    await expectNothingFalse(service);
  });
});
