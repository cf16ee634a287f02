import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { verifySnp } from '../../../attestation/evidence/snp/verify.ts';
import { completeSnpChain } from '../../../attestation/evidence/snp/complete.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { CollateralKeeper, type KeeperEvent, type KeeperOptions } from '../../../src/collateral/keeper.ts';
import { withKeptCollateral } from '../../../src/collateral/keptSource.ts';
import {
  CHIP_ID,
  generateChipKeys,
  genoaReport,
  mintAuthority,
  signReport,
  type SnpAuthority,
} from '../../support/snpAuthority.ts';
import { DAY_MS, NOW, pem, vcekPath } from './minted.ts';
import { sends, startVendors, type VendorServer } from './server.ts';

const TCB = Uint8Array.of(10, 0, 0, 0, 0, 0, 27, 200);
const VCEK_PATH = vcekPath('genoa', CHIP_ID, TCB);
const CRL_PATH = '/vcek/v1/Genoa/crl';
const CHAIN_PATH = '/vcek/v1/Genoa/cert_chain';

let authority: SnpAuthority;
let report: Uint8Array;
let vcek: Uint8Array;
let crl: Uint8Array;
let laterCrl: Uint8Array;
beforeAll(async () => {
  const chipKeys = await generateChipKeys();
  authority = await mintAuthority();
  [vcek, crl, laterCrl, report] = await Promise.all([
    authority.issueVek(chipKeys),
    authority.issueCrl({}),
    authority.issueCrl({ revoked: ['0777'] }),
    signReport(genoaReport(), chipKeys),
  ]);
});

let vendors: VendorServer;
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-keeper-'));
  vendors = await startVendors({
    [VCEK_PATH]: sends('application/pkix-cert', vcek),
    [CHAIN_PATH]: sends('application/x-pem-file', pem(authority.ask, authority.ark)),
    [CRL_PATH]: sends('application/pkix-crl', crl),
  });
});

const keepers: CollateralKeeper[] = [];
afterEach(async () => {
  await Promise.all(keepers.splice(0).map((keeper) => keeper.stop()));
  await rm(folder, { recursive: true, force: true });
});

/** Evidence of a host that hands out no certificates: its table is empty. */
const bare = (): { cpu: CpuEvidence; devices: [] } => ({
  cpu: { platform: 'snp', report, certificates: [] },
  devices: [],
});

function makeKeeper(changes: Partial<KeeperOptions> = {}) {
  const clock = { now: NOW };
  const events: KeeperEvent[] = [];
  let changed = 0;
  const keeper = new CollateralKeeper({
    addresses: { amd: vendors.url },
    cacheFolder: folder,
    now: () => clock.now,
    attempts: 1,
    backoffMs: 1,
    random: () => 0,
    onEvent: (event) => events.push(event),
    onChange: () => changed++,
    ...changes,
  });
  keepers.push(keeper);
  return { keeper, clock, events, changes: () => changed };
}

/** Waits until the vendors were asked so often, and the answers are taken. */
async function asked(times: number): Promise<void> {
  while (vendors.asked.length < times) await delay(2);
  await delay(20);
}

