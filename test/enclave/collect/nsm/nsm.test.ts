import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { decode, encode } from 'cborg';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseCpu } from '../../../../attestation/evidence/cpu.ts';
import type { NitroEvidence } from '../../../../attestation/evidence/evidence.ts';
import { parseNitroDocument } from '../../../../attestation/evidence/nitro/parse.ts';
import { DEFAULT_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { documentForPublicKey, nsmWay, type NsmOptions } from '../../../../enclave/collect/nsm/way.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { describeIoctl, GuestKernel, nsmDriver, type Errno } from '../../../support/guestKernel.ts';
import { mintNitro, mintNitroTpm, type NitroMachine } from '../../../support/platforms.ts';

const ASKED = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
const OTHER = new Uint8Array(64).fill(9);
const KEY = new Uint8Array(294).fill(0x30);
const DESCRIPTION = {
  version_major: 1,
  version_minor: 0,
  version_patch: 0,
  module_id: 'i-0123456789abcdef0-enc0fedcba987654321',
  max_pcrs: 32,
  locked_pcrs: [0, 1, 2],
  digest: 'SHA384',
};

/** Members of a request for a document. */
interface Ask {
  readonly user_data: Uint8Array | null;
  readonly nonce: Uint8Array | null;
  readonly public_key: Uint8Array | null;
}

describeIoctl('the security module of a Nitro enclave', () => {
  let kernel: GuestKernel;
  let machine: NitroMachine;
  const asks: unknown[] = [];
  const opened: CpuCollector[] = [];

  beforeAll(async () => {
    [kernel, machine] = await Promise.all([GuestKernel.boot(), mintNitro()]);
  });
  beforeEach(() => {
    kernel.forget();
    asks.length = 0;
    answer(async (ask) => (await machine.mint({ ...ask })).report);
  });
  afterAll(async () => {
    await Promise.all(opened.map((collector) => collector.close()));
    await kernel.halt();
  });

  /** The module makes documents so. */
  function answer(document: (ask: Ask) => Uint8Array | Promise<Uint8Array>): void {
    kernel.driver = nsmDriver(async (bytes) => {
      const request = decode(bytes) as unknown;
      asks.push(request);
      if (request === 'DescribeNSM') return encode({ DescribeNSM: DESCRIPTION });
      const { Attestation } = request as { readonly Attestation: Ask };
      return encode({ Attestation: { document: await document(Attestation) } });
    });
  }

  const settings = (options: NsmOptions = {}): NsmOptions => ({
    path: kernel.device,
    cLibrary: kernel.cLibrary,
    ...options,
  });
  const way = (options: NsmOptions = {}) => nsmWay(settings(options));

  async function open(options: NsmOptions = {}): Promise<CpuCollector> {
    const collector = await way(options).open();
    opened.push(collector);
    return collector;
  }

  async function failure(options: NsmOptions = {}): Promise<string | undefined> {
    const collector = await open(options);
    return collectFailure(() => collector.collect(ASKED));
  }

  test('gives evidence that the verifier accepts', async () => {
    const collector = await open();
    const evidence = await collector.collect(ASKED);
    const { checks } = await appraiseCpu(evidence, ASKED, 'cpu', {
      policy: { ...DEFAULT_POLICY, cpu: machine.cpu },
      anchors: machine.anchors,
      collateral: machine.collateral,
      now: machine.now,
      crypto: nodeCrypto,
    });
    expect(checks.filter(({ result }) => result === 'fail')).toEqual([]);
    expect(checks.find(({ id }) => id === 'cpu.binding')).toMatchObject({ result: 'pass' });
    await expect(collector.bootLog()).resolves.toBeUndefined();
  });

  test('is asked with user data alone, in the layout of the driver', async () => {
    await (await open()).collect(ASKED);
    expect(asks).toEqual([{ Attestation: { user_data: ASKED, nonce: null, public_key: null } }]);
    const [{ request, blocks }] = kernel.calls as [(typeof kernel.calls)[number]];
    expect(request).toBe(0xc0200a00);
    expect(blocks.map(({ length }) => length)).toEqual([32, blocks[1]!.length, 0x3000]);
  });

  test('collects again and again, each document over its own data', async () => {
    const collector = await open();
    for (const fill of [1, 2, 3]) {
      const data = new Uint8Array(64).fill(fill);
      const { report } = (await collector.collect(data)) as NitroEvidence;
      expect(new Uint8Array(parseNitroDocument(report).userData!)).toEqual(data);
    }
  });

  const documents: readonly (readonly [string, () => Promise<Uint8Array>, string])[] = [
    ['other user data', () => mint({ user_data: OTHER }), 'EVIDENCE_MISMATCH'],
    ['a part of our user data', () => mint({ user_data: ASKED.subarray(0, 63) }), 'EVIDENCE_MISMATCH'],
    ['no user data', () => mint({}), 'EVIDENCE_MISMATCH'],
    ['our data for a nonce', () => mint({ nonce: ASKED }), 'EVIDENCE_MISMATCH'],
    ['a nonce besides', () => mint({ user_data: ASKED, nonce: OTHER }), 'EVIDENCE_MISMATCH'],
    ['a public key besides', () => mint({ user_data: ASKED, public_key: KEY }), 'EVIDENCE_MISMATCH'],
    [
      'the registers of NitroTPM',
      async () => (await (await mintNitroTpm()).mint({ user_data: ASKED })).report,
      'EVIDENCE_MALFORMED',
    ],
    [
      'a document that is cut off',
      async () => (await mint({ user_data: ASKED })).subarray(0, -1),
      'EVIDENCE_MALFORMED',
    ],
    [
      'a document that is too long for its buffer',
      () => Promise.resolve(new Uint8Array(0x3000)),
      'EVIDENCE_MALFORMED',
    ],
    ['something else', () => Promise.resolve(Uint8Array.of(1, 2, 3)), 'EVIDENCE_MALFORMED'],
  ];
  test.each(documents)('that answers with %s is refused', async (_, document, code) => {
    answer(document);
    expect(await failure()).toBe(code);
  });

  async function mint(changes: Readonly<Record<string, unknown>>): Promise<Uint8Array> {
    return (await machine.mint(changes)).report;
  }

  test.each([
    ['an error', encode({ Error: 'InternalError' }), 'DEVICE_REFUSED'],
    [
      'an answer to another request',
      encode({ GetRandom: { random: Uint8Array.of(1) } }),
      'EVIDENCE_MALFORMED',
    ],
    ['nothing', new Uint8Array(), 'EVIDENCE_MALFORMED'],
  ])('that answers with %s is refused', async (_, bytes, code) => {
    kernel.driver = nsmDriver(() => bytes);
    expect(await failure()).toBe(code);
  });

  test.each([0n, 0x3001n, 0xffff_ffff_ffff_ffffn])(
    'that says it answered %d bytes is refused',
    async (length) => {
      kernel.driver = ({ blocks }) => {
        new DataView(blocks[0]!.buffer).setBigUint64(24, length, true);
        return undefined;
      };
      expect(await failure()).toBe('EVIDENCE_MALFORMED');
    },
  );

  test.each([
    ['takes no such request', 'EINVAL', 'DEVICE_REFUSED'],
    ['finds the request too long', 'EMSGSIZE', 'DEVICE_REFUSED'],
    ['has no answer', 'ENODATA', 'DEVICE_REFUSED'],
    ['waited two minutes', 'ETIMEDOUT', 'DEVICE_TIMEOUT'],
    ['is busy', 'EBUSY', 'DEVICE_BUSY'],
    ['is gone', 'ENODEV', 'DEVICE_LOST'],
    ['may not be asked', 'EPERM', 'PERMISSION_DENIED'],
  ] as const)('whose driver %s gives nothing', async (_, errno: Errno, code) => {
    kernel.driver = () => errno;
    expect(await failure()).toBe(code);
  });

  test('that is slow is given up at the deadline, and busy until it has answered', async () => {
    let release: (() => void) | undefined;
    const slow = new Promise<void>((resolve) => (release = resolve));
    answer(async (ask) => {
      await slow;
      return mint({ ...ask });
    });
    const collector = await open({ deadlineMs: 1500 });
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('DEVICE_TIMEOUT');
    expect(await collectFailure(() => collector.collect(OTHER))).toBe('DEVICE_BUSY');
    release?.();
    let code: string | undefined = 'DEVICE_BUSY';
    while (code === 'DEVICE_BUSY') {
      code = await collectFailure(() => collector.collect(ASKED));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(code).toBeUndefined();
  });

  test('that is closed gives nothing', async () => {
    const collector = await open();
    await collector.close();
    await collector.close();
    expect(await collectFailure(() => collector.collect(ASKED))).toBe('STOPPED');
  });

  test.each([0, 63, 65])('takes no %d bytes of report data', async (length) => {
    await expect((await open()).collect(new Uint8Array(length))).rejects.toThrow(RangeError);
    expect(asks).toEqual([]);
  });

  describe('found', () => {
    test('is described, and asked for no document', async () => {
      const { state, detail } = await way().find();
      expect(state).toBe('usable');
      expect(detail).toContain(DESCRIPTION.module_id);
      expect(asks).toEqual(['DescribeNSM']);
    });

    test.each([
      ['the device is not there', { path: '/nowhere/nsm' }, 'absent'],
      ['the C library is not there', { cLibrary: '/nowhere/libc.so' }, 'unusable'],
    ] as const)('is named with a fix where %s', async (_, options, state) => {
      await expect(way(options).find()).resolves.toMatchObject({
        way: 'nsm',
        state,
        fix: expect.any(String),
      });
    });

    test('is named with a fix where the module does not answer', async () => {
      kernel.driver = () => 'ENODATA';
      await expect(way().find()).resolves.toMatchObject({ state: 'unusable', fix: expect.any(String) });
    });
  });

  describe('asked for a document with a public key', () => {
    const ask = () => documentForPublicKey(KEY, settings());

    test('gives one with the key and nothing else', async () => {
      const { publicKey, userData, nonce } = parseNitroDocument(await ask());
      expect(new Uint8Array(publicKey!)).toEqual(KEY);
      expect([userData, nonce]).toEqual([undefined, undefined]);
      expect(asks).toEqual([{ Attestation: { user_data: null, nonce: null, public_key: KEY } }]);
    });

    test('gives nothing that passes for evidence of the service', async () => {
      const report = await ask();
      const { checks } = await appraiseCpu({ platform: 'nitro', report }, KEY.subarray(0, 64), 'cpu', {
        policy: { ...DEFAULT_POLICY, cpu: machine.cpu },
        anchors: machine.anchors,
        collateral: machine.collateral,
        now: machine.now,
        crypto: nodeCrypto,
      });
      expect(checks.find(({ id }) => id === 'cpu.binding')).toMatchObject({ result: 'fail' });
    });

    test.each([
      ['another key', { public_key: OTHER }, 'EVIDENCE_MISMATCH'],
      ['no key', {}, 'EVIDENCE_MISMATCH'],
      ['user data besides', { public_key: KEY, user_data: ASKED }, 'EVIDENCE_MISMATCH'],
      ['a nonce besides', { public_key: KEY, nonce: ASKED }, 'EVIDENCE_MISMATCH'],
    ])('is refused where it answers with %s', async (_, changes, code) => {
      answer(() => mint(changes));
      expect(await collectFailure(ask)).toBe(code);
    });

    test('takes no key that a document cannot carry', async () => {
      for (const length of [0, 1025]) {
        await expect(documentForPublicKey(new Uint8Array(length), settings())).rejects.toThrow(RangeError);
      }
    });

    test('names a device that is not there', async () => {
      const missing = settings({ path: kernel.path('none') });
      expect(await collectFailure(() => documentForPublicKey(KEY, missing))).toBe('DEVICE_MISSING');
    });
  });
});
