import { randomInt } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import { acquireLease, type DhcpClientOptions, type Lease, renewLease } from './dhcp/lease.ts';
import { openDhcpPort } from './dhcp/socketPort.ts';
import { GuestError } from './errors.ts';
import { NetworkInterface } from './interface.ts';
import type { SystemCalls } from './systemCalls.ts';

const INTERFACES = '/sys/class/net';
/** Where the link of the image's /etc/resolv.conf leads. */
const RESOLVER_FILE = '/run/resolv.conf';
/** ARPHRD_ETHER of linux/if_arp.h. */
const ETHERNET = '1';
/** Drivers find their cards after they are loaded. */
const LOOKS = 300;
const LOOK_STEP_MS = 100;
/** Longest time of a timer, milliseconds. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What the network is to lines on the console. */
type Say = (line: string) => void;

/**
 * Brings up the loopback and the first network card, and keeps the address of the latter for as long as the machine
 * runs. The network is the host's: it decides who is reached, never what runs.
 */
export async function startNetwork(calls: SystemCalls, say: Say): Promise<void> {
  new NetworkInterface('lo', calls).up();
  const name = await findCard();
  const card = new NetworkInterface(name, calls);
  card.up();
  const options: DhcpClientOptions = {
    port: openDhcpPort(calls, name),
    mac: fromHex((await readTrimmed(`${INTERFACES}/${name}/address`)).replaceAll(':', '')),
    newTransaction: () => randomInt(2 ** 32),
  };
  const lease = await takeLease(options, card, say);
  void keepLease(options, card, lease, say);
}

async function takeLease(options: DhcpClientOptions, card: NetworkInterface, say: Say): Promise<Lease> {
  const lease = await acquireLease(options, (attempt) => {
    say(`${card.name}: no DHCP server answered, attempt ${attempt}`);
  });
  card.configure(lease);
  await writeFile(RESOLVER_FILE, resolverFile(lease));
  say(`${card.name}: ${lease.address} for ${lease.seconds} s`);
  return lease;
}

export function resolverFile({ nameServers }: Pick<Lease, 'nameServers'>): string {
  return nameServers.map((address) => `nameserver ${address}\n`).join('');
}

/** Renews the lease in its time; an address that ran out, or was refused, is given up before another is asked for. */
async function keepLease(
  options: DhcpClientOptions,
  card: NetworkInterface,
  first: Lease,
  say: Say,
): Promise<never> {
  for (let lease = first; ;) {
    const kept = await untilRenewed(options, lease);
    if (kept) {
      lease = kept;
      continue;
    }
    say(`${card.name}: ${lease.address} is ours no longer`);
    card.unconfigure();
    lease = await takeLease(options, card, say);
  }
}

/** The renewed lease; undefined where it was refused, or ran out. */
export async function untilRenewed(
  options: DhcpClientOptions,
  lease: Lease,
  sleep: (milliseconds: number) => Promise<unknown> = delay,
): Promise<Lease | undefined> {
  let passed = lease.renewAfter;
  await sleepSeconds(lease.renewAfter, sleep);
  for (;;) {
    const isRebinding = passed >= lease.rebindAfter;
    const answer = await renewLease(options, lease, isRebinding);
    if (answer === 'refused') return undefined;
    if (answer) return answer;
    // RFC 2131, section 4.4.5: again after half of the time that is left, and not before a minute.
    const end = isRebinding ? lease.seconds : lease.rebindAfter;
    const pause = Math.min(Math.max(Math.floor((end - passed) / 2), 60), Math.max(lease.seconds - passed, 1));
    await sleepSeconds(pause, sleep);
    passed += pause;
    if (passed >= lease.seconds) return undefined;
  }
}

async function sleepSeconds(
  seconds: number,
  sleep: (milliseconds: number) => Promise<unknown>,
): Promise<void> {
  for (let left = seconds * 1000; left > 0; left -= LONGEST_TIMER_MS) {
    await sleep(Math.min(left, LONGEST_TIMER_MS));
  }
}

async function findCard(): Promise<string> {
  for (let look = 0; look < LOOKS; look++) {
    for (const name of (await readdir(INTERFACES)).sort()) {
      if (name !== 'lo' && (await readTrimmed(`${INTERFACES}/${name}/type`)) === ETHERNET) return name;
    }
    await delay(LOOK_STEP_MS);
  }
  throw new GuestError('GUEST_NETWORK_MISSING', 'no network card came up in 30 s');
}

async function readTrimmed(path: string): Promise<string> {
  return (await readFile(path, 'latin1')).trim();
}