describe('collateral that is kept', () => {
  test('completes evidence whose host handed out no certificates, so that it verifies', async () => {
    const { keeper } = makeKeeper();
    keeper.observe(bare());
    const { certificates, crls } = await keeper.with(NO_COLLATERAL);
    const chain = completeSnpChain(report, [], certificates);
    expect(chain).toHaveLength(3);
    const verified = await verifySnp(
      { report, certificates: chain },
      { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], crls, revocation: 'required' },
    );
    expect(verified.revocation.status).toBe('not-revoked');
  });

  test('is asked for once, and the object is the same while nothing changes', async () => {
    const { keeper, clock, changes } = makeKeeper();
    keeper.observe(bare());
    const first = await keeper.with(NO_COLLATERAL);
    for (let i = 0; i < 5; i++) {
      clock.now += 60_000;
      keeper.observe(bare());
    }
    expect(await keeper.with(NO_COLLATERAL)).toBe(first);
    expect([vendors.asked.length, changes()]).toEqual([3, 1]);
    // Renewed with the same bytes.
    clock.now += DAY_MS;
    keeper.observe(bare());
    await asked(4);
    expect(vendors.asked.at(-1)).toBe(CRL_PATH);
    expect(await keeper.with(NO_COLLATERAL)).toBe(first);
    expect(changes()).toBe(1);
  });

  test('goes behind what the hardware handed out, in one object for both', async () => {
    const { keeper } = makeKeeper();
    keeper.observe(bare());
    const own = { ...NO_COLLATERAL, crls: [laterCrl] };
    const both = await keeper.with(own);
    expect(both.crls.map((each) => equalBytes(each, laterCrl))).toEqual([true, false]);
    expect(await keeper.with(own)).toBe(both);
    expect(await keeper.with({ ...own })).not.toBe(both);
  });

  test('is renewed before its end, and what is new is told', async () => {
    const { keeper, clock, changes } = makeKeeper();
    keeper.observe(bare());
    const before = await keeper.with(NO_COLLATERAL);
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', laterCrl));
    clock.now += DAY_MS;
    keeper.observe(bare());
    await asked(4);
    const after = await keeper.with(NO_COLLATERAL);
    expect(after).not.toBe(before);
    expect(after.crls[0]).toEqual(laterCrl);
    expect(changes()).toBe(2);
    const status = keeper.status().statements.find(({ kind }) => kind === 'amd-crl');
    expect(status).toMatchObject({ ageMs: 0, failing: undefined });
    expect(status!.expires).toBeGreaterThan(clock.now);
  });

  test('of firmware that was replaced is given up for that of the new one', async () => {
    const { keeper } = makeKeeper();
    keeper.observe(bare());
    await keeper.with(NO_COLLATERAL);
    const updated = report.slice();
    updated[0x187] = 201;
    keeper.observe({ cpu: { platform: 'snp', report: updated, certificates: [] }, devices: [] });
    await asked(4);
    expect(vendors.asked.at(-1)).toContain('ucodeSPL=201');
    const statuses = keeper.status().statements.filter(({ kind }) => kind === 'vcek');
    expect(statuses).toMatchObject([{ fetchedAt: undefined, failing: { code: 'not-found' } }]);
    expect((await keeper.with(NO_COLLATERAL)).certificates).toHaveLength(2);
  });

  test('outlives the process on disk: the next one asks nobody', async () => {
    const first = makeKeeper();
    first.keeper.observe(bare());
    await first.keeper.with(NO_COLLATERAL);
    await first.keeper.stop();
    expect(await readdir(folder)).toHaveLength(3);
    const next = makeKeeper();
    next.clock.now += 3_600_000;
    next.keeper.observe(bare());
    expect((await next.keeper.with(NO_COLLATERAL)).certificates).toHaveLength(3);
    expect(vendors.asked).toHaveLength(3);
    expect(next.keeper.status().statements.map(({ ageMs }) => ageMs)).toEqual([
      3_600_000, 3_600_000, 3_600_000,
    ]);
  });

  test('of simulated hardware is what comes with it, and nobody is asked', async () => {
    const simulated = await createSimulatedCollector();
    const { keeper } = makeKeeper();
    const source = withKeptCollateral(simulated, keeper);
    await source.collectDevices(new Uint8Array(32));
    await source.collectCpu(new Uint8Array(64));
    expect(await source.collateral()).toBe(await simulated.collateral());
    expect([vendors.asked, keeper.status().statements]).toEqual([[], []]);
    expect(keeper.status().gaps).not.toEqual([]);
  });
});

