import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { replay } from '../../../../attestation/evidence/bootlog/replay.ts';
import { checkBootLog, verifiedPayload } from '../../../../attestation/evidence/bootlog/verify.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { digest, dstackLog, FIRMWARE_RECORD, runtimeRecord } from './mint.ts';

const APP = { name: 'app-id', payload: Uint8Array.of(1, 2, 3) };
const COMPOSE = { name: 'compose-hash', payload: Uint8Array.of(9, 0x3a, 9) };
const RECORDS = [FIRMWARE_RECORD, runtimeRecord(APP), runtimeRecord(COMPOSE)];

const registersOf = (records: readonly unknown[]) =>
  replay(parseBootLog(dstackLog(records)), 'sha384', nodeCrypto);
const check = (records: readonly unknown[], registers = registersOf(RECORDS)) =>
  checkBootLog(parseBootLog(dstackLog(records)), registers, 'sha384', nodeCrypto);
const codeOf = (records: readonly unknown[]) => refusalOf(() => parseBootLog(dstackLog(records)))?.code;

describe('dstack logs', () => {
  test('are read with their runtime names', () => {
    const log = parseBootLog(dstackLog(RECORDS));
    expect(log).toMatchObject({ format: 'dstack', banks: ['sha384'] });
    expect(log.events.map(({ register }) => register)).toEqual([0, 3, 3]);
    expect(log.events.map(({ runtime }) => runtime?.name)).toEqual([undefined, 'app-id', 'compose-hash']);
  });

  test('may start with whitespace', () => {
    const bytes = utf8(` \r\n\t${JSON.stringify(RECORDS, null, 1)}\n`);
    expect(parseBootLog(bytes).events).toHaveLength(3);
  });

  test('lead to the registers, and give payloads whose digest matched', () => {
    const { events, matched } = check(RECORDS);
    expect(matched).toEqual([0, 3]);
    expect(events.map(({ payload }) => payload)).toEqual(['verified', 'verified', 'verified']);
    expect(verifiedPayload(events[2]!)).toEqual(COMPOSE.payload);
  });

  test.each([
    ['left out', { digest: undefined }],
    ['empty', { digest: '' }],
  ])('a runtime digest that is %s follows from name and payload', (_how, change) => {
    const records = [
      FIRMWARE_RECORD,
      { ...runtimeRecord(APP), ...change },
      { ...runtimeRecord(COMPOSE), ...change },
    ];
    const { events } = check(records);
    expect(verifiedPayload(events[1]!)).toEqual(APP.payload);
  });

  test.each([
    ['payload', { event_payload: '010204' }],
    ['name', { event: 'app-ix' }],
    ['payload and an absent digest', { event_payload: '010204', digest: '' }],
    ['digest', { digest: '00'.repeat(48) }],
    ['type, which leaves it in RTMR 3', { event_type: EV.ACTION }],
  ])('refuses a changed %s', (_what, change) => {
    const records = [FIRMWARE_RECORD, { ...runtimeRecord(APP), ...change }, runtimeRecord(COMPOSE)];
    expect(refusalOf(() => check(records))).toMatchObject({
      code: 'EVENT_LOG_MISMATCH',
      check: 'cpu.boot-log',
    });
  });

  test('names digest and data of a payload that was changed while its digest was left alone', () => {
    const records = [
      FIRMWARE_RECORD,
      { ...runtimeRecord(APP), event_payload: '010204' },
      runtimeRecord(COMPOSE),
    ];
    const message = refusalOf(() => check(records))?.message ?? '';
    expect(message).toContain('event 1 (DSTACK_RUNTIME_EVENT) of RTMR 3');
    expect(message).toContain(String(runtimeRecord(APP)['digest']));
  });

  test('a colon moved between name and payload gives no payload', () => {
    const split = { ...runtimeRecord(COMPOSE), event: 'compose-hash:\t', event_payload: '09' };
    const whole = { name: 'compose-hash', payload: utf8('\t:\t') };
    const registers = registersOf([runtimeRecord(whole)]);
    const moved = { ...split, digest: runtimeRecord(whole)['digest'] };
    const { events } = check([moved], registers);
    expect(events[0]?.payload).toBe('ambiguous');
    expect(refusalOf(() => verifiedPayload(events[0]!))?.code).toBe('EVENT_LOG_MISMATCH');
  });

  test('version 2 digests canonical JSON and has no ambiguity', () => {
    const json = '{"name":"a:\\"b\\"","payload":"0102","type":134217729}';
    const record = {
      imr: 3,
      event_type: 134217729,
      digest: toHex(digest('sha384', utf8(json))),
      event: 'a:"b"',
      event_payload: '0102',
      version: 2,
      preimage: toHex(utf8(json)),
    };
    const { events } = check([record], registersOf([record]));
    expect(verifiedPayload(events[0]!)).toEqual(Uint8Array.of(1, 2));
    expect(refusalOf(() => check([{ ...record, version: 1 }], registersOf([record])))?.code).toBe(
      'EVENT_LOG_MISMATCH',
    );
  });

  test('data that was stripped from an event of the firmware is absent', () => {
    const records = [{ ...FIRMWARE_RECORD, event_payload: '' }, ...RECORDS.slice(1)];
    expect(check(records).events[0]?.payload).toBe('absent');
  });

  test('a name on an event of the firmware is not kept: nothing measures it', () => {
    const log = parseBootLog(dstackLog([{ ...FIRMWARE_RECORD, event: 'acpi-rsdp' }]));
    expect(log.events[0]?.runtime).toBeUndefined();
  });

  test.each([
    ['an object', utf8('{"imr":0}')],
    ['a cut text', dstackLog(RECORDS).subarray(0, -1)],
    ['text after the list', utf8(`${JSON.stringify(RECORDS)}[]`)],
    ['a byte order mark', utf8(`\ufeff${JSON.stringify(RECORDS)}`)],
    ['a member twice', utf8('[{"imr":3,"imr":3,"event_type":1,"event":"","event_payload":""}]')],
    ['no UTF-8', Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d)],
    ['half a surrogate pair', utf8('[{"imr":3,"event_type":1,"event":"\\ud800","event_payload":""}]')],
    ['40 levels', utf8('['.repeat(40) + ']'.repeat(40))],
  ])('refuses %s', (_corruption, bytes) => {
    expect(refusalOf(() => parseBootLog(bytes))?.code).toBe('MALFORMED');
  });

  test.each([
    ['a list in place of an event', []],
    ['null in place of an event', null],
    ['no payload', { ...FIRMWARE_RECORD, event_payload: undefined }],
    ['an unknown member', { ...FIRMWARE_RECORD, register: 1 }],
    ['RTMR 4', { ...FIRMWARE_RECORD, imr: 4 }],
    ['RTMR -1', { ...FIRMWARE_RECORD, imr: -1 }],
    ['a fraction of an RTMR', { ...FIRMWARE_RECORD, imr: 0.5 }],
    ['an RTMR as text', { ...FIRMWARE_RECORD, imr: '0' }],
    ['type 2^32', { ...FIRMWARE_RECORD, event_type: 0x1_0000_0000 }],
    ['a digest of SHA-256', { ...FIRMWARE_RECORD, digest: '00'.repeat(32) }],
    ['no digest of firmware', { ...FIRMWARE_RECORD, digest: undefined }],
    ['an empty digest of firmware', { ...FIRMWARE_RECORD, digest: '' }],
    ['a digest in upper case', { ...FIRMWARE_RECORD, digest: 'AB'.repeat(48) }],
    ['half a byte of payload', { ...FIRMWARE_RECORD, event_payload: '0' }],
    ['a number as name', { ...FIRMWARE_RECORD, event: 1 }],
  ])('refuses %s', (_corruption, record) => {
    expect(codeOf([record])).toBe('MALFORMED');
  });

  test.each([0, 3, '2', null])('does not know version %p', (version) => {
    expect(codeOf([{ ...runtimeRecord(APP), version }])).toBe('UNSUPPORTED');
  });
});
