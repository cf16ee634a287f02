import { Refusal } from '../../../../attestation/errors.ts';
import { GuestError } from '../errors.ts';
import { type DhcpReply, type DhcpRequest, encodeRequest, parseReply, TYPE } from './message.ts';
import { checkUnicast } from './options.ts';

/** Where requests leave and answers come in. */
export interface DhcpPort {
  send(message: Uint8Array, to: string): Promise<void>;
  /** The next message, whoever sent it; undefined once the time is over. */
  receive(timeoutMs: number): Promise<Uint8Array | undefined>;
}

export interface DhcpClientOptions {
  readonly port: DhcpPort;
  readonly mac: Uint8Array;
  /** A number of 32 bits that an attacker who is not on the link cannot guess. */
  readonly newTransaction: () => number;
}

/** What the network gives this machine, as long as it says. Times are seconds from the answer on. */
export interface Lease {
  readonly address: string;
  readonly mask: string;
  readonly router: string | undefined;
  readonly nameServers: readonly string[];
  readonly server: string;
  readonly seconds: number;
  readonly renewAfter: number;
  readonly rebindAfter: number;
}

const EVERYONE = '255.255.255.255';
/** RFC 2131, section 4.1: four seconds first, then twice as long each time, up to 64. */
const FIRST_WAIT_MS = 4000;
const LONGEST_WAIT_MS = 64_000;
/** Messages that are not for us, or not what they should be, before a request counts as unanswered. */
const MAX_STRAYS = 64;
/** Seconds: a shorter lease would have the machine do nothing but renew it. */
const SHORTEST_LEASE = 60;
const DEFAULT_MASK = '255.255.255.255';

/** Asks until a server gives an address: there is nothing to do without one. */
export async function acquireLease(
  options: DhcpClientOptions,
  onFailure: (attempt: number) => void,
): Promise<Lease> {
  for (let attempt = 1; ; attempt++) {
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** Math.min(attempt - 1, 8), LONGEST_WAIT_MS);
    const lease = await askOnce(options, waitMs);
    if (lease) return lease;
    onFailure(attempt);
  }
}

async function askOnce(options: DhcpClientOptions, waitMs: number): Promise<Lease | undefined> {
  const transaction = options.newTransaction();
  const { mac } = options;
  const discover = { type: TYPE.discover, transaction, mac };
  const offer = await ask(options, discover, { to: EVERYONE, waitMs, types: [TYPE.offer] });
  if (offer?.server === undefined) return undefined;
  const chosen = { type: TYPE.request, transaction, mac, offered: offer.address, server: offer.server };
  const answer = await ask(options, chosen, { to: EVERYONE, waitMs, types: [TYPE.ack, TYPE.nak] });
  return answer?.type === TYPE.ack ? leaseOf(answer, offer.server) : undefined;
}

/**
 * Asks for more time for the address in use: its server first, then everyone (RFC 2131, section 4.4.5). `refused` when
 * the address may not be used any longer, undefined when nobody answered.
 */
export async function renewLease(
  options: DhcpClientOptions,
  lease: Lease,
  isRebinding: boolean,
): Promise<Lease | 'refused' | undefined> {
  const request: DhcpRequest = {
    type: TYPE.request,
    transaction: options.newTransaction(),
    mac: options.mac,
    current: lease.address,
  };
  const to = isRebinding ? EVERYONE : lease.server;
  const answer = await ask(options, request, { to, waitMs: FIRST_WAIT_MS, types: [TYPE.ack, TYPE.nak] });
  if (!answer) return undefined;
  if (answer.type === TYPE.nak || answer.address !== lease.address) return 'refused';
  return leaseOf(answer, lease.server);
}

interface Asking {
  readonly to: string;
  readonly waitMs: number;
  readonly types: readonly number[];
}

async function ask(
  { port }: DhcpClientOptions,
  request: DhcpRequest,
  { to, waitMs, types }: Asking,
): Promise<DhcpReply | undefined> {
  await port.send(encodeRequest(request), to);
  for (let stray = 0; stray < MAX_STRAYS; stray++) {
    const message = await port.receive(waitMs);
    if (!message) return undefined;
    const reply = usable(message, request);
    if (reply && types.includes(reply.type)) return reply;
  }
  return undefined;
}

/** A message that is malformed is dropped: another machine on the network may have sent it. */
function usable(message: Uint8Array, request: DhcpRequest): DhcpReply | undefined {
  try {
    const reply = parseReply(message, request);
    if (reply && reply.type !== TYPE.nak) checkUnicast(reply.address);
    return reply;
  } catch (error) {
    if (error instanceof GuestError || error instanceof Refusal) return undefined;
    throw error;
  }
}

function leaseOf(reply: DhcpReply, offeredBy: string): Lease {
  const seconds = Math.max(reply.lease ?? 0xffffffff, SHORTEST_LEASE);
  const rebindAfter = inside(reply.rebind, seconds, Math.floor(seconds * 0.875));
  return {
    address: reply.address,
    mask: reply.mask ?? DEFAULT_MASK,
    router: reply.router,
    nameServers: reply.nameServers,
    server: reply.server ?? offeredBy,
    seconds,
    renewAfter: inside(reply.renew, rebindAfter, Math.floor(seconds * 0.5)),
    rebindAfter,
  };
}

/** What the server says where it lies before `end`; else the share of the lease that the RFC gives. */
function inside(stated: number | undefined, end: number, otherwise: number): number {
  return stated !== undefined && stated >= 1 && stated < end ? stated : Math.min(otherwise, end - 1);
}