describe('vendors that are down', () => {
  const down = () => {
    for (const path of [VCEK_PATH, CHAIN_PATH, CRL_PATH]) vendors.routes.set(path, { status: 503 });
  };

  test('leave older collateral, with its age and why, and it is renewed when they are back', async () => {
    const { keeper, clock, events } = makeKeeper();
    keeper.observe(bare());
    const before = await keeper.with(NO_COLLATERAL);
    down();
    clock.now += DAY_MS;
    keeper.observe(bare());
    await asked(4);
    expect(await keeper.with(NO_COLLATERAL)).toBe(before);
    const crlOf = () => keeper.status().statements.find(({ kind }) => kind === 'amd-crl');
    expect(crlOf()).toMatchObject({ ageMs: DAY_MS, failing: { code: 'status', since: clock.now } });
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', crl));
    clock.now += 30_000;
    keeper.observe(bare());
    await asked(5);
    expect(crlOf()).toMatchObject({ ageMs: 0, failing: undefined });
    expect(events.map(({ kind, code }) => [kind, code])).toEqual([
      ['failing', 'status'],
      ['recovered', 'OK'],
    ]);
  });

  test('are asked less and less often', async () => {
    const { keeper, clock } = makeKeeper();
    down();
    keeper.observe(bare());
    await keeper.with(NO_COLLATERAL);
    expect(vendors.asked).toHaveLength(3);
    // Pauses double from half a minute: eight hours of asking every second are a dozen attempts.
    for (let second = 0; second < 28_800; second += 20) {
      clock.now += 20_000;
      keeper.observe(bare());
      await keeper.with(NO_COLLATERAL);
      if (second % 600 === 0) await delay(2);
    }
    await delay(20);
    expect(vendors.asked.length).toBeLessThan(3 * 20);
  });

  test('that ask for patience get it', async () => {
    const { keeper, clock } = makeKeeper();
    const busy = { status: 429, headers: { 'retry-after': '600' } };
    for (const path of [VCEK_PATH, CHAIN_PATH, CRL_PATH]) vendors.routes.set(path, busy);
    keeper.observe(bare());
    await keeper.with(NO_COLLATERAL);
    clock.now += 599_000;
    keeper.observe(bare());
    await delay(20);
    expect(vendors.asked).toHaveLength(3);
    clock.now += 1000;
    keeper.observe(bare());
    await asked(6);
  });

  test('at the start without a cache hold nothing up for longer than is configured', async () => {
    const { keeper } = makeKeeper({ bootWaitMs: 20 });
    for (const path of [VCEK_PATH, CHAIN_PATH, CRL_PATH]) vendors.routes.set(path, () => undefined);
    keeper.observe(bare());
    expect(await keeper.with(NO_COLLATERAL)).toBe(NO_COLLATERAL);
    expect(keeper.status().statements.map(({ fetchedAt }) => fetchedAt)).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    await keeper.stop();
  });

  test('or that hang: what the others sent is used at once', async () => {
    const { keeper } = makeKeeper({ bootWaitMs: 200 });
    vendors.routes.set(CRL_PATH, () => undefined);
    keeper.observe(bare());
    expect((await keeper.with(NO_COLLATERAL)).certificates).toHaveLength(3);
  });

  test('with a cache that is at its end: it is used, and said to be stale', async () => {
    const first = makeKeeper();
    first.keeper.observe(bare());
    await first.keeper.with(NO_COLLATERAL);
    await first.keeper.stop();
    down();
    const next = makeKeeper();
    next.clock.now += 4000 * DAY_MS;
    next.keeper.observe(bare());
    const { crls } = await next.keeper.with(NO_COLLATERAL);
    expect(crls).toEqual([crl]);
    const status = next.keeper.status().statements.find(({ kind }) => kind === 'amd-crl');
    expect(status).toMatchObject({ ageMs: 4000 * DAY_MS, failing: { code: 'status' } });
  });
});

describe('hostile and odd evidence', () => {
  test('that cannot be read wants nothing new, and what was wanted is kept', async () => {
    const { keeper } = makeKeeper();
    keeper.observe(bare());
    const before = await keeper.with(NO_COLLATERAL);
    const cpu = { platform: 'snp', report: report.subarray(0, 100), certificates: [] } as const;
    keeper.observe({ cpu, devices: [{ kind: 'gpu', report: new Uint8Array(3), certificates: [] }] });
    expect(await keeper.with(NO_COLLATERAL)).toBe(before);
    expect(keeper.status().statements).toHaveLength(3);
  });

  test('a clock that goes back has everything asked for anew, once', async () => {
    const { keeper, clock } = makeKeeper();
    keeper.observe(bare());
    await keeper.with(NO_COLLATERAL);
    clock.now -= 3_600_000;
    keeper.observe(bare());
    await asked(6);
    keeper.observe(bare());
    await delay(20);
    expect(vendors.asked).toHaveLength(6);
  });

  test('a keeper that is stopped asks nobody and gives what it has', async () => {
    const { keeper, clock } = makeKeeper();
    keeper.observe(bare());
    const before = await keeper.with(NO_COLLATERAL);
    await keeper.stop();
    clock.now += 30 * DAY_MS;
    keeper.observe(bare());
    await delay(20);
    expect(await keeper.with(NO_COLLATERAL)).toBe(before);
    expect(vendors.asked).toHaveLength(3);
  });

  test('an address that is none is refused at once', () => {
    expect(() => makeKeeper({ addresses: { amd: 'not an address' } })).toThrow(TypeError);
  });
});
