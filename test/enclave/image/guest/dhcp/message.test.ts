import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { GuestError } from '../../../../../enclave/image/guest/errors.ts';
import {
  addressBytes,
  encodeRequest,
  parseReply,
  TYPE,
} from '../../../../../enclave/image/guest/dhcp/message.ts';
import { errorOf } from '../../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../../support/runs.ts';
import { answer, type Answer, MAC, seconds, USUAL } from './server.ts';

const TRANSACTION = 0x1234_5678;
const EXPECTED = { transaction: TRANSACTION, mac: MAC };

function made(changes: Partial<Answer> = {}): Uint8Array {
  return answer({ transaction: TRANSACTION, type: TYPE.ack, options: USUAL, ...changes });
}

const codeOf = (message: Uint8Array) => errorOf(GuestError, () => parseReply(message, EXPECTED))?.code;

describe('a request', () => {
  test('asks for a broadcast while there is no address', () => {
    const message = Buffer.from(encodeRequest({ type: TYPE.discover, ...EXPECTED }));
    expect(message.length).toBeGreaterThanOrEqual(300);
    expect([...message.subarray(0, 4)]).toEqual([1, 1, 6, 0]);
    expect(message.readUInt32BE(4)).toBe(TRANSACTION);
    expect(message.readUInt16BE(10)).toBe(0x8000);
    expect(message.subarray(28, 34)).toEqual(Buffer.from(MAC));
    expect(message.subarray(236, 243)).toEqual(Buffer.from([0x63, 0x82, 0x53, 0x63, 53, 1, 1]));
  });

  test('names what was offered, or the address in use', () => {
    const chosen = Buffer.from(encodeRequest({ type: TYPE.request, ...EXPECTED, offered: '10.0.2.15', server: '10.0.2.2' }));
    expect(chosen.includes(Buffer.from([50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]))).toBe(true);
    const renewed = Buffer.from(encodeRequest({ type: TYPE.request, ...EXPECTED, current: '10.0.2.15' }));
    expect([...renewed.subarray(10, 16)]).toEqual([0, 0, 10, 0, 2, 15]);
  }); // prettier-ignore
});

describe('an answer', () => {
  test('gives addresses and times', () => {
    expect(parseReply(made(), EXPECTED)).toEqual({
      type: TYPE.ack,
      address: '10.0.2.15',
      mask: '255.255.255.0',
      router: '10.0.2.2',
      nameServers: ['10.0.2.3', '1.1.1.1', '8.8.8.8'],
      server: '10.0.2.2',
      lease: 86_400,
      renew: 43_200,
      rebind: 75_600,
    });
  });

  test.each([
    ['of another transaction', { transaction: 1 }],
    ['for another machine', { mac: MAC.with(5, 0) }],
    ['that is a request', { operation: 1 }],
  ] as const)('%s is not ours', (_name, changes) => {
    expect(parseReply(made(changes), EXPECTED)).toBeUndefined();
  });

  test.each([
    ['another cookie', { cookie: new Uint8Array(4) }],
    ['no type', { type: undefined, options: USUAL } as unknown as Partial<Answer>],
    ['a type of two bytes', { options: [[53, Uint8Array.of(1, 2)]] }],
    ['an option twice', { options: [...USUAL, [51, seconds(1)]] }],
    ['options in other fields', { options: [[52, Uint8Array.of(1)]] }],
    ['a mask with holes', { options: [[1, addressBytes('255.0.255.0')]] }],
    ['a mask of five bytes', { options: [[1, new Uint8Array(5).fill(255)]] }],
    ['a mask of everything', { options: [[1, addressBytes('0.0.0.0')]] }],
    ['a router of three bytes', { options: [[3, Uint8Array.of(10, 0, 2)]] }],
    ['no router in the option', { options: [[3, new Uint8Array()]] }],
    ['this machine as its router', { options: [[3, addressBytes('127.0.0.1')]] }],
    ['many machines as a name server', { options: [[6, addressBytes('224.0.0.1')]] }],
    ['a time of two bytes', { options: [[51, Uint8Array.of(1, 2)]] }],
    ['bytes behind the end', { behind: Uint8Array.of(0, 1) }],
  ] as readonly (readonly [string, Partial<Answer>])[])('with %s is refused', (_name, changes) => {
    expect(codeOf(made(changes))).toBe('GUEST_LEASE_REFUSED');
  });

  test('without an end, too short or too long is refused', () => {
    expect(codeOf(made().subarray(0, 250))).toBe('GUEST_LEASE_REFUSED');
    expect(codeOf(made().subarray(0, 200))).toBe('GUEST_LEASE_REFUSED');
    expect(codeOf(made({ behind: new Uint8Array(1500) }))).toBe('GUEST_LEASE_REFUSED');
  });

  test(
    'that is damaged gives a reply, nothing or a code',
    () => {
      const message = made();
      const property = fc.property(
        fc.array(fc.tuple(fc.nat(message.length - 1), fc.nat(255)), { maxLength: 5 }),
        fc.nat(message.length),
        (changes, length) => {
          const altered = message.slice(0, Math.max(length, 240));
          for (const [at, value] of changes) if (at < altered.length) altered[at] = value;
          expect([undefined, 'GUEST_LEASE_REFUSED']).toContain(codeOf(altered));
        },
      );
      fc.assert(property, propertyRuns(1000));
    },
    PROPERTY_TIMEOUT,
  );
});
