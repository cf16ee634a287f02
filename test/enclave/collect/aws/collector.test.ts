import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { decode, encode } from 'cborg';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { nitroTpmWay } from '../../../../enclave/collect/aws/collector.ts';
import { MESSAGE_BUFFER, NSM_REQUEST, parseAnswer } from '../../../../enclave/collect/aws/nsmRequest.ts';
import type { CpuCollector } from '../../../../enclave/collect/collector.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import { NV } from '../../../../enclave/collect/tpm/nv.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { cpuFailures, judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { fakeNitroTpm, userDataOf, type FakeNitroTpm } from '../../../support/nitroTpm.ts';
import { mintNitro, mintNitroTpm, type NitroMachine } from '../../../support/platforms.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { codeOf, describeSwtpm, response, startSwtpm, type Swtpm } from '../../../support/swtpm.ts';

const REPORT_DATA = new Uint8Array(randomBytes(64));

function attested(document: Uint8Array): Uint8Array {
  return encode({ Attestation: { document } });
}

describeSwtpm('NitroTPM', () => {
  let swtpm: Swtpm;
  let machine: NitroMachine;
  let nitro: FakeNitroTpm;
  let collector: CpuCollector;

  const answerWell = async (request: Uint8Array) =>
    attested((await machine.collectCpu(userDataOf(request))).report);
  const options = () => ({ address: swtpm.address, timeoutMs: 5_000 });
  const failure = () => collectFailure(() => collector.collect(REPORT_DATA));

  beforeAll(async () => {
    machine = await mintNitroTpm();
    swtpm = await startSwtpm();
    nitro = fakeNitroTpm(answerWell);
    swtpm.atTheDoor = nitro.atTheDoor;
    collector = await nitroTpmWay(options()).open();
  });
  afterEach(() => {
    Object.assign(nitro, { buffer: undefined, isNitro: true, answer: answerWell });
    swtpm.atTheDoor = nitro.atTheDoor;
  });
  afterAll(async () => {
    await collector.close();
    await swtpm.stop();
  });

  test('gives documents that the production verifier accepts', async () => {
    const document = await mintDocument((reportData) => collector.collect(reportData));
    expect(cpuFailures(await judgeDocument(document, machine))).toEqual([]);
    expect(nitro.buffer).toBeUndefined();
  });

  test('asks for user_data alone', async () => {
    let request: Uint8Array = new Uint8Array();
    nitro.answer = (buffer) => {
      request = buffer.slice();
      return answerWell(buffer);
    };
    await collector.collect(REPORT_DATA);
    // cborg sorts keys by length; AWS's API writes them in the order of its structure.
    const wanted = { Attestation: { user_data: REPORT_DATA, nonce: null, public_key: null } };
    const { length } = encode(wanted);
    expect(decode(request.subarray(0, length))).toEqual(wanted);
    expect(request.subarray(length).every((byte) => byte === 0xff)).toBe(true);
  });

  test('says what it found', async () => {
    expect(await nitroTpmWay(options()).find()).toMatchObject({ way: 'nitrotpm', state: 'usable' });
    nitro.isNitro = false;
    expect(await nitroTpmWay(options()).find()).toMatchObject({ state: 'absent' });
    expect(await collectFailure(() => nitroTpmWay(options()).open())).toBe('DEVICE_MISSING');
  });

  test('clears the buffer that a crash left, and no other', async () => {
    nitro.buffer = new Uint8Array(8192);
    Object.assign(nitro, { attributes: MESSAGE_BUFFER.attributes | NV.written, size: 8192 });
    expect(await failure()).toBeUndefined();
    nitro.buffer = new Uint8Array(100);
    Object.assign(nitro, { attributes: NV.ownerRead, size: 100 });
    expect(await failure()).toBe('DEVICE_REFUSED');
    expect(nitro.buffer).toHaveLength(100);
  });

  test.each<[string, () => Uint8Array | Promise<Uint8Array>, string]>([
    [
      'a document for other user_data',
      async () => attested((await machine.collectCpu(new Uint8Array(64))).report),
      'EVIDENCE_MISMATCH',
    ],
    [
      'a document without user_data',
      async () => attested((await machine.mint({ user_data: null })).report),
      'EVIDENCE_MISMATCH',
    ],
    [
      'a document with a nonce',
      async () => attested((await machine.mint({ user_data: REPORT_DATA, nonce: Uint8Array.of(1) })).report),
      'EVIDENCE_MISMATCH',
    ],
    [
      'a document of an enclave',
      async () => attested((await (await mintNitro()).collectCpu(REPORT_DATA)).report),
      'EVIDENCE_MISMATCH',
    ],
    [
      'a document that is cut off',
      async () => attested((await machine.collectCpu(REPORT_DATA)).report.subarray(0, 900)),
      'EVIDENCE_MALFORMED',
    ],
    ['an error', () => encode({ Error: 'InternalError' }), 'DEVICE_REFUSED'],
    ['an answer to another request', () => encode({ GetRandom: { random: [] } }), 'EVIDENCE_MALFORMED'],
    ['no document', () => attested(new Uint8Array()), 'EVIDENCE_MALFORMED'],
    ['no answer', () => new Uint8Array(), 'EVIDENCE_MALFORMED'],
    [
      'a document longer than the buffer',
      () => Uint8Array.of(0xa1, 0x6b, ...Buffer.from('Attestation'), 0xa1, 0x68, ...DOCUMENT, 0x59, 0x30, 0),
      'EVIDENCE_MALFORMED',
    ],
  ])('refuses %s', async (_, answer, code) => {
    nitro.answer = async () => answer();
    expect(await failure()).toBe(code);
    expect(nitro.buffer).toBeUndefined();
  });

  test('ends with the buffer where the TPM refuses the request', async () => {
    swtpm.atTheDoor = (command, send) =>
      codeOf(command) === NSM_REQUEST ? Promise.resolve(response(0x143)) : nitro.atTheDoor(command, send);
    expect(await failure()).toBe('DEVICE_REFUSED');
    expect(nitro.buffer).toBeUndefined();
  });
});

const DOCUMENT = Buffer.from('document');

describe('answers of NitroTPM', () => {
  test(
    'give the document, whatever follows it',
    () => {
      const bytes = fc.uint8Array({ minLength: 1, maxLength: 600 });
      const property = fc.property(bytes, fc.uint8Array({ maxLength: 20 }), (document, rest) => {
        expect(parseAnswer(concat(attested(document), rest))).toEqual(document);
      });
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'are taken or refused with a code, whatever bytes they are',
    () => {
      const whole = attested(new Uint8Array(300).fill(7));
      const flips = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 });
      const property = fc.property(flips, fc.nat(whole.length), (changes, length) => {
        const bytes = whole.slice(0, length);
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        try {
          parseAnswer(bytes);
        } catch (error) {
          if (!(error instanceof Refusal) && !(error instanceof CollectError)) throw error;
        }
      });
      fc.assert(property, propertyRuns(500));
    },
    PROPERTY_TIMEOUT,
  );
});
