import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { concat, equalBytes } from '../../../../attestation/bytes/bytes.ts';
import { completeSnpChain } from '../../../../attestation/evidence/snp/complete.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import type { TsmCollector } from '../../../../enclave/collect/tsm/collector.ts';
import { tsmWay, type TsmOptions } from '../../../../enclave/collect/tsm/way.ts';
import { encodeCertificateTable, encodeSnpTable, TABLE_GUID } from '../../../support/certificateTable.ts';
import { MACHINE, type MachineState, type MadeReport } from '../../../support/configfsTsm/messages.ts';
import {
  describeMounted,
  mountConfigfsTsm,
  type ConfigfsTsm,
  type ReportMaker,
} from '../../../support/configfsTsm/mount.ts';
import {
  codeOf,
  MANIFEST,
  mintSnpMachine,
  mintTdMachine,
  REPORT_DATA,
  serviceReportData,
  type MintedMachine,
} from './machines.ts';

const OTHER = new Uint8Array(64).fill(7);

let configfs: ConfigfsTsm;
let snp: Awaited<ReturnType<typeof mintSnpMachine>>;
let tdx: Awaited<ReturnType<typeof mintTdMachine>>;
let make: ReportMaker;
let collector: TsmCollector | undefined;

async function start(machine: MintedMachine, options: TsmOptions = {}): Promise<TsmCollector> {
  ({ make } = machine);
  await configfs.set({ provider: machine.provider });
  collector = await tsmWay({ configfs: configfs.folder, ...options }).open();
  return collector;
}

/** What the machine makes, changed on its way. */
function change(machine: MintedMachine, edit: (made: MadeReport) => MadeReport): ReportMaker {
  return async (wanted) => {
    const made = await machine.make(wanted);
    return typeof made === 'string' ? made : edit(made);
  };
}

const withTable = (auxblob: Uint8Array): ReportMaker => change(snp, (made) => ({ ...made, auxblob }));
const requests = async () => (await configfs.observe()).requests;

