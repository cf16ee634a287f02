import { describe, expect, test } from '@jest/globals';
import {
  acquireLease,
  type DhcpPort,
  type Lease,
  renewLease,
} from '../../../../../enclave/image/guest/dhcp/lease.ts';
import { TYPE } from '../../../../../enclave/image/guest/dhcp/message.ts';
import { untilRenewed } from '../../../../../enclave/image/guest/network.ts';
import { answer, type Answer, MAC, seconds, USUAL } from './server.ts';

type Reaction = (request: {
  readonly type: number;
  readonly to: string;
}) => readonly (Partial<Answer> | Uint8Array)[];

/** A network on which every request gets the answers of `react`, and silence after them. */
class TestPort implements DhcpPort {
  readonly sent: { readonly type: number; readonly to: string }[] = [];
  #waiting: Uint8Array[] = [];
  readonly #react: Reaction;

  constructor(react: Reaction) {
    this.#react = react;
  }

  send(message: Uint8Array, to: string): Promise<void> {
    const bytes = Buffer.from(message);
    const request = { type: bytes[242] ?? 0, to };
    this.sent.push(request);
    const transaction = bytes.readUInt32BE(4);
    this.#waiting = this.#react(request).map((given) =>
      given instanceof Uint8Array ? given : answer({ transaction, options: USUAL, ...given }),
    );
    return Promise.resolve();
  }

  receive(): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.#waiting.shift());
  }
}

const offerAndAck: Reaction = ({ type }) => [{ type: type === TYPE.discover ? TYPE.offer : TYPE.ack }];

function optionsOf(port: DhcpPort) {
  return { port, mac: MAC, newTransaction: () => 0xdead_beef };
}

const LEASE: Lease = {
  address: '10.0.2.15',
  mask: '255.255.255.0',
  router: '10.0.2.2',
  nameServers: ['10.0.2.3', '1.1.1.1', '8.8.8.8'],
  server: '10.0.2.2',
  seconds: 86_400,
  renewAfter: 43_200,
  rebindAfter: 75_600,
};

describe('a lease', () => {
  test('is what a server offers and confirms', async () => {
    const port = new TestPort(offerAndAck);
    expect(await acquireLease(optionsOf(port), () => undefined)).toEqual(LEASE);
    expect(port.sent).toEqual([
      { type: TYPE.discover, to: '255.255.255.255' },
      { type: TYPE.request, to: '255.255.255.255' },
    ]);
  });

  test('is asked for again after silence, a refusal, and offers that cannot be used', async () => {
    const offers: readonly (readonly (Partial<Answer> | Uint8Array)[])[] = [
      [],
      [new Uint8Array(300), new Uint8Array(5)],
      [{ type: TYPE.offer, address: '127.0.0.1' }],
      [{ type: TYPE.offer, options: [] }],
      [{ type: TYPE.offer }],
      [{ type: TYPE.ack }, { type: TYPE.offer }],
    ];
    let asked = 0;
    let confirmed = 0;
    const port = new TestPort(({ type }) =>
      type === TYPE.discover ? (offers[asked++] ?? []) : [{ type: confirmed++ === 0 ? TYPE.nak : TYPE.ack }],
    );
    const failed: number[] = [];
    expect(await acquireLease(optionsOf(port), (attempt) => failed.push(attempt))).toEqual(LEASE);
    expect(failed).toEqual([1, 2, 3, 4, 5]);
  });

  test('has times in order, whatever the server says', async () => {
    const options: Answer['options'] = [
      [51, seconds(1)],
      [54, Uint8Array.of(10, 0, 2, 2)],
      [58, seconds(4_000_000_000)],
      [59, seconds(0)],
    ];
    const port = new TestPort(({ type }) => [
      { type: type === TYPE.discover ? TYPE.offer : TYPE.ack, options },
    ]);
    const lease = await acquireLease(optionsOf(port), () => undefined);
    expect(lease).toMatchObject({ seconds: 60, rebindAfter: 52, renewAfter: 30, mask: '255.255.255.255' });
  });
});

describe('renewing', () => {
  test('asks the server, then everyone', async () => {
    const port = new TestPort(() => [{ type: TYPE.ack }]);
    expect(await renewLease(optionsOf(port), LEASE, false)).toEqual(LEASE);
    expect(await renewLease(optionsOf(port), LEASE, true)).toEqual(LEASE);
    expect(port.sent.map(({ to }) => to)).toEqual(['10.0.2.2', '255.255.255.255']);
  });

  test('is refused by a word or by another address', async () => {
    const refusing = new TestPort(() => [{ type: TYPE.nak }]);
    expect(await renewLease(optionsOf(refusing), LEASE, false)).toBe('refused');
    const other = new TestPort(() => [{ type: TYPE.ack, address: '10.0.2.16' }]);
    expect(await renewLease(optionsOf(other), LEASE, false)).toBe('refused');
  });

  test('waits for its time, and gives the address up at the end', async () => {
    const slept: number[] = [];
    const sleep = (milliseconds: number) => {
      slept.push(milliseconds / 1000);
      return Promise.resolve();
    };
    const silent = new TestPort(() => []);
    expect(await untilRenewed(optionsOf(silent), LEASE, sleep)).toBeUndefined();
    expect(slept[0]).toBe(LEASE.renewAfter);
    expect(slept.reduce((sum, each) => sum + each, 0)).toBe(LEASE.seconds);
    const asked = silent.sent.map(({ to }) => to);
    expect(asked[0]).toBe('10.0.2.2');
    expect(asked.at(-1)).toBe('255.255.255.255');
    const answering = new TestPort(() => [{ type: TYPE.ack }]);
    expect(await untilRenewed(optionsOf(answering), LEASE, sleep)).toEqual(LEASE);
  });
});
