import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { concat, equalBytes, toHex } from '../../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import type { TpmEvidence } from '../../../../attestation/evidence/evidence.ts';
import type { TpmPolicy } from '../../../../attestation/policy/tpm.ts';
import { CC, EMPTY_2B, u16be, u32be } from '../../../../enclave/collect/tpm/command.ts';
import { readAttestationKey, tpmWay, type TpmWayOptions } from '../../../../enclave/collect/tpm/collector.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { ECC_AK_TEMPLATE } from '../../../../enclave/collect/tpm/keys.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { cpuFailures, judgeDocument, mintDocument, NO_PLATFORM } from '../../../support/evidenceDocument.ts';
import {
  codeOf,
  describeSwtpm,
  response,
  startSwtpm,
  type AtTheDoor,
  type Swtpm,
} from '../../../support/swtpm.ts';
import * as tpm from '../../../support/tpmAuthority.ts';

const REPORT_DATA = new Uint8Array(randomBytes(64));
const EXTEND = 0x182;

const POLICY: TpmPolicy = {
  attestationKeys: 'any',
  googleProjects: 'any',
  minimumFirmware: 'any',
  clock: 'any',
  pcrs: { bank: 'sha256', values: { '0': [{ name: 'nothing measured', value: '00'.repeat(32) }] } },
  revocation: 'when-present',
};

