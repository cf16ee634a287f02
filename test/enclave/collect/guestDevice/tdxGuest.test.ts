import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseCpu } from '../../../../attestation/evidence/cpu.ts';
import { parseTdxQuote } from '../../../../attestation/evidence/tdx/parse.ts';
import { DEFAULT_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { tdxGuestWay, type TdxGuestOptions } from '../../../../enclave/collect/guestDevice/tdxGuestWay.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { TD } from '../../../support/dcapAuthority.ts';
import {
  describeIoctl,
  GuestKernel,
  quoteResponse,
  quotingService,
  readQuoteRequest,
  tdReportOf,
  tdxGuestDriver,
  withLength,
  type Errno,
} from '../../../support/guestKernel.ts';
import { mintTdx, type TdxMachine } from '../../../support/platforms.ts';

const ASKED = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
const OTHER = new Uint8Array(64).fill(9);
const HOST = { cid: 2, port: 4050 };

describeIoctl('the device of tdx-guest with a quoting service', () => {
  let kernel: GuestKernel;
  let machine: TdxMachine;
  let body: Uint8Array;
  const opened: CpuCollector[] = [];

  beforeAll(async () => {
    [kernel, machine] = await Promise.all([GuestKernel.boot(), mintTdx()]);
    body = parseTdxQuote(await machine.quote(ASKED)).quote.body;
    await kernel.offer(HOST);
  });
  beforeEach(() => {
    kernel.forget();
    kernel.driver = tdxGuestDriver(body);
    kernel.service = quotingService((data) => machine.quote(data));
  });
  afterAll(async () => {
    await Promise.all(opened.map((collector) => collector.close()));
    await kernel.halt();
  });

  function way(options: TdxGuestOptions = {}) {
    const settings = kernel.path('no-settings');
    return tdxGuestWay({ path: kernel.device, cLibrary: kernel.cLibrary, settings, ...options });
  }

  async function open(options: TdxGuestOptions = {}): Promise<CpuCollector> {
    const collector = await way(options).open();
    opened.push(collector);
    return collector;
  }

  async function failure(options: TdxGuestOptions = {}): Promise<string | undefined> {
    const collector = await open(options);
    return collectFailure(() => collector.collect(ASKED));
  }

  /** The service sends these bytes for a right request, and ends. */
  function send(answer: (tdReport: Uint8Array) => Uint8Array | Promise<Uint8Array>): void {
    kernel.service = async (socket, request) => {
      const tdReport = readQuoteRequest(request);
      if (tdReport) socket.end(await answer(tdReport));
      else socket.destroy();
    };
  }

  test('gives evidence that the verifier accepts', async () => {
    const evidence = await (await open()).collect(ASKED);
    const { checks } = await appraiseCpu(evidence, ASKED, 'cpu', {
      policy: { ...DEFAULT_POLICY, cpu: machine.cpu },
      anchors: machine.anchors,
      collateral: machine.collateral,
      now: machine.now,
      crypto: nodeCrypto,
    });
    expect(checks.filter(({ result }) => result === 'fail')).toEqual([]);
    expect(checks.find(({ id }) => id === 'cpu.binding')).toMatchObject({ result: 'pass' });
  });

  test('is asked in the layouts of the driver and of the service', async () => {
    const requests: Uint8Array[] = [];
    const usual = kernel.service;
    kernel.service = (socket, request) => {
      requests.push(request);
      return usual(socket, request);
    };
    await (await open()).collect(ASKED);
    const [{ request, blocks }] = kernel.calls as [(typeof kernel.calls)[number]];
    expect(request).toBe(0xc4405401);
    expect(blocks[0]).toHaveLength(1088);
    expect(blocks[0]!.subarray(0, 64)).toEqual(ASKED);
    const head = '00000418' + '01000000' + '00000000' + '18040000' + '00000000' + '00040000' + '00000000';
    expect(Buffer.from(requests[0]!.subarray(0, 28)).toString('hex')).toBe(head);
    expect(new Uint8Array(requests[0]!.subarray(28))).toEqual(tdReportOf(body, ASKED));
  });

  test('collects again and again, each quote over its own data', async () => {
    const collector = await open();
    for (const fill of [1, 2, 3]) {
      const data = new Uint8Array(64).fill(fill);
      const { report } = (await collector.collect(data)) as { report: Uint8Array };
      expect(parseTdxQuote(report).report.reportData).toEqual(data);
    }
  });

  test('gives the quote without the padding that the service sends', async () => {
    send(async () => withLength(quoteResponse(concat(await machine.quote(ASKED), new Uint8Array(500)))));
    const { report } = (await (await open()).collect(ASKED)) as { report: Uint8Array };
    expect(report).toHaveLength((await machine.quote(ASKED)).length);
  });

  test('takes an answer that names a key, and comes in pieces', async () => {
    kernel.service = async (socket) => {
      const message = quoteResponse(await machine.quote(ASKED), 0, new Uint8Array(16).fill(7));
      const bytes = withLength(message);
      for (const at of [1, 3, 20, 700, bytes.length]) {
        const from = at === 1 ? 0 : [1, 3, 20, 700][[3, 20, 700, bytes.length].indexOf(at)]!;
        socket.write(bytes.subarray(from, at));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      socket.end();
    };
    expect(await failure()).toBeUndefined();
  });

  test('finds the service at the port of the settings, or at a Unix socket', async () => {
    const settings = kernel.path('tdx-attest.conf');
    await writeFile(settings, '# port = 1\n  port =  7000 \n');
    expect(await failure({ settings })).toBe('SERVICE_UNREACHABLE');
    await kernel.offer({ cid: 2, port: 7000 });
    expect(await failure({ settings })).toBeUndefined();
    expect(await failure({ quotingService: { path: await kernel.offer('qgs.socket') } })).toBeUndefined();
  });

  test('takes no port that vsock has not', async () => {
    const settings = kernel.path('wrong.conf');
    await writeFile(settings, 'port = 4294967295\n');
    expect(await collectFailure(() => way({ settings }).open())).toBe('SERVICE_UNREACHABLE');
  });

  describe('of the driver', () => {
    test.each([
      ['refuses', 'EIO', 'DEVICE_REFUSED'],
      ['takes no such argument', 'EINVAL', 'DEVICE_REFUSED'],
      ['knows no such request', 'ENOTTY', 'DEVICE_REFUSED'],
      ['is busy', 'EBUSY', 'DEVICE_BUSY'],
      ['is gone', 'ENODEV', 'DEVICE_LOST'],
    ] as const)('gives nothing where it %s', async (_, errno: Errno, code) => {
      kernel.driver = () => errno;
      expect(await failure()).toBe(code);
    });

    test.each([
      ['a TDREPORT over other report data', () => tdReportOf(body, OTHER), 'EVIDENCE_MISMATCH'],
      ['nothing', () => new Uint8Array(1024), 'EVIDENCE_MALFORMED'],
      [
        'the report of an enclave',
        () => Uint8Array.from([0, ...tdReportOf(body, ASKED).subarray(1)]),
        'EVIDENCE_MALFORMED',
      ],
    ] as const)('gives nothing where it gives %s', async (_, report, code) => {
      kernel.driver = ({ blocks }) => {
        blocks[0]!.set(report(), 64);
        return undefined;
      };
      expect(await failure()).toBe(code);
    });
  });

  test('a service that sends a byte at a time does not fill the memory', async () => {
    let grown = 0;
    kernel.service = async (socket) => {
      const before = process.memoryUsage().arrayBuffers;
      const answer = withLength(quoteResponse(new Uint8Array(100_000)));
      for (let i = 0; i < 1500; i++) {
        socket.write(answer.subarray(i, i + 1));
        for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
      }
      grown = process.memoryUsage().arrayBuffers - before;
      socket.destroy();
    };
    expect(await failure()).toMatch(/^(EVIDENCE_MALFORMED|SERVICE_UNREACHABLE)$/);
    expect(grown).toBeLessThan(20e6);
  });

  describe('of the service', () => {
    const quoteOf = (data: Uint8Array, edit?: (report: DataView) => void) => machine.quote(data, edit);
    const answers: readonly (readonly [string, () => Uint8Array | Promise<Uint8Array>, string])[] = [
      [
        'a quote over other report data',
        async () => quoteResponse(await quoteOf(OTHER)),
        'EVIDENCE_MISMATCH',
      ],
      [
        'a quote of another TD',
        async () => quoteResponse(await quoteOf(ASKED, (report) => report.setUint8(TD.mrTd, 1))),
        'EVIDENCE_MISMATCH',
      ],
      [
        'a quote of the TD after it extended a register',
        async () => quoteResponse(await quoteOf(ASKED, (report) => report.setUint8(TD.rtmr3 + 47, 1))),
        'EVIDENCE_MISMATCH',
      ],
      ['the TDREPORT', () => quoteResponse(tdReportOf(body, ASKED)), 'EVIDENCE_MALFORMED'],
      ['no quote', () => quoteResponse(new Uint8Array()), 'EVIDENCE_MALFORMED'],
      [
        'a quote that is cut off',
        async () => quoteResponse((await quoteOf(ASKED)).subarray(0, -1)),
        'EVIDENCE_MALFORMED',
      ],
      ['an error', () => quoteResponse(new Uint8Array(), 0x12001), 'DEVICE_REFUSED'],
      ['an error and a quote', async () => quoteResponse(await quoteOf(ASKED), 1), 'DEVICE_REFUSED'],
      [
        'a message cut down to its header',
        () => quoteResponse(new Uint8Array()).subarray(0, 16),
        'EVIDENCE_MALFORMED',
      ],
      [
        'a key name that is too long',
        () => quoteResponse(new Uint8Array(), 0, new Uint8Array(257)),
        'EVIDENCE_MALFORMED',
      ],
      [
        'bytes after the quote',
        async () => altered(await quoteOf(ASKED), (view) => view.setUint32(20, 100, true)),
        'EVIDENCE_MALFORMED',
      ],
      [
        'a quote beyond the message',
        async () => altered(await quoteOf(ASKED), (view) => view.setUint32(20, 0xffff_ffff, true)),
        'EVIDENCE_MALFORMED',
      ],
      [
        'another size than the length',
        async () => altered(await quoteOf(ASKED), (view) => view.setUint32(8, 24, true)),
        'EVIDENCE_MALFORMED',
      ],
      [
        'another version',
        async () => altered(await quoteOf(ASKED), (view) => view.setUint16(0, 2, true)),
        'EVIDENCE_MALFORMED',
      ],
      [
        'another type',
        async () => altered(await quoteOf(ASKED), (view) => view.setUint32(4, 3, true)),
        'EVIDENCE_MALFORMED',
      ],
      ['more than a quote can have', () => quoteResponse(new Uint8Array(129 * 1024)), 'EVIDENCE_MALFORMED'],
    ];
    test.each(answers)('gives nothing where it sends %s', async (_, message, code) => {
      send(async () => withLength(await message()));
      expect(await failure()).toBe(code);
    });

    test.each([
      ['without a byte', 0],
      ['in the length', 3],
      ['after the length', 4],
      ['in the quote', 900],
    ])('gives nothing where it ends %s', async (_, at) => {
      send(async () => withLength(quoteResponse(await quoteOf(ASKED))).subarray(0, at));
      expect(await failure()).toBe('EVIDENCE_MALFORMED');
    });

    test.each([0, 23, 0x1000_0000, 0xffff_ffff])(
      'gives nothing where it announces %d bytes',
      async (length) => {
        send(() => {
          const prefix = new Uint8Array(100);
          new DataView(prefix.buffer).setUint32(0, length, false);
          return prefix;
        });
        expect(await failure()).toBe('EVIDENCE_MALFORMED');
      },
    );

    test.each([
      ['says nothing', () => undefined],
      ['sends a byte now and then', (socket: Socket) => trickle(socket)],
    ])('is given up at the deadline where it %s', async (_, service) => {
      kernel.service = service;
      expect(await failure({ deadlineMs: 300 })).toBe('DEVICE_TIMEOUT');
    });

    test('gives nothing where nobody listens', async () => {
      expect(await failure({ quotingService: { cid: 2, port: 4051 } })).toBe('SERVICE_UNREACHABLE');
      expect(await failure({ quotingService: { path: kernel.path('nobody') } })).toBe('SERVICE_UNREACHABLE');
    });

    test('is asked again after it failed', async () => {
      const collector = await open();
      const usual = kernel.service;
      kernel.service = (socket) => void socket.destroy();
      expect(await collectFailure(() => collector.collect(ASKED))).toBeDefined();
      kernel.service = usual;
      expect(await collectFailure(() => collector.collect(ASKED))).toBeUndefined();
    });

    /** A response with a quote whose fixed part was altered. */
    function altered(quote: Uint8Array, edit: (view: DataView) => void): Uint8Array {
      const message = quoteResponse(quote);
      edit(new DataView(message.buffer));
      return message;
    }

    function trickle(socket: Socket): void {
      socket.write(Uint8Array.of(0, 0, 4, 0));
      const timer = setInterval(() => socket.write(Uint8Array.of(0)), 20);
      socket.on('close', () => clearInterval(timer));
    }
  });

  test('is not asked twice at a time, and nothing more once it is closed', async () => {
    const collector = await open();
    const codes = await Promise.all(
      [ASKED, OTHER].map((data) => collectFailure(() => collector.collect(data))),
    );
    expect(codes).toEqual([undefined, 'DEVICE_BUSY']);
    await collector.close();
    await collector.close();
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('STOPPED');
  });

  test('gives the boot log where firmware left one', async () => {
    const ccel = kernel.path('ccel');
    const collector = await open({ ccel });
    await expect(collector.bootLog()).resolves.toBeUndefined();
    await writeFile(ccel, concat(machine.bootLog, new Uint8Array(5000).fill(0xff)));
    const log = await collector.bootLog();
    expect(log!.subarray(0, machine.bootLog.length)).toEqual(machine.bootLog);
  });

  test('is found with its service, and neither is asked anything', async () => {
    let requests = 0;
    kernel.service = () => {
      requests++;
    };
    await expect(way().find()).resolves.toMatchObject({ way: 'tdx-guest', state: 'usable' });
    expect([kernel.calls.length, requests]).toEqual([0, 0]);
  });

  test.each([
    ['the device is not there', { path: '/nowhere/tdx_guest' }, 'absent'],
    ['the C library is not there', { cLibrary: '/nowhere/libc.so' }, 'unusable'],
    ['the service is not there', { quotingService: { cid: 2, port: 4051 } }, 'unusable'],
  ] as const)('is named with a fix where %s', async (_, options, state) => {
    await expect(way(options).find()).resolves.toMatchObject({ state, fix: expect.any(String) });
  });

  test.each([0, 63, 65])('takes no %d bytes of report data', async (length) => {
    await expect((await open()).collect(new Uint8Array(length))).rejects.toThrow(RangeError);
    expect(kernel.calls).toEqual([]);
  });
});
