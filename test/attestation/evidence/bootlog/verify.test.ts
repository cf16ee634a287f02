import { describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import { DIGEST_BYTES } from '../../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { replay } from '../../../../attestation/evidence/bootlog/replay.ts';
import { readAaelEvent } from '../../../../attestation/evidence/bootlog/tagged.ts';
import { readEfiVariable } from '../../../../attestation/evidence/bootlog/variable.ts';
import { checkBootLog, verifiedPayload } from '../../../../attestation/evidence/bootlog/verify.ts';
import { refusalOf } from '../../../support/refusal.ts';
import {
  BOOT,
  ccelLog,
  expectedRegisters,
  separator,
  sha1Log,
  startupLocality,
  tagged,
  tcg2Log,
  TD_BOOT,
  utf16,
  variable,
  type MintedEvent,
} from './mint.ts';

const BANKS: readonly HashName[] = ['sha1', 'sha256', 'sha384', 'sha512'];
const zeros = (bank: HashName) => () => new Uint8Array(DIGEST_BYTES[bank]);
const ends = (bank: HashName, last: number) => {
  const value = new Uint8Array(DIGEST_BYTES[bank]);
  value[value.length - 1] = last;
  return value;
};

describe('replay', () => {
  test.each(BANKS)('extends bank %s by its definition', (bank) => {
    const log = parseBootLog(tcg2Log(BOOT, BANKS));
    const expected = expectedRegisters(BOOT, bank, zeros(bank));
    expect(replay(log, bank, nodeCrypto)).toEqual(expected);
    expect(replay(log, bank, portableCrypto)).toEqual(expected);
  });

  test('reads SHA-1 logs and CCELs the same way', () => {
    expect(replay(parseBootLog(sha1Log(BOOT)), 'sha1', nodeCrypto)).toEqual(
      expectedRegisters(BOOT, 'sha1', zeros('sha1')),
    );
    const rtmrs = TD_BOOT.map((event) => ({ ...event, register: event.register - 1 }));
    expect(replay(parseBootLog(ccelLog(TD_BOOT)), 'sha384', nodeCrypto)).toEqual(
      expectedRegisters(rtmrs, 'sha384', zeros('sha384')),
    );
  });

  test.each([0, 3, 4])('starts PCR 0, and no other, with startup locality %i', (locality) => {
    const events = [startupLocality(locality), ...BOOT];
    expect(replay(parseBootLog(tcg2Log(events)), 'sha256', nodeCrypto)).toEqual(
      expectedRegisters(events, 'sha256', (register) => ends('sha256', register === 0 ? locality : 0)),
    );
  });

  test('an H-CRTM event starts PCR 0 with 4', () => {
    const events = [{ register: 0, type: EV.EFI_HCRTM_EVENT, data: utf8('HCRTM') }, ...BOOT];
    const expected = expectedRegisters(events, 'sha256', (register) =>
      ends('sha256', register === 0 ? 4 : 0),
    );
    expect(replay(parseBootLog(tcg2Log(events)), 'sha256', nodeCrypto)).toEqual(expected);
    const stated = replay(parseBootLog(tcg2Log([startupLocality(3), ...events])), 'sha256', nodeCrypto);
    expect(stated.get(0)).toEqual(expected.get(0));
  });

  test('an H-CRTM event after another measurement changes nothing', () => {
    const events = [...BOOT, { register: 0, type: EV.EFI_HCRTM_EVENT, data: utf8('HCRTM') }];
    expect(replay(parseBootLog(tcg2Log(events)), 'sha256', nodeCrypto)).toEqual(
      expectedRegisters(events, 'sha256', zeros('sha256')),
    );
  });

  test('PCRs 17 to 22 start with ones', () => {
    const events = [16, 17, 22, 23].map(separator);
    expect(replay(parseBootLog(tcg2Log(events)), 'sha256', nodeCrypto)).toEqual(
      expectedRegisters(events, 'sha256', (register) =>
        new Uint8Array(32).fill(register >= 17 && register <= 22 ? 0xff : 0),
      ),
    );
  });

  test('EV_NO_ACTION extends nothing, whatever its digest', () => {
    const log = parseBootLog(sha1Log([separator(5), { register: 6, type: EV.NO_ACTION, data: utf8('x') }]));
    expect([...replay(log, 'sha1', nodeCrypto).keys()]).toEqual([5]);
  });

  test('refuses a bank that the log has not', () => {
    const refusal = refusalOf(() => replay(parseBootLog(tcg2Log(BOOT)), 'sha384', nodeCrypto));
    expect(refusal).toMatchObject({ code: 'EVENT_LOG_MISMATCH' });
    expect(refusal?.message).toContain('sha1, sha256');
  });
});

const REGISTERS = expectedRegisters(BOOT, 'sha256', zeros('sha256'));
const check = (events: readonly MintedEvent[], registers: ReadonlyMap<number, Uint8Array>) =>
  checkBootLog(parseBootLog(tcg2Log(events)), registers, 'sha256', nodeCrypto);

describe('checkBootLog', () => {
  test('says which registers it matched and which it could not judge', () => {
    const registers = new Map(REGISTERS);
    registers.delete(9);
    registers.delete(0);
    registers.set(10, new Uint8Array(32).fill(1));
    registers.set(11, new Uint8Array(32));
    registers.set(17, new Uint8Array(32).fill(0xff));
    registers.set(18, new Uint8Array(32));
    expect(check(BOOT, registers)).toMatchObject({
      matched: [1, 2, 3, 4, 5, 6, 7, 8],
      unjudged: [0, 9],
      unexplained: [10, 18],
      untouched: [11, 17],
    });
  });

  test('names the first register that differs, with both values', () => {
    const registers = new Map([...REGISTERS].reverse());
    registers.set(8, new Uint8Array(32).fill(0xaa));
    registers.set(4, new Uint8Array(32).fill(0xbb));
    const refusal = refusalOf(() => check(BOOT, registers));
    expect(refusal).toMatchObject({ code: 'EVENT_LOG_MISMATCH', check: 'cpu.boot-log' });
    expect(refusal?.message).toContain('PCR 4: the boot log leads to');
    expect(refusal?.message).toContain(Buffer.from(REGISTERS.get(4)!).toString('hex'));
    expect(refusal?.message).toContain('bb'.repeat(32));
  });

  test('calls the registers of a TD RTMR', () => {
    const log = parseBootLog(ccelLog(TD_BOOT));
    const registers = new Map([[1, new Uint8Array(48)]]);
    expect(refusalOf(() => checkBootLog(log, registers, 'sha384', nodeCrypto))?.message).toContain('RTMR 1');
  });

  test.each([
    ['an event left out', BOOT.slice(0, -1)],
    ['an event more', [...BOOT, separator(9)]],
    ['two events swapped', [...BOOT.slice(0, 1), BOOT[2]!, BOOT[1]!, ...BOOT.slice(3)]],
    ['an event in another register', BOOT.with(-1, { ...BOOT.at(-1)!, register: 8 })],
    ['an event that is called unmeasured', BOOT.with(-1, { ...BOOT.at(-1)!, type: EV.NO_ACTION })],
    ['a locality that the TPM did not see', [startupLocality(3), ...BOOT]],
  ])('refuses a log with %s', (_change, events) => {
    expect(refusalOf(() => check(events, REGISTERS))?.code).toBe('EVENT_LOG_MISMATCH');
  });

  test('refuses a register of another length', () => {
    const registers = new Map([[4, REGISTERS.get(4)!.subarray(0, 31)]]);
    expect(refusalOf(() => check(BOOT, registers))?.code).toBe('EVENT_LOG_MISMATCH');
  });

  test('says of each event what its digest proves of its data', () => {
    const { events } = check([startupLocality(0), ...BOOT], REGISTERS);
    const states = events.map(({ typeName, payload }) => `${typeName}: ${payload}`);
    expect(new Set(states)).toEqual(
      new Set([
        'EV_NO_ACTION: not extended',
        'EV_S_CRTM_VERSION: verified',
        'EV_EFI_VARIABLE_DRIVER_CONFIG: verified',
        'EV_SEPARATOR: verified',
        'EV_EFI_VARIABLE_BOOT: verified',
        'EV_EFI_ACTION: verified',
        'EV_EFI_BOOT_SERVICES_APPLICATION: not over data',
        'EV_IPL: verified',
        'EV_IPL: not over data',
        'EV_EVENT_TAG: not over data',
      ]),
    );
  });

  test('gives no payload of a register that was not judged', () => {
    const { events } = check(BOOT, new Map([[4, REGISTERS.get(4)!]]));
    const [secureBoot] = events.filter(({ register }) => register === 7);
    expect(secureBoot).toMatchObject({ payload: 'unjudged', digested: undefined });
    expect(refusalOf(() => verifiedPayload(secureBoot!))).toMatchObject({
      code: 'EVENT_LOG_MISMATCH',
      check: 'cpu.boot-log',
    });
  });
});

/** What the digest of one event in PCR 8 was found to be over. */
function payloadOf(event: Omit<MintedEvent, 'register'>) {
  const log = parseBootLog(tcg2Log([{ ...event, register: 8 }]));
  const { events } = checkBootLog(log, replay(log, 'sha256', nodeCrypto), 'sha256', nodeCrypto);
  return events[1]!;
}

describe('payloads', () => {
  const fullVariable = variable('Boot0001', Uint8Array.of(1, 2));
  const aael = tagged(0x4141_454c, utf8('example.com load model 7'));

  test.each([
    ['all of a boot variable', EV.EFI_VARIABLE_BOOT, fullVariable, fullVariable],
    ['the value of a boot variable', EV.EFI_VARIABLE_BOOT, fullVariable, Uint8Array.of(1, 2)],
    ['the value of a boot variable, second type', EV.EFI_VARIABLE_BOOT2, fullVariable, Uint8Array.of(1, 2)],
    [
      'an authority without the byte that old shim logs too much',
      EV.EFI_VARIABLE_AUTHORITY,
      concat(fullVariable, Uint8Array.of(0xaf)),
      fullVariable,
    ],
    ['a GRUB command', EV.IPL, utf8('grub_cmd: boot\0'), utf8('boot')],
    ['an empty GRUB command', EV.IPL, utf8('grub_cmd: \0'), new Uint8Array()],
    ['a command of the GRUB of Red Hat', EV.IPL, utf8('grub_cmd boot\0\u0007'), utf8('boot\0')],
    ['a command line of the GRUB of Red Hat', EV.IPL, utf8('grub_kernel_cmdline a=b\0'), utf8('a=b')],
    ['a kernel command line', EV.IPL, utf8('kernel_cmdline: /k a=b\0'), utf8('/k a=b')],
    ['a module command line', EV.IPL, utf8('module_cmdline: /m\0'), utf8('/m')],
    ['a section name of systemd-stub', EV.IPL, utf16('.linux\0'), utf8('.linux\0')],
    ['a command line of systemd-boot', EV.IPL, utf16('a=b\0'), utf16('a=b\0')],
    ['one that is logged short of a byte', EV.IPL, utf16('a=b\0').subarray(0, -1), utf16('a=b\0')],
    ['the data of a tagged event', EV.EVENT_TAG, tagged(7, utf8('x')), utf8('x')],
    ['all of a tagged event', EV.EVENT_TAG, tagged(7, utf8('x')), tagged(7, utf8('x'))],
    ['an AAEL event', EV.EVENT_TAG, aael, aael],
    ['an event of a type without a name', 0x401, utf8('anything'), utf8('anything')],
  ])('finds %s', (_what, type, data, measured) => {
    const event = payloadOf({ type, data, measured });
    expect(event.payload).toBe('verified');
    expect(verifiedPayload(event)).toEqual(measured);
  });

  test.each([
    ['EV_ACTION', EV.ACTION, utf8('Calling INT 19h'), 'mismatch'],
    ['EV_S_CRTM_VERSION', EV.S_CRTM_VERSION, utf16('2.3.5\0'), 'mismatch'],
    ['EV_EFI_GPT_EVENT', EV.EFI_GPT_EVENT, utf8('EFI PART'), 'mismatch'],
    ['EV_EFI_VARIABLE_AUTHORITY', EV.EFI_VARIABLE_AUTHORITY, fullVariable, 'mismatch'],
    ['EV_EFI_VARIABLE_BOOT', EV.EFI_VARIABLE_BOOT, fullVariable, 'mismatch'],
    ['a labelled line of GRUB', EV.IPL, utf8('kernel_cmdline: /k\0'), 'mismatch'],
    ['a file name of GRUB', EV.IPL, utf8('/k\0'), 'not over data'],
    ['EV_POST_CODE', EV.POST_CODE, utf8('ACPI DATA'), 'not over data'],
    ['a boot application', EV.EFI_BOOT_SERVICES_APPLICATION, new Uint8Array(32), 'not over data'],
    ['no data', EV.EFI_VARIABLE_DRIVER_CONFIG, new Uint8Array(), 'absent'],
  ])('uses no data of %s under another digest', (_what, type, data, state) => {
    const event = payloadOf({ type, data, measured: utf8('something else') });
    expect(event).toMatchObject({ payload: state, digested: undefined });
    expect(refusalOf(() => verifiedPayload(event))?.message).toContain(state);
  });

  test.each([
    ['EV_SEPARATOR', EV.SEPARATOR, new Uint8Array(4)],
    ['EV_EFI_ACTION', EV.EFI_ACTION, utf8('Exit Boot Services Invocation')],
    [
      'EV_EFI_VARIABLE_DRIVER_CONFIG',
      EV.EFI_VARIABLE_DRIVER_CONFIG,
      variable('SecureBoot', Uint8Array.of(1)),
    ],
    ['an AAEL event', EV.EVENT_TAG, aael],
  ])('refuses %s whose data was changed under its digest', (_what, type, data) => {
    const refusal = refusalOf(() => payloadOf({ type, data, measured: utf8('something else') }));
    expect(refusal).toMatchObject({ code: 'EVENT_LOG_MISMATCH', check: 'cpu.boot-log' });
    expect(refusal?.message).toContain('event 1');
  });

  test('the value of a driver variable alone is no proof of its name', () => {
    const data = variable('SecureBoot', Uint8Array.of(1));
    expect(
      refusalOf(() => payloadOf({ type: EV.EFI_VARIABLE_DRIVER_CONFIG, data, measured: Uint8Array.of(1) }))
        ?.code,
    ).toBe('EVENT_LOG_MISMATCH');
  });

  test('a separator of firmware that failed proves nothing of its data', () => {
    const event = payloadOf({ type: EV.SEPARATOR, data: utf8('disk'), measured: Uint8Array.of(1, 0, 0, 0) });
    expect(event.payload).toBe('not over data');
  });

  test('a separator may come twice', () => {
    const twice = [separator(7), separator(7)];
    const log = parseBootLog(tcg2Log(twice));
    expect(checkBootLog(log, replay(log, 'sha256', nodeCrypto), 'sha256', nodeCrypto).matched).toEqual([7]);
  });

  test('a verified variable and a verified application event can be read', () => {
    const data = variable('SecureBoot', Uint8Array.of(1));
    const event = payloadOf({ type: EV.EFI_VARIABLE_DRIVER_CONFIG, data });
    expect(readEfiVariable(verifiedPayload(event))).toEqual({
      guid: '8be4df61-93ca-11d2-aa0d-00e098032b8c',
      name: 'SecureBoot',
      value: Uint8Array.of(1),
      rest: new Uint8Array(),
    });
    expect(readAaelEvent(verifiedPayload(payloadOf({ type: EV.EVENT_TAG, data: aael })))).toEqual({
      domain: 'example.com',
      operation: 'load',
      content: 'model 7',
    });
  });

  test.each([
    ['another tag', tagged(7, utf8('a b c'))],
    ['no operation', tagged(0x4141_454c, utf8('a'))],
    ['an empty domain', tagged(0x4141_454c, utf8(' b c'))],
    ['no UTF-8', tagged(0x4141_454c, Uint8Array.of(0xff, 0x20, 0x62, 0x20))],
    ['bytes after it', concat(aael, Uint8Array.of(0))],
    ['a length beyond it', aael.subarray(0, -1)],
  ])('an application event with %s is refused', (_corruption, bytes) => {
    expect(refusalOf(() => readAaelEvent(bytes))?.code).toBe('MALFORMED');
  });

  test.each([
    ['a name of 2^63 characters', edited(fullVariable, 16, 0x80, 7)],
    ['a value of 2^63 bytes', edited(fullVariable, 24, 0x80, 7)],
    ['a value beyond its end', fullVariable.subarray(0, -1)],
  ])('a variable with %s is refused', (_corruption, bytes) => {
    expect(refusalOf(() => readEfiVariable(bytes))?.code).toBe('MALFORMED');
  });

  test('the two cryptography providers judge alike', () => {
    const log = parseBootLog(tcg2Log(BOOT));
    const judge = (crypto: typeof nodeCrypto) =>
      checkBootLog(log, REGISTERS, 'sha256', crypto).events.map(({ payload }) => payload);
    expect(judge(portableCrypto)).toEqual(judge(nodeCrypto));
  });
});

function edited(bytes: Uint8Array, offset: number, value: number, within: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[offset + within] = value;
  return copy;
}
