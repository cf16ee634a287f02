import { describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import { MAX_LOG_BYTES } from '../../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { refusalOf } from '../../../support/refusal.ts';
import {
  BOOT,
  ccelLog,
  dstackLog,
  event2,
  FIRMWARE_RECORD,
  header,
  le,
  separator,
  sha1Event,
  sha1Log,
  sized,
  specId,
  startupLocality,
  tcg2Log,
  TD_BOOT,
} from './mint.ts';

const code = (bytes: Uint8Array, registers?: 'pcr' | 'rtmr') =>
  refusalOf(() => parseBootLog(bytes, registers))?.code;

/** An event of TCG_PCR_EVENT2 out of its parts. */
const rawEvent = (digests: Uint8Array, data = sized(new Uint8Array(4))) =>
  concat(le(0, 4), le(EV.SEPARATOR, 4), digests, data);
const digestOf = (id: number, bytes: number) => concat(le(id, 2), new Uint8Array(bytes));
const headerWith = (data: Uint8Array, register = 0) => sha1Event({ register, type: EV.NO_ACTION, data });
const twoBanks = header(['sha1', 'sha256']);

describe('parseBootLog', () => {
  test('reads a crypto-agile log with its banks', () => {
    const log = parseBootLog(tcg2Log(BOOT, ['sha1', 'sha256', 'sha384', 'sha512']));
    expect(log).toMatchObject({
      format: 'tcg2',
      banks: ['sha1', 'sha256', 'sha384', 'sha512'],
      otherBanks: [],
      startupLocality: undefined,
    });
    expect(log.events).toHaveLength(BOOT.length + 1);
    expect(log.events.map(({ index }) => index)).toEqual([...Array(BOOT.length + 1).keys()]);
    expect(log.events[2]).toMatchObject({ register: 7, typeName: 'EV_EFI_VARIABLE_DRIVER_CONFIG' });
    expect([...(log.events[2]?.digests.keys() ?? [])]).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
    expect(log.events[2]?.data).toEqual(BOOT[1]?.data);
  });

  test('passes over the digests of an SM3 bank', () => {
    const log = parseBootLog(tcg2Log([separator(0), separator(1)], ['sm3_256', 'sha256']));
    expect(log).toMatchObject({ banks: ['sha256'], otherBanks: ['sm3_256'] });
    expect([...(log.events[2]?.digests.keys() ?? [])]).toEqual(['sha256']);
  });

  test('refuses a log with no bank but SM3', () => {
    expect(code(tcg2Log([separator(0)], ['sm3_256']))).toBe('UNSUPPORTED');
  });

  test('reads digests in another order than the header declares', () => {
    const swapped = rawEvent(concat(le(2, 4), digestOf(0x0b, 32), digestOf(0x04, 20)));
    expect(parseBootLog(concat(twoBanks, swapped)).events[1]?.digests.size).toBe(2);
  });

  test('reads a SHA-1 log with and without a Specification ID', () => {
    const bare = parseBootLog(sha1Log(BOOT));
    expect(bare).toMatchObject({ format: 'sha1', banks: ['sha1'] });
    expect(bare.events).toHaveLength(BOOT.length);
    const old = headerWith(concat(utf8('Spec ID Event00\0'), new Uint8Array(12)));
    expect(parseBootLog(concat(old, sha1Log(BOOT)))).toMatchObject({ format: 'sha1' });
  });

  test('reads a CCEL as registers of a TD', () => {
    const log = parseBootLog(ccelLog(TD_BOOT));
    expect(log).toMatchObject({ format: 'ccel', banks: ['sha384'] });
    expect(log.events[0]?.register).toBe(0);
    expect(log.events.at(-1)?.register).toBe(3);
    expect(log.events).toHaveLength(TD_BOOT.length + 1);
  });

  test('reads a CCEL without filling and with the shortest', () => {
    for (const filling of [0, 4, 8, 4096]) {
      expect(parseBootLog(ccelLog(TD_BOOT, filling)).events).toHaveLength(TD_BOOT.length + 1);
    }
  });

  test('gives MRTD no register', () => {
    const log = parseBootLog(ccelLog([{ register: 0, type: EV.NO_ACTION, data: utf8('SP800-155 Event3') }]));
    expect(log.events[1]?.register).toBeUndefined();
  });

  test('holds a log to the registers that it must be of', () => {
    expect(parseBootLog(tcg2Log(BOOT), 'pcr').format).toBe('tcg2');
    expect(parseBootLog(sha1Log(BOOT), 'pcr').format).toBe('sha1');
    expect(parseBootLog(ccelLog(TD_BOOT), 'rtmr').format).toBe('ccel');
    expect(parseBootLog(dstackLog([FIRMWARE_RECORD]), 'rtmr').format).toBe('dstack');
    expect(code(ccelLog(TD_BOOT), 'pcr')).toBe('MALFORMED');
    expect(code(dstackLog([FIRMWARE_RECORD]), 'pcr')).toBe('MALFORMED');
    expect(code(tcg2Log(BOOT), 'rtmr')).toBe('MALFORMED');
    expect(code(sha1Log(BOOT), 'rtmr')).toBe('MALFORMED');
  });

  test('a header with register 0 and one SHA-384 bank is of a TPM unless the caller says otherwise', () => {
    const log = tcg2Log([separator(1)], ['sha384']);
    expect(parseBootLog(log).format).toBe('tcg2');
    expect(parseBootLog(log, 'rtmr')).toMatchObject({ format: 'ccel' });
    expect(parseBootLog(log, 'rtmr').events[1]?.register).toBe(0);
  });

  test.each([0, 3, 4])('reads startup locality %i', (locality) => {
    expect(parseBootLog(tcg2Log([startupLocality(locality), separator(0)])).startupLocality).toBe(locality);
  });
});

describe('hostile binary logs', () => {
  test.each([
    ['no bytes', new Uint8Array()],
    ['a cut header', twoBanks.subarray(0, 40)],
    ['a header cut in its data', twoBanks.subarray(0, -1)],
    ['a cut event', tcg2Log(BOOT).subarray(0, -1)],
    ['one byte more', concat(tcg2Log(BOOT), Uint8Array.of(0))],
    ['padding of zeros', concat(tcg2Log(BOOT), new Uint8Array(4096))],
    ['padding of ones in the log of a TPM', concat(tcg2Log(BOOT), new Uint8Array(64).fill(0xff))],
    ['no banks', headerWith(specId([]))],
    ['2^32 - 1 banks', headerWith(edited(specId([[0x0b, 32]]), 24, le(0xffff_ffff, 4)))],
    ['more banks than it lists', headerWith(edited(specId([[0x0b, 32]]), 24, le(2, 4)))],
    ['a bank twice', headerWith(specId([[0x0b, 32], [0x0b, 32]]))], // prettier-ignore
    ['an unknown bank', headerWith(specId([[0x27, 32]]))],
    ['a bank with digests of another size', headerWith(specId([[0x0b, 20]]))],
    ['vendor information beyond the header', headerWith(edited(specId([[0x0b, 32]]), 32, le(9, 1)))],
    ['bytes after the vendor information', headerWith(concat(specId([[0x0b, 32]]), Uint8Array.of(0)))],
    ['a header of register 2', headerWith(specId([[0x0b, 32]]), 2)],
    ['a header with a digest', edited(twoBanks, 8, Uint8Array.of(1))],
    ['2^32 - 1 digests', concat(twoBanks, rawEvent(le(0xffff_ffff, 4)))],
    ['no digests', concat(twoBanks, rawEvent(le(0, 4)))],
    ['a digest less than declared', concat(twoBanks, rawEvent(concat(le(1, 4), digestOf(0x0b, 32))))],
    [
      'a digest more than declared',
      concat(
        twoBanks,
        rawEvent(concat(le(3, 4), digestOf(0x04, 20), digestOf(0x0b, 32), digestOf(0x0c, 48))),
      ),
    ],
    [
      'two digests of one bank',
      concat(twoBanks, rawEvent(concat(le(2, 4), digestOf(0x0b, 32), digestOf(0x0b, 32)))),
    ],
    [
      'a digest of an undeclared bank',
      concat(twoBanks, rawEvent(concat(le(2, 4), digestOf(0x04, 20), digestOf(0x0c, 48)))),
    ],
    [
      'a digest of an unknown algorithm',
      concat(twoBanks, rawEvent(concat(le(2, 4), digestOf(0x04, 20), digestOf(0x9999, 32)))),
    ],
    [
      'data of 2^32 - 1 bytes',
      edited(tcg2Log([separator(0)]), twoBanks.length + 12 + 22 + 34, le(0xffff_ffff, 4)),
    ],
    [
      'data one byte longer than the log',
      edited(tcg2Log([separator(0)]), twoBanks.length + 12 + 22 + 34, le(5, 4)),
    ],
    ['PCR 24', tcg2Log([separator(24)])],
    ['PCR 2^32 - 1', tcg2Log([separator(0xffff_ffff)])],
    ['PCR 24 in a SHA-1 log', sha1Log([separator(0), separator(24)])],
    ['data of 2^32 - 1 bytes in a SHA-1 log', edited(sha1Log([separator(0)]), 28, le(0xffff_ffff, 4))],
    ['locality 1', tcg2Log([startupLocality(1)])],
    [
      'a locality of two bytes',
      tcg2Log([{ ...startupLocality(3), data: utf8('StartupLocality\0\u0003\u0000') }]),
    ],
    [
      'no locality after the signature',
      tcg2Log([{ ...startupLocality(3), data: utf8('StartupLocality\0') }]),
    ],
    ['two localities', tcg2Log([startupLocality(3), startupLocality(0)])],
    ['RTMR 4', ccelLog([separator(5)])],
    ['an extended MRTD', ccelLog([separator(0)])],
    ['an event after the end mark', concat(ccelLog(TD_BOOT), event2(separator(1), ['sha384']))],
    ['three bytes of filling', ccelLog(TD_BOOT, 3)],
    ['a CCEL with two banks', concat(header(['sha256', 'sha384'], 1))],
    ['a CCEL with a SHA-256 bank', concat(header(['sha256'], 1))],
    ['more bytes than any log', new Uint8Array(MAX_LOG_BYTES + 1)],
  ])('refuses %s', (_corruption, bytes) => {
    expect(code(bytes)).toBe('MALFORMED');
  });

  test.each([
    ['an unknown Specification ID', headerWith(concat(utf8('Spec ID Event04\0'), new Uint8Array(12)))],
    ['version 3 of the profile', headerWith(edited(specId([[0x0b, 32]]), 21, Uint8Array.of(3)))],
  ])('does not know %s', (_name, bytes) => {
    expect(code(bytes)).toBe('UNSUPPORTED');
  });

  test('refuses more events than any log has', () => {
    const event = sha1Event({ register: 0, type: EV.SEPARATOR, data: new Uint8Array() });
    const many = new Uint8Array(event.length * 8193);
    for (let i = 0; i < 8193; i++) many.set(event, i * event.length);
    expect(refusalOf(() => parseBootLog(many))?.message).toContain('8192 events');
  });
});

function edited(bytes: Uint8Array, offset: number, replacement: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy.set(replacement, offset);
  return copy;
}