describeMounted('evidence by configfs-tsm', () => {
  beforeAll(async () => {
    [snp, tdx] = await Promise.all([mintSnpMachine(), mintTdMachine()]);
    configfs = await mountConfigfsTsm((wanted) => make(wanted));
  });

  afterAll(() => configfs.unmount());

  afterEach(async () => {
    await configfs.set(MACHINE);
    await collector?.close();
    collector = undefined;
    const left = await requests();
    for (const name of left) await rmdir(join(configfs.folder, 'tsm/report', name));
    expect(left).toEqual([]);
  });

  describe('of an SNP guest', () => {
    test('the production verifier accepts it', async () => {
      const { collect, platform, vmpl } = bound(await start(snp));
      expect([platform, vmpl]).toEqual(['snp', 0]);
      const evidence = await collect(REPORT_DATA);
      expect(evidence).toMatchObject({ platform: 'snp', certificates: snp.chip.certificates });
      expect(await snp.failures(evidence)).toEqual([]);
    });

    test('each collection is a request of its own, with a name that cannot be guessed', async () => {
      const { collect } = bound(await start(snp));
      const before = await configfs.observe();
      await collect(REPORT_DATA);
      await collect(OTHER);
      const after = await configfs.observe();
      const names = after.made.slice(before.made.length);
      expect(after.reports - before.reports).toBe(2);
      expect(new Set(names.map((name) => name.slice(-32))).size).toBe(2);
      for (const name of names) expect(name).toMatch(/^vouchsafe-\d+-\d+-\d+-[0-9a-f]{32}$/);
    });

    test('a report in a larger buffer is cut to its size', async () => {
      const { collect } = bound(await start(snp));
      make = change(snp, (made) => ({ ...made, outblob: concat(made.outblob, new Uint8Array(4096 - 1184)) }));
      const evidence = await collect(REPORT_DATA);
      expect(await snp.failures(evidence)).toEqual([]);
    });

    test('without a table the chain is left to whoever gathers collateral', async () => {
      const { collect } = bound(await start(snp));
      for (const table of [new Uint8Array(), new Uint8Array(4096), encodeCertificateTable([])]) {
        make = withTable(table);
        const evidence = await collect(REPORT_DATA);
        if (evidence.platform !== 'snp') throw new TypeError(evidence.platform);
        expect(evidence.certificates).toEqual([]);
        const supplied = completeSnpChain(evidence.report, evidence.certificates, snp.chip.certificates);
        expect(await snp.failures({ ...evidence, certificates: supplied })).toEqual([]);
      }
    });

    test('a VCEK of another chip is left out', async () => {
      const { collect } = bound(await start(snp));
      const other = await mintSnpMachine();
      make = withTable(encodeSnpTable(other.chip.certificates.map((der) => edited(der))));
      expect(await collect(REPORT_DATA)).toMatchObject({ certificates: [] });
    });

    test('an incomplete chain is cut to its leaf', async () => {
      const { collect } = bound(await start(snp));
      const [vcek] = snp.chip.certificates;
      make = withTable(encodeCertificateTable([{ guid: TABLE_GUID.vcek, data: vcek! }]));
      expect(await collect(REPORT_DATA)).toMatchObject({ certificates: [vcek] });
    });

    test("Google's endorsement of its firmware is kept apart from the certificates", async () => {
      const { collect, self } = bound(await start(snp));
      expect(self.firmwareEndorsement).toBeUndefined();
      const guids = [TABLE_GUID.vcek, TABLE_GUID.ask, TABLE_GUID.ark];
      const entries = snp.chip.certificates.map((data, i) => ({ guid: guids[i]!, data }));
      const data = new TextEncoder().encode('signed launch endorsement');
      make = withTable(encodeCertificateTable([...entries, { guid: TABLE_GUID.launchEndorsement, data }]));
      expect(await collect(REPORT_DATA)).toMatchObject({ certificates: snp.chip.certificates });
      expect(self.firmwareEndorsement).toEqual(data);
    });

    test('a privilege level can be asked for', async () => {
      const { collect, vmpl } = bound(await start(snp, { vmpl: 2 }));
      expect(vmpl).toBe(2);
      expect(await snp.failures(await collect(REPORT_DATA))).toEqual(
        expect.arrayContaining(['cpu.privilege PRIVILEGE_LEVEL_MISMATCH']),
      );
    });

    test('below an SVSM the lowest level that the kernel allows is taken', async () => {
      await configfs.set({ privlevelFloor: 1 });
      const { collect, vmpl } = bound(await start(snp));
      expect(vmpl).toBe(1);
      await collect(REPORT_DATA);
      await configfs.set({ privlevelFloor: 2 });
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_REFUSED');
      expect(await codeOf(start(snp, { vmpl: 1 }))).toBe('DEVICE_REFUSED');
    });

    test('an SVSM attests its services', async () => {
      await configfs.set({ hasSvsm: true });
      const { self } = bound(await start(snp));
      const { evidence, manifest } = await self.collectServices(REPORT_DATA);
      expect(manifest).toEqual(MANIFEST);
      expect(evidence.report.slice(0x50, 0x90)).toEqual(serviceReportData(REPORT_DATA));
      make = change(snp, (made) => ({ ...made, manifestblob: OTHER }));
      expect(await codeOf(self.collectServices(REPORT_DATA))).toBe('EVIDENCE_MISMATCH');
    });

    test('without an SVSM there are no services to attest', async () => {
      const { self } = bound(await start(snp));
      expect(await codeOf(self.collectServices(REPORT_DATA))).toBe('DEVICE_MISSING');
    });

    test('there is no boot log', async () => {
      expect(await (await start(snp)).bootLog()).toBeUndefined();
    });
  });

  describe('of a TD', () => {
    test('the production verifier accepts it', async () => {
      const { collect, platform, vmpl } = bound(await start(tdx));
      expect([platform, vmpl]).toEqual(['tdx', undefined]);
      const evidence = await collect(REPORT_DATA);
      expect(await tdx.failures(evidence)).toEqual([]);
    });

    test('a quote in a larger buffer is cut to the length that it declares', async () => {
      const { collect } = bound(await start(tdx));
      let quote = new Uint8Array();
      make = change(tdx, ({ outblob }) => {
        quote = Uint8Array.from(outblob);
        return { outblob: concat(outblob, new Uint8Array(8000).fill(0xaa)) };
      });
      expect(await collect(REPORT_DATA)).toEqual({ platform: 'tdx', report: quote });
    });

    test('its boot log is that of the firmware, without the filling', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-ccel-'));
      const ccel = join(folder, 'CCEL');
      await writeFile(ccel, concat(tdx.ccel, new Uint8Array(65536).fill(0xff)));
      const log = await (await start(tdx, { ccel })).bootLog();
      expect(log?.length).toBe(tdx.ccel.length + 8);
      expect(parseBootLog(log!, 'rtmr').events).toEqual(parseBootLog(tdx.ccel, 'rtmr').events);
      await rm(folder, { recursive: true });
    });
  });

  describe.each([
    ['SNP', () => snp],
    ['TDX', () => tdx],
  ] as const)('faults on %s', (_name, machine) => {
    test.each<[string, Partial<MachineState>, string]>([
      [
        'another program writes before the report is made',
        { otherWriter: 'before-report' },
        'EVIDENCE_MISMATCH',
      ],
      ['another program writes after it', { otherWriter: 'after-report' }, 'EVIDENCE_MISMATCH'],
      ['the kernel drops the report data', { losesWrites: true }, 'DEVICE_REFUSED'],
      ['the generation stands still', { freezesGeneration: true }, 'DEVICE_REFUSED'],
      ['the host fails', { reportErrors: ['EIO'] }, 'DEVICE_REFUSED'],
      ['the driver refuses the request', { reportErrors: ['EINVAL'] }, 'DEVICE_REFUSED'],
      ['the driver goes away', { reportErrors: ['ENXIO'] }, 'DEVICE_LOST'],
      ['the driver is not there', { provider: null }, 'DEVICE_LOST'],
      ['another driver came', { shownProvider: 'arm_cca_guest' }, 'DEVICE_REFUSED'],
      ['the driver has no name', { shownProvider: '' }, 'EVIDENCE_MALFORMED'],
      ['the module is not there', { isLoaded: false }, 'DEVICE_LOST'],
      ['the service is not root any more', { mkdirError: 'EACCES' }, 'PERMISSION_DENIED'],
    ])('%s: refused, and the next collection succeeds', async (_fault, state, code) => {
      const { collect } = bound(await start(machine()));
      await configfs.set(state);
      expect(await codeOf(collect(REPORT_DATA))).toBe(code);
      await configfs.set({ ...MACHINE, provider: machine().provider });
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
    });

    test('a driver of another platform is not the one that was there', async () => {
      const { collect, platform } = bound(await start(machine()));
      await configfs.set({ shownProvider: platform === 'snp' ? 'tdx_guest' : 'sev_guest' });
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_LOST');
    });

    test.each<[string, (made: Uint8Array) => Uint8Array, string]>([
      ['empty', () => new Uint8Array(), 'EVIDENCE_MALFORMED'],
      ['cut off', (made) => made.slice(0, -1), 'EVIDENCE_MALFORMED'],
      ['one byte', () => Uint8Array.of(0), 'EVIDENCE_MALFORMED'],
      ['of another form', (made) => made.map((byte) => byte ^ 0xff), 'EVIDENCE_MALFORMED'],
      ['larger than the kernel takes', () => new Uint8Array(32769), 'EVIDENCE_MALFORMED'],
      ['over other report data', (made) => replace(made, REPORT_DATA, OTHER), 'EVIDENCE_MISMATCH'],
    ])('evidence that is %s: refused, and the next collection succeeds', async (_fault, edit, code) => {
      const { collect } = bound(await start(machine()));
      make = change(machine(), (made) => ({ ...made, outblob: edit(made.outblob) }));
      expect(await codeOf(collect(REPORT_DATA))).toBe(code);
      ({ make } = machine());
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
    });

    test('evidence of an earlier request is refused', async () => {
      const { collect } = bound(await start(machine()));
      const old = await machine().make({ inblob: OTHER, privlevel: 0, serviceProvider: null });
      make = () => Promise.resolve(old);
      expect(await codeOf(collect(REPORT_DATA))).toBe('EVIDENCE_MISMATCH');
    });

    test('busy, interrupted and late hosts are asked again, each time with a fresh request', async () => {
      const { collect } = bound(await start(machine()));
      const before = await configfs.observe();
      await configfs.set({ reportErrors: ['EBUSY', 'EINTR', 'ETIMEDOUT'] });
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
      const after = await configfs.observe();
      expect(after.made.length - before.made.length).toBe(4);
    });

    test.each([
      ['EBUSY', 'DEVICE_BUSY'],
      ['ETIMEDOUT', 'DEVICE_TIMEOUT'],
    ] as const)('a host that answers %s for ever ends with the deadline', async (error, code) => {
      const { collect } = bound(await start(machine(), { deadlineMs: 1_000 }));
      make = () => Promise.resolve(error);
      expect(await codeOf(collect(REPORT_DATA))).toBe(code);
    });

    test('a disabled guest key is for good: the device is not asked again', async () => {
      const { collect } = bound(await start(machine()));
      await configfs.set({ reportErrors: ['ENOTTY'] });
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_LOST');
      const { made } = await configfs.observe();
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_LOST');
      expect((await configfs.observe()).made).toEqual(made);
    });

    test('a request that somebody removes is lost', async () => {
      const { collect } = bound(await start(machine()));
      make = async (wanted) => {
        for (const name of await requests()) await rmdir(join(configfs.folder, 'tsm/report', name));
        return machine().make(wanted);
      };
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_LOST');
    });

    test('a slow host is waited for', async () => {
      const { collect } = bound(await start(machine()));
      make = async (wanted) => {
        await delay(100);
        return machine().make(wanted);
      };
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
    });

    test('a read that outlives its deadline leaves the device busy until it returns', async () => {
      const { collect } = bound(await start(machine(), { deadlineMs: 500 }));
      const host = stuckHost(machine());
      ({ make } = host);
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_TIMEOUT');
      expect(await codeOf(collect(REPORT_DATA))).toBe('DEVICE_BUSY');
      expect(await requests()).toHaveLength(1);
      host.release();
      await until(async () => (await requests()).length === 0);
      ({ make } = machine());
      await untilNotBusy(() => collect(REPORT_DATA));
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
    });

    test('closing gives up on a request in flight', async () => {
      const { collect, self } = bound(await start(machine()));
      const host = stuckHost(machine());
      ({ make } = host);
      const collected = codeOf(collect(REPORT_DATA));
      await host.asked;
      const closed = self.close();
      expect(await collected).toBe('STOPPED');
      host.release();
      await closed;
      expect(await codeOf(collect(REPORT_DATA))).toBe('STOPPED');
    });

    test('there is one request at a time', async () => {
      const { collect } = bound(await start(machine()));
      const [first, second] = await Promise.all([codeOf(collect(REPORT_DATA)), codeOf(collect(OTHER))]);
      expect([first, second]).toEqual(['success', 'DEVICE_BUSY']);
    });

    test('a folder that cannot be removed at first is removed later', async () => {
      const { collect } = bound(await start(machine()));
      await configfs.set({ rmdirErrors: ['EBUSY'] });
      expect(await machine().failures(await collect(REPORT_DATA))).toEqual([]);
      expect(await requests()).toHaveLength(1);
      await collect(REPORT_DATA);
      expect(await requests()).toHaveLength(0);
    });

    test('folders that cannot be removed do not pile up', async () => {
      const { collect } = bound(await start(machine()));
      await configfs.set({ rmdirErrors: new Array<'EBUSY'>(1000).fill('EBUSY') });
      const codes = [];
      for (let i = 0; i < 10; i++) codes.push(await codeOf(collect(REPORT_DATA)));
      expect(codes.at(-1)).toBe('DEVICE_REFUSED');
      expect((await requests()).length).toBeLessThan(10);
      await configfs.set({ rmdirErrors: [] });
    });

    test('other than 64 bytes of report data are a mistake of the caller', async () => {
      const { collect } = bound(await start(machine()));
      await expect(collect(REPORT_DATA.subarray(1))).rejects.toThrow(RangeError);
    });
  });

  describe('faults of SNP alone', () => {
    test('a report of another privilege level is refused', async () => {
      const { collect } = bound(await start(snp));
      make = (wanted) => snp.make({ ...wanted, privlevel: 3 });
      expect(await codeOf(collect(REPORT_DATA))).toBe('EVIDENCE_MISMATCH');
    });

    test('bytes after the report are refused', async () => {
      const { collect } = bound(await start(snp));
      make = change(snp, (made) => ({ ...made, outblob: concat(made.outblob, Uint8Array.of(0, 0, 1)) }));
      expect(await codeOf(collect(REPORT_DATA))).toBe('EVIDENCE_MALFORMED');
    });

    test.each([
      ['that has no end', (table: Uint8Array) => table.slice(0, 72)],
      ['cut through a certificate', (table: Uint8Array) => table.slice(0, -1)],
      ['of another form', () => new Uint8Array(500).fill(0xff)],
    ])('a table of certificates %s is refused', async (_fault, edit) => {
      const { collect } = bound(await start(snp));
      make = withTable(edit(encodeSnpTable(snp.chip.certificates)));
      expect(await codeOf(collect(REPORT_DATA))).toBe('EVIDENCE_MALFORMED');
    });
  });

  test('closing ends where the kernel does not come back from removing what is left', async () => {
    const opened = await start(snp);
    await configfs.set({ rmdirErrors: ['EBUSY'] });
    await opened.collect(REPORT_DATA);
    expect(await requests()).toHaveLength(1);
    configfs.freeze();
    await opened.close();
    configfs.thaw();
    await until(async () => (await requests()).length === 0);
  });

  describe('what a crashed process left behind', () => {
    const place = (name: string) => mkdir(join(configfs.folder, 'tsm/report', name));
    const startTimeOf = async (pid: number) =>
      (await readFile(`/proc/${pid}/stat`, 'latin1')).replace(/^.*\) /s, '').split(' ')[19]!;
    const RANDOM = '0123456789abcdef'.repeat(2);

    test('is removed when the next one opens, and nothing else is', async () => {
      const [, namespace] = /(\d+)/.exec(await readlink('/proc/self/ns/pid'))!;
      const gone = spawnSync('true').pid;
      const child = spawn('sleep', ['60']);
      await once(child, 'spawn');
      const living = await startTimeOf(child.pid!);
      const kept = [
        `vouchsafe-${namespace}-${child.pid}-${living}-${RANDOM}`,
        `vouchsafe-1-${gone}-1-${RANDOM}`,
        `vouchsafe-${namespace}-${gone}-1`,
        'request0',
      ];
      const stale = [
        `vouchsafe-${namespace}-${gone}-1-${RANDOM}`,
        `vouchsafe-${namespace}-${child.pid}-1-${RANDOM}`,
      ];
      for (const name of [...kept, ...stale]) await place(name);
      await start(snp);
      expect(new Set(await requests())).toEqual(new Set(kept));
      child.kill();
      for (const name of kept) await rmdir(join(configfs.folder, 'tsm/report', name));
    });

    test('is removed without a driver too, which it may keep from coming back', async () => {
      const [, namespace] = /(\d+)/.exec(await readlink('/proc/self/ns/pid'))!;
      await place(`vouchsafe-${namespace}-${spawnSync('true').pid}-1-${RANDOM}`);
      await configfs.set({ provider: null });
      expect(await codeOf(tsmWay({ configfs: configfs.folder }).open())).toBe('DEVICE_MISSING');
      expect(await requests()).toEqual([]);
    });

    test('is not removed by looking', async () => {
      const name = `vouchsafe-1-1-1-${RANDOM}`;
      await place(name);
      await tsmWay({ configfs: configfs.folder }).find();
      expect(await readdir(join(configfs.folder, 'tsm/report'))).toEqual([name]);
      await rmdir(join(configfs.folder, 'tsm/report', name));
    });
  });

  describe('what doctor finds', () => {
    test.each<[string, Partial<MachineState>, string]>([
      ['SNP', {}, 'usable'],
      ['TDX', { provider: 'tdx_guest' }, 'usable'],
      ['an SVSM', { hasSvsm: true, privlevelFloor: 2 }, 'usable'],
      ['no module', { isLoaded: false }, 'absent'],
      ['no driver', { provider: null }, 'unusable'],
      ['another driver', { provider: 'arm_cca_guest' }, 'unusable'],
      ['a user who is not root', { mkdirError: 'EACCES' }, 'unusable'],
      ['a read-only mount', { mkdirError: 'EROFS' }, 'unusable'],
    ])('%s', async (_name, state, found) => {
      await configfs.set(state);
      const way = tsmWay({ configfs: configfs.folder });
      const before = await configfs.observe();
      const finding = await way.find();
      expect(finding).toMatchObject({ way: 'configfs-tsm', state: found });
      expect(finding.fix === undefined).toBe(found === 'usable');
      expect((await configfs.observe()).reports).toBe(before.reports);
    });

    test.each<[string, Partial<MachineState>, string]>([
      ['no module', { isLoaded: false }, 'DEVICE_MISSING'],
      ['no driver', { provider: null }, 'DEVICE_MISSING'],
      ['another driver', { provider: 'arm_cca_guest' }, 'DEVICE_REFUSED'],
      ['a user who is not root', { mkdirError: 'EACCES' }, 'PERMISSION_DENIED'],
      ['a privilege level that does not exist', { privlevelFloor: 4 }, 'DEVICE_REFUSED'],
    ])('cannot be opened: %s', async (_name, state, code) => {
      await configfs.set(state);
      expect(await codeOf(tsmWay({ configfs: configfs.folder }).open())).toBe(code);
    });
  });
});

