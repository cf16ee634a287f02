import { chmod, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseCpu } from '../../../../attestation/evidence/cpu.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { SIMULATED_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { sevGuestWay, type SevGuestOptions } from '../../../../enclave/collect/guestDevice/sevGuestWay.ts';
import { issueSimulatedCrl } from '../../../../enclave/collect/simulated/crl.ts';
import { createSimulatedSnp, type SimulatedSnp } from '../../../../enclave/collect/simulated/snp.ts';
import { encodeCertificateTable, encodeSnpTable, TABLE_GUID } from '../../../support/certificateTable.ts';
import { collectFailure } from '../../../support/collecting.ts';
import {
  describeIoctl,
  GuestKernel,
  setExitInfo,
  sevGuestDriver,
  type IoctlCall,
  type SevGuest,
} from '../../../support/guestKernel.ts';

const NOW = new Date('2026-11-21T12:00:00Z');
const ASKED = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
const OTHER = new Uint8Array(64).fill(9);

describeIoctl('the device of sev-guest', () => {
  let kernel: GuestKernel;
  let chip: SimulatedSnp;
  const opened: CpuCollector[] = [];

  beforeAll(async () => {
    [kernel, chip] = await Promise.all([GuestKernel.boot(), createSimulatedSnp({ now: NOW })]);
  });
  beforeEach(() => {
    kernel.forget();
    run({});
  });
  afterAll(async () => {
    await Promise.all(opened.map((collector) => collector.close()));
    await kernel.halt();
  });

  function run(changes: Partial<SevGuest>): void {
    const table = encodeSnpTable(chip.certificates);
    kernel.driver = sevGuestDriver({ report: (data) => chip.report(data), table, ...changes });
  }

  function way(options: SevGuestOptions = {}) {
    return sevGuestWay({ path: kernel.device, cLibrary: kernel.cLibrary, pauseMs: 5, ...options });
  }

  async function open(options: SevGuestOptions = {}): Promise<CpuCollector> {
    const collector = await way(options).open();
    opened.push(collector);
    return collector;
  }

  async function failure(options: SevGuestOptions = {}): Promise<string | undefined> {
    const collector = await open(options);
    return collectFailure(() => collector.collect(ASKED));
  }

  const requests = () => kernel.calls.map(({ request }) => request);
  const sizes = () => kernel.calls.map(({ blocks }) => blocks[3]?.length ?? 0);

  test('gives evidence that the verifier accepts, chain and all', async () => {
    const collector = await open();
    const evidence = await collector.collect(ASKED);
    expect(evidence).toMatchObject({ platform: 'snp', certificates: chip.certificates });
    const { checks } = await appraiseCpu(evidence, ASKED, 'cpu', {
      policy: SIMULATED_POLICY,
      anchors: SIMULATED_ANCHORS,
      collateral: { ...NO_COLLATERAL, crls: [issueSimulatedCrl(NOW)] },
      now: NOW.getTime(),
      crypto: nodeCrypto,
    });
    expect(checks.filter(({ result }) => result === 'fail')).toEqual([]);
    expect(checks.find(({ id }) => id === 'cpu.binding')).toMatchObject({ result: 'pass' });
    await expect(collector.bootLog()).resolves.toBeUndefined();
  });

  test('is asked in the layout of the driver', async () => {
    run({ report: async (data, vmpl) => (await createSimulatedSnp({ now: NOW, vmpl })).report(data) });
    const collector = await open({ vmpl: 2 });
    await collector.collect(ASKED);
    const [{ request, blocks }] = kernel.calls as [IoctlCall];
    const [argument, ask, response, certificates] = blocks;
    expect(request).toBe(0xc0205302);
    expect(argument!.subarray(0, 8)).toEqual(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0));
    expect(ask!.subarray(0, 64)).toEqual(ASKED);
    expect(ask!.subarray(64, 96)).toEqual(Uint8Array.of(2, ...new Uint8Array(31)));
    expect([ask!.length, response!.length, certificates!.length]).toEqual([112, 4000, 16384]);
  });

  test('collects again and again, each report over its own data', async () => {
    const collector = await open();
    for (const fill of [1, 2, 3]) {
      const data = new Uint8Array(64).fill(fill);
      const { report } = (await collector.collect(data)) as { report: Uint8Array };
      expect(report.subarray(0x50, 0x90)).toEqual(data);
    }
  });

  test('of a host without certificates gives the report alone', async () => {
    run({ table: new Uint8Array() });
    await expect((await open()).collect(ASKED)).resolves.toMatchObject({ certificates: [] });
  });

  test('of a host with more certificates than the kernel takes gives the report alone', async () => {
    run({ table: encodeCertificateTable([{ guid: TABLE_GUID.ask, data: new Uint8Array(20_000) }]) });
    await expect((await open()).collect(ASKED)).resolves.toMatchObject({ certificates: [] });
    expect(requests()).toEqual([0xc0205302, 0xc0205302, 0xc0205300]);
    expect(sizes()).toEqual([16384, 20480, 0]);
  });

  test('of a host that wants a larger buffer each time is asked no more than three times', async () => {
    run({
      fault: (call) => {
        if (call.request !== 0xc0205302) return undefined;
        setExitInfo(call, 0, 1);
        const needed = call.blocks[3]!.length + 4096;
        new DataView(call.blocks[1]!.buffer).setUint32(104, needed, true);
        return 'ENOSPC';
      },
    });
    await (await open()).collect(ASKED);
    expect(requests()).toEqual([0xc0205302, 0xc0205302, 0xc0205300]);
  });

  test.each([0, 4096, 16384, 0x7fff_ffff, 0xffff_ffff])(
    'of a host that wants a buffer of %d bytes gives the report alone',
    async (needed) => {
      run({
        fault: (call) => {
          if (call.request !== 0xc0205302) return undefined;
          setExitInfo(call, 0, 1);
          new DataView(call.blocks[1]!.buffer).setUint32(104, needed, true);
          return 'EIO';
        },
      });
      await expect((await open()).collect(ASKED)).resolves.toMatchObject({ certificates: [] });
      expect(sizes()).toEqual([16384, 0]);
    },
  );

  test.each([
    ['says so', 'EIO', 0, 2],
    ['is busy with another request', 'EBUSY', 0xff, 0],
    ['wants it to be asked again', 'EAGAIN', 0xff, 0],
  ] as const)('whose host throttles and %s is asked again', async (_, errno, firmware, vmm) => {
    run({
      fault: (call, count) => {
        if (count >= 3) return undefined;
        setExitInfo(call, firmware, vmm);
        return errno;
      },
    });
    await expect((await open()).collect(ASKED)).resolves.toMatchObject({ platform: 'snp' });
    expect(kernel.calls).toHaveLength(4);
  });

  test('whose host throttles for ever is given up at the deadline', async () => {
    run({
      fault: (call) => {
        setExitInfo(call, 0, 2);
        return 'EIO';
      },
    });
    expect(await failure({ deadlineMs: 20_000, pauseMs: 30_000 })).toBe('DEVICE_BUSY');
  });

  test('whose host throttles, and does not answer when it is asked again, is busy at the deadline', async () => {
    let release = (): void => undefined;
    const released = new Promise<undefined>((resolve) => (release = () => resolve(undefined)));
    run({
      fault: (call, count) => {
        if (count > 0) return released;
        setExitInfo(call, 0, 2);
        return 'EIO';
      },
    });
    expect(await failure({ deadlineMs: 1000, pauseMs: 1 })).toBe('DEVICE_BUSY');
    release();
  });

  test('asks again at once where a signal broke the request off', async () => {
    run({ fault: (_, count) => (count === 0 ? 'EINTR' : undefined) });
    expect(await failure()).toBeUndefined();
    expect(kernel.calls).toHaveLength(2);
  });

  test('is given up where signals never stop', async () => {
    run({ fault: () => 'EINTR' });
    expect(await failure()).toBe('DEVICE_REFUSED');
  });

  test.each([
    ['the firmware fails', 'EIO', 0x19, 0, 'DEVICE_REFUSED'],
    ['the host fails', 'EIO', 0, 3, 'DEVICE_REFUSED'],
    ['the answer cannot be deciphered', 'EBADMSG', 0, 0, 'DEVICE_REFUSED'],
    ['the kernel gave up on the host', 'ETIMEDOUT', 0, 2, 'DEVICE_BUSY'],
    ['the kernel waited too long', 'ETIMEDOUT', 0xff, 0, 'DEVICE_TIMEOUT'],
    ['the key is gone', 'ENOTTY', 0xff, 0, 'DEVICE_LOST'],
    ['the device is gone', 'ENODEV', 0xff, 0, 'DEVICE_LOST'],
    ['the device has no driver any more', 'ENXIO', 0xff, 0, 'DEVICE_LOST'],
    ['the caller may not ask', 'EPERM', 0xff, 0, 'PERMISSION_DENIED'],
  ] as const)('gives nothing where %s', async (_, errno, firmware, vmm, code) => {
    run({
      fault: (call) => {
        setExitInfo(call, firmware, vmm);
        return errno;
      },
    });
    expect(await failure({ deadlineMs: 20_000, pauseMs: 30_000 })).toBe(code);
  });

  test('names the errors of firmware and host', async () => {
    run({
      fault: (call) => {
        setExitInfo(call, 0x19, 7);
        return 'EIO';
      },
    });
    const collector = await open();
    await expect(collector.collect(ASKED)).rejects.toThrow(/EIO.*0x19.*0x7/);
  });

  const answers: readonly (readonly [
    string,
    (usual: Uint8Array) => Uint8Array | Promise<Uint8Array>,
    string,
  ])[] = [
    ['other report data', () => chip.report(OTHER), 'EVIDENCE_MISMATCH'],
    [
      'the half of our data',
      () => chip.report(Uint8Array.from([...ASKED.subarray(0, 32), ...OTHER.subarray(32)])),
      'EVIDENCE_MISMATCH',
    ],
    [
      'another privilege level',
      async () => (await createSimulatedSnp({ now: NOW, vmpl: 1 })).report(ASKED),
      'EVIDENCE_MISMATCH',
    ],
    ['no report', () => new Uint8Array(), 'EVIDENCE_MALFORMED'],
    ['a report that is cut off', (usual) => usual.subarray(0, 1183), 'EVIDENCE_MALFORMED'],
    ['a report that is too long', (usual) => Uint8Array.from([...usual, 0]), 'EVIDENCE_MALFORMED'],
    ['zeros', () => new Uint8Array(1184), 'EVIDENCE_MALFORMED'],
    [
      'a report of an unknown version',
      (usual) => Uint8Array.from([9, ...usual.subarray(1)]),
      'EVIDENCE_MALFORMED',
    ],
  ];
  test.each(answers)('that answers with %s is refused', async (_, answer, code) => {
    run({ report: async (data) => answer(await chip.report(data)) });
    expect(await failure()).toBe(code);
  });

  test.each([0x16, 0x27, 0xffff_ffff])('whose firmware answers with status %d is refused', async (status) => {
    const answer = kernel.driver;
    kernel.driver = async (call) => {
      const failed = await answer(call);
      new DataView(call.blocks[2]!.buffer).setUint32(0, status, true);
      return failed;
    };
    expect(await failure()).toBe('DEVICE_REFUSED');
  });

  test('that says it answered but wrote nothing is refused', async () => {
    kernel.driver = () => undefined;
    expect(await failure()).toBe('EVIDENCE_MALFORMED');
  });

  test.each([
    ['an entry beyond the table', 16_000],
    ['an offset beyond the table', 0xffff_fff0],
  ])('whose host sends a table with %s is refused', async (_, offset) => {
    const table = encodeSnpTable(chip.certificates);
    new DataView(table.buffer).setUint32(16, offset, true);
    run({ table });
    expect(await failure()).toBe('EVIDENCE_MALFORMED');
  });

  test('that is slow is given up at the deadline, and busy until it has answered', async () => {
    let answer: (() => void) | undefined;
    const slow = new Promise<void>((resolve) => (answer = resolve));
    run({ fault: () => slow.then(() => undefined) });
    const collector = await open({ deadlineMs: 1500 });
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('DEVICE_TIMEOUT');
    expect(await collectFailure(() => collector.collect(OTHER))).toBe('DEVICE_BUSY');
    expect(kernel.calls).toHaveLength(1);
    answer?.();
    run({});
    let code: string | undefined = 'DEVICE_BUSY';
    while (code === 'DEVICE_BUSY') {
      code = await collectFailure(() => collector.collect(ASKED));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(code).toBeUndefined();
  });

  test('is not asked twice at a time', async () => {
    const collector = await open();
    const codes = await Promise.all(
      [ASKED, OTHER].map((data) => collectFailure(() => collector.collect(data))),
    );
    expect(codes).toEqual([undefined, 'DEVICE_BUSY']);
  });

  test('is asked over the data of the call, though the caller changes its array', async () => {
    const collector = await open();
    const mine = ASKED.slice();
    const collecting = collector.collect(mine);
    mine.fill(0);
    const { report } = (await collecting) as { report: Uint8Array };
    expect(report.subarray(0x50, 0x90)).toEqual(ASKED);
  });

  test('that is closed gives nothing', async () => {
    const collector = await open();
    await collector.close();
    await collector.close();
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('STOPPED');
  });

  test('that is closed during a request ends it', async () => {
    run({ fault: () => new Promise(() => undefined) });
    const collector = await way().open();
    const collecting = collectFailure(() => collector.collect(ASKED));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await collector.close();
    expect(await collecting).toBe('STOPPED');
  });

  test('that is not there is named', async () => {
    const missing = way({ path: kernel.path('none') });
    await expect(missing.find()).resolves.toMatchObject({
      way: 'sev-guest',
      state: 'absent',
      fix: expect.any(String),
    });
    expect(await collectFailure(() => missing.open())).toBe('DEVICE_MISSING');
  });

  test('that is there is named, and asked nothing', async () => {
    await expect(way().find()).resolves.toMatchObject({ way: 'sev-guest', state: 'usable' });
    expect(kernel.calls).toEqual([]);
  });

  test('that cannot be opened for writing is named', async () => {
    const folder = way({ path: kernel.path('') });
    await expect(folder.find()).resolves.toMatchObject({ state: 'unusable', fix: expect.any(String) });
    expect(await collectFailure(() => folder.open())).toBe('DEVICE_REFUSED');
  });

  (process.getuid?.() === 0 ? test.skip : test)(
    'that may not be opened is named (skipped: root may)',
    async () => {
      const path = kernel.path('denied');
      await writeFile(path, '');
      await chmod(path, 0);
      await expect(way({ path }).find()).resolves.toMatchObject({
        state: 'unusable',
        fix: expect.any(String),
      });
      expect(await collectFailure(() => way({ path }).open())).toBe('PERMISSION_DENIED');
    },
  );

  test('without a C library is named', async () => {
    const without = way({ cLibrary: kernel.path('none.so') });
    await expect(without.find()).resolves.toMatchObject({ state: 'unusable', fix: expect.any(String) });
    expect(await collectFailure(() => without.open())).toBe('LIBRARY_MISSING');
  });

  test('by the C library of the process, of a plain file, is refused', async () => {
    const collector = await sevGuestWay({ path: kernel.device }).open();
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('DEVICE_LOST');
    await collector.close();
  });

  test.each([0, 63, 65])('takes no %d bytes of report data', async (length) => {
    await expect((await open()).collect(new Uint8Array(length))).rejects.toThrow(RangeError);
    expect(kernel.calls).toEqual([]);
  });

  test.each([-1, 4, 0.5])('takes no privilege level %d', (vmpl) => {
    expect(() => way({ vmpl })).toThrow(RangeError);
  });
});