describeSwtpm('a TPM', () => {
  let swtpm: Swtpm;
  let authority: tpm.TpmAuthority;
  let certificates: readonly Uint8Array[];
  let collector: CpuCollector;

  const options = (changes: Partial<TpmWayOptions> = {}): TpmWayOptions => ({
    address: swtpm.address,
    certificates,
    ...changes,
  });
  const open = (changes: Partial<TpmWayOptions> = {}) => tpmWay(options(changes)).open();
  const failure = () => collectFailure(() => collector.collect(REPORT_DATA));

  beforeAll(async () => {
    swtpm = await startSwtpm();
    authority = await tpm.mintTpmAuthority('tpm');
    const spki = await readAttestationKey({ address: swtpm.address });
    certificates = [await tpm.certifyKey(authority, spki), authority.ca, authority.root];
    collector = await open();
  });
  afterEach(async () => {
    swtpm.atTheDoor = undefined;
    await swtpm.forgetKeys();
  });
  afterAll(async () => {
    await collector.close();
    await swtpm.stop();
  });

  /** Extends PCR 16, which is there to try things. */
  async function extend(pcr = 16): Promise<void> {
    await swtpm.run({
      name: 'PCR_Extend',
      code: EXTEND,
      handles: [pcr],
      authorizations: 1,
      parameters: concat(u32be(1), u16be(0x000b), new Uint8Array(32).fill(7)),
      responseHandles: 0,
    });
  }

  /** Of a document made of what the collector gives. */
  async function failed(from: CpuCollector = collector) {
    const platform = {
      collectCpu: (reportData: Uint8Array) => from.collect(reportData),
      cpu: { ...NO_PLATFORM, tpm: POLICY },
      anchors: [{ ...authority.anchor, simulated: false }],
      collateral: NO_COLLATERAL,
      now: tpm.NOW,
    };
    const verdict = await judgeDocument(await mintDocument(platform.collectCpu), platform);
    return cpuFailures(verdict);
  }

  test('gives evidence that the production verifier accepts', async () => {
    expect(await failed()).toEqual([]);
  });

  test('covers all 24 registers, also after one was extended', async () => {
    const before = (await collector.collect(REPORT_DATA)) as TpmEvidence;
    await extend();
    const after = (await collector.collect(REPORT_DATA)) as TpmEvidence;
    expect([...after.tpm.pcrs.values.keys()]).toEqual(Array.from({ length: 24 }, (_, index) => index));
    expect(after.tpm.pcrs.values.get(16)).not.toEqual(before.tpm.pcrs.values.get(16));
    expect(await failed()).toEqual([]);
  });

  test('quotes another bank where it is asked to', async () => {
    const other = await open({ bank: 'sha384' });
    const evidence = (await other.collect(REPORT_DATA)) as TpmEvidence;
    expect(evidence.tpm.pcrs.hash).toBe('sha384');
    expect(evidence.tpm.pcrs.values.get(0)).toHaveLength(48);
  });

  test('keeps no keys in the TPM', async () => {
    for (let i = 0; i < 5; i++) await collector.collect(REPORT_DATA);
    const command = {
      name: 'GetCapability',
      code: CC.getCapability,
      handles: [],
      responseHandles: 0,
    } as const;
    const parameters = concat(u32be(1), u32be(0x80000000), u32be(8));
    const { parameters: answer } = await swtpm.run({ ...command, authorizations: 0, parameters });
    expect(toHex(answer)).toBe('000000000100000000');
  });

  test('uses a persistent key', async () => {
    await swtpm.persist(0x81000010, ECC_AK_TEMPLATE);
    const persistent = await open({ keyHandle: 0x81000010 });
    expect(await failed(persistent)).toEqual([]);
    expect(await collectFailure(() => open({ keyHandle: 0x81000011 }))).toBe('DEVICE_MISSING');
  });

  test('refuses a storage key for an attestation key', async () => {
    await swtpm.persist(0x81000012, STORAGE_TEMPLATE);
    expect(await collectFailure(() => open({ keyHandle: 0x81000012 }))).toBe('EVIDENCE_MISMATCH');
  });

  test('takes no certificate of another key', async () => {
    const foreign = await tpm.generateEc();
    const leaf = await authority.issueLeaf(foreign);
    expect(await collectFailure(() => open({ certificates: [leaf] }))).toBe('EVIDENCE_MISMATCH');
    expect(await collectFailure(() => open({ certificates: [Uint8Array.of(1)] }))).toBe('EVIDENCE_MALFORMED');
    expect(await collectFailure(() => open({ certificates: [] }))).toBe('DEVICE_MISSING');
  });

  test('says what it found', async () => {
    const way = tpmWay(options());
    expect(await way.find()).toMatchObject({ way: 'tpm', state: 'usable' });
    const bare = await tpmWay(options({ certificates: [] })).find();
    expect(bare.state).toBe('unusable');
    expect(bare.fix).toBeDefined();
    const nowhere = tpmWay(options({ address: { kind: 'device', path: '/dev/vouchsafe-no-tpm' } }));
    expect(await nowhere.find()).toMatchObject({ state: 'absent' });
    const closed = tpmWay(options({ address: { kind: 'socket', host: '127.0.0.1', port: 1 } }));
    expect(await closed.find()).toMatchObject({ state: 'absent' });
  });

  test('is busy for a second caller, and free for the next one', async () => {
    const both = await Promise.allSettled([collector.collect(REPORT_DATA), collector.collect(REPORT_DATA)]);
    expect(both.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(await failure()).toBeUndefined();
  });

  test('does nothing once it is closed', async () => {
    const closed = await open();
    await closed.close();
    expect(await collectFailure(() => closed.collect(REPORT_DATA))).toBe('STOPPED');
  });

  test('gives the log of measured boot, and none where firmware left none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-log-'));
    const eventLogPath = join(folder, 'binary_bios_measurements');
    const logged = await open({ eventLogPath });
    expect(await logged.bootLog()).toBeUndefined();
    const log = new Uint8Array(randomBytes(200_000));
    await writeFile(eventLogPath, log);
    expect(equalBytes((await logged.bootLog())!, log)).toBe(true);
    await writeFile(eventLogPath, new Uint8Array(4 * 1024 * 1024 + 1));
    expect(await collectFailure(() => logged.bootLog())).toBe('EVIDENCE_MALFORMED');
    await rm(folder, { recursive: true });
  });

  /** Changes the answers to commands of one code. */
  function answering(
    code: number,
    change: (answer: Uint8Array, command: Uint8Array) => Awaited<ReturnType<AtTheDoor>>,
  ): void {
    swtpm.atTheDoor = async (command, send) => {
      const answer = await send(command);
      return codeOf(command) === code ? change(answer, command) : answer;
    };
  }

  test.each([
    ['a response cut off in its parameters', (bytes: Uint8Array) => resized(bytes.slice(0, -5))],
    ['a size field of four gigabytes', (bytes: Uint8Array) => sizedAs(bytes, 0xffffffff)],
    ['a size field below its own header', (bytes: Uint8Array) => sizedAs(bytes, 9)],
    ['bytes behind the response', (bytes: Uint8Array) => concat(bytes, Uint8Array.of(0))],
    ['bytes behind the parameters', (bytes: Uint8Array) => resized(concat(bytes, Uint8Array.of(0)))],
    ['the tag of a response without sessions', (bytes: Uint8Array) => tagged(bytes, 0x8001)],
    ['a tag that no TPM has', (bytes: Uint8Array) => tagged(bytes, 0x1234)],
    ['parameters longer than the response', (bytes: Uint8Array) => patched(bytes, 10, [0xff, 0xff])],
    ['an empty response', () => response(0)],
  ])('refuses a quote with %s', async (_, corrupt) => {
    answering(CC.quote, corrupt);
    expect(await failure()).toBe('EVIDENCE_MALFORMED');
    swtpm.atTheDoor = undefined;
    expect(await failure()).toBeUndefined();
  });

  test('waits for the rest of a response that comes in pieces, and not for ever', async () => {
    const slow = await open({ timeoutMs: 300 });
    answering(CC.quote, (answer) => answer.subarray(0, 20));
    expect(await collectFailure(() => slow.collect(REPORT_DATA))).toBe('DEVICE_TIMEOUT');
    swtpm.atTheDoor = undefined;
    expect(await collectFailure(() => slow.collect(REPORT_DATA))).toBeUndefined();
  });

  test.each([
    ['RETRY', 0x922],
    ['YIELDED', 0x908],
    ['TESTING', 0x90a],
  ])('asks again after %s', async (_, code) => {
    let left = 3;
    answering(CC.quote, (answer) => (left-- > 0 ? response(code) : answer));
    expect(await failure()).toBeUndefined();
    expect(left).toBe(-1);
  });

  test('gives up on a TPM that says RETRY for ever', async () => {
    const impatient = await open({ timeoutMs: 300 });
    answering(CC.quote, () => response(0x922));
    expect(await collectFailure(() => impatient.collect(REPORT_DATA))).toBe('DEVICE_BUSY');
  });

  test.each([
    ['no answer', 'hang', 'DEVICE_TIMEOUT'],
    ['the end of the connection', 'hang up', 'DEVICE_LOST'],
    ['a failure', response(0x101), 'DEVICE_REFUSED'],
    ['a wrong password', response(0x9a2), 'PERMISSION_DENIED'],
    ['a failure of TPM 1.2', response(0x1e, undefined, 0x00c4), 'EVIDENCE_MALFORMED'],
  ] as const)('fails closed on %s', async (_, answer, code) => {
    const impatient = await open({ timeoutMs: 400 });
    answering(CC.quote, () => answer);
    expect(await collectFailure(() => impatient.collect(REPORT_DATA))).toBe(code);
  });

  test('refuses a quote for other extraData', async () => {
    swtpm.atTheDoor = (command, send) => {
      if (codeOf(command) !== CC.quote) return send(command);
      // Handles and password area end at 31; the size of the nonce follows.
      return send(patched(command, 33, [(command[33] ?? 0) ^ 1]));
    };
    expect(await failure()).toBe('EVIDENCE_MISMATCH');
  });

  test('refuses a quote of an earlier collection', async () => {
    let kept: Uint8Array | undefined;
    answering(CC.quote, (answer) => (kept ??= answer));
    await collector.collect(new Uint8Array(64).fill(1));
    expect(await failure()).toBe('EVIDENCE_MISMATCH');
  });

  test('refuses a quote over fewer registers', async () => {
    swtpm.atTheDoor = (command, send) =>
      send(codeOf(command) === CC.quote ? patched(command, command.length - 1, [0]) : command);
    expect(await failure()).toBe('EVIDENCE_MISMATCH');
  });

  test('refuses a quote whose signature is another', async () => {
    answering(CC.quote, (answer) => patched(answer, answer.length - 10, [(answer.at(-10) ?? 0) ^ 1]));
    expect(await failure()).toBe('EVIDENCE_MISMATCH');
  });

  test('reads registers again that change between reading and quoting', async () => {
    let left = 1;
    swtpm.atTheDoor = async (command, send) => {
      if (codeOf(command) === CC.quote && left-- > 0) await extend();
      return send(command);
    };
    expect(await failed()).toEqual([]);
  });

  test('quotes again where registers change on both sides of the quote', async () => {
    let left = 1;
    swtpm.atTheDoor = async (command, send) => {
      const quoting = codeOf(command) === CC.quote && left-- > 0;
      if (quoting) await extend();
      const answer = await send(command);
      if (quoting) await extend();
      return answer;
    };
    expect(await failed()).toEqual([]);
  });

  test('gives up on registers that change all the time', async () => {
    swtpm.atTheDoor = async (command, send) => {
      if (codeOf(command) === CC.quote) await extend();
      const answer = await send(command);
      if (codeOf(command) === CC.quote) await extend();
      return answer;
    };
    expect(await failure()).toBe('EVIDENCE_MISMATCH');
  });

  test('refuses values of registers that were not asked for', async () => {
    answering(CC.pcrRead, (answer) => {
      const selected = answer.subarray(20, 23);
      return patched(answer, 20, [selected[0]! ^ 1, selected[1]!, selected[2]!]);
    });
    expect(await failure()).toBe('EVIDENCE_MALFORMED');
  });

  test('refuses a bank that the TPM does not have', async () => {
    answering(CC.pcrRead, (answer) => response(0, concat(answer.subarray(10, 14), EMPTY_BANK)));
    expect(await failure()).toBe('DEVICE_REFUSED');
  });
});

/** One SHA-256 bank without a register, and no values. */
const EMPTY_BANK = concat(u32be(1), u16be(0x000b), Uint8Array.of(3, 0, 0, 0), u32be(0));

/** TCG storage key: ECC P-256, restricted, decrypt, AES-128-CFB. */
const STORAGE_TEMPLATE = concat(
  u16be(0x0023),
  u16be(0x000b),
  u32be(0x00030472),
  EMPTY_2B,
  concat(u16be(0x0006), u16be(128), u16be(0x0043)),
  u16be(0x0010),
  u16be(0x0003),
  u16be(0x0010),
  concat(EMPTY_2B, EMPTY_2B),
);
function patched(bytes: Uint8Array, at: number, values: readonly number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(values, at);
  return copy;
}

function sizedAs(bytes: Uint8Array, size: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(2, size);
  return copy;
}

function resized(bytes: Uint8Array): Uint8Array {
  return sizedAs(bytes, bytes.length);
}

function tagged(bytes: Uint8Array, tag: number): Uint8Array {
  return patched(bytes, 0, [tag >> 8, tag & 0xff]);
}