function bound(opened: TsmCollector) {
  const { platform, vmpl } = opened;
  return { self: opened, platform, vmpl, collect: (data: Uint8Array) => opened.collect(data) };
}

/** A host that keeps a request until it is told to go on. */
function stuckHost(machine: MintedMachine) {
  let release: () => void = () => undefined;
  let ask: () => void = () => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const asked = new Promise<void>((resolve) => (ask = resolve));
  const stuck: ReportMaker = async (wanted) => {
    ask();
    await released;
    return machine.make(wanted);
  };
  return { make: stuck, asked, release };
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(10);
}

/** The mark goes with the request, a moment after its folder. */
async function untilNotBusy(collect: () => Promise<unknown>): Promise<void> {
  await until(() =>
    collect().then(
      () => true,
      (error: unknown) => {
        if (error instanceof CollectError && error.code === 'DEVICE_BUSY') return false;
        throw error;
      },
    ),
  );
}

/** The bytes with one run of them replaced by another of the same length. */
function replace(bytes: Uint8Array, from: Uint8Array, to: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes);
  for (let i = 0; i + from.length <= changed.length; i++) {
    if (equalBytes(changed.subarray(i, i + from.length), from)) changed.set(to, i);
  }
  return changed;
}

/** The chip id of a certificate changed in place; its signature is not looked at by whoever collects. */
function edited(der: Uint8Array): Uint8Array {
  return replace(der, new Uint8Array(64).fill(0xc1), new Uint8Array(64).fill(0xc2));
}
