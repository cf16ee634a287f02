import { concat, fromHex, toHex, utf8 } from '../../bytes/bytes.ts';
import type { HashName } from '../../crypto/provider.ts';
import { JsonError, parseStrictJson } from '../../json/strict.ts';
import { Refusal } from '../../errors.ts';
import { DSTACK_RUNTIME_EVENT, eventTypeName } from './eventTypes.ts';
import {
  DIGEST_BYTES,
  malformed,
  MAX_EVENTS,
  type BootEvent,
  type BootLog,
  type RuntimeName,
} from './log.ts';

const RUNTIME_RTMR = 3;
const REQUIRED = ['imr', 'event_type', 'event', 'event_payload'];
/** `preimage` repeats what the other members say; the digest is recomputed from those. */
const OPTIONAL = ['digest', 'version', 'preimage'];

type Members = ReadonlyMap<string, unknown>;

/** The JSON log of a dstack guest: what its CCEL held, then its runtime events. */
export function parseDstackLog(bytes: Uint8Array): BootLog {
  const list = parseList(bytes);
  if (list.length > MAX_EVENTS) throw malformed(`more than ${MAX_EVENTS} events`);
  const events = list.map(readEvent);
  return { format: 'dstack', banks: ['sha384'], otherBanks: [], startupLocality: undefined, events };
}

function parseList(bytes: Uint8Array): readonly unknown[] {
  try {
    const value = parseStrictJson(bytes);
    if (!Array.isArray(value)) throw malformed('it is no JSON array');
    return value as readonly unknown[];
  } catch (error) {
    if (error instanceof JsonError) throw malformed(`it ${error.message}`);
    throw error;
  }
}

function readEvent(value: unknown, index: number): BootEvent {
  const members = readMembers(value, index);
  const register = readInteger(members, 'imr', RUNTIME_RTMR, index);
  const type = readInteger(members, 'event_type', 0xffff_ffff, index);
  const name = readString(members, 'event', index);
  const data = readHex(members, 'event_payload', index);
  const isRuntime = type === DSTACK_RUNTIME_EVENT || register === RUNTIME_RTMR;
  const version = readVersion(members, index);
  const runtime = isRuntime ? { name, version } : undefined;
  const digests = readDigest(members, isRuntime, index);
  return { index, register, type, typeName: eventTypeName(type), digests, data, runtime };
}

function readMembers(value: unknown, index: number): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed(`event ${index} is no JSON object`);
  }
  const members = new Map<string, unknown>(Object.entries(value));
  for (const name of REQUIRED) {
    if (!members.has(name)) throw malformed(`event ${index} has no member ${name}`);
  }
  const unknown = [...members.keys()].find((name) => !REQUIRED.includes(name) && !OPTIONAL.includes(name));
  if (unknown !== undefined) throw malformed(`event ${index} has a member of unknown name`);
  return members;
}

function readInteger(members: Members, name: string, largest: number, index: number): number {
  const value = members.get(name);
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > largest) {
    throw malformed(`${name} of event ${index} is no integer from 0 to ${largest}`);
  }
  return value;
}

function readString(members: Members, name: string, index: number): string {
  const value = members.get(name);
  if (typeof value !== 'string') throw malformed(`${name} of event ${index} is no string`);
  return value;
}

function readHex(members: Members, name: string, index: number): Uint8Array {
  try {
    return fromHex(readString(members, name, index));
  } catch (error) {
    if (error instanceof Refusal) throw malformed(`${name} of event ${index}: ${error.message}`);
    throw error;
  }
}

function readVersion(members: Members, index: number): 1 | 2 {
  const version = members.has('version') ? members.get('version') : 1;
  if (version !== 1 && version !== 2) {
    throw new Refusal('UNSUPPORTED', `boot log: event ${index} is of another version than 1 or 2`);
  }
  return version;
}

/** Only a runtime event may leave its digest out: that of firmware is not over what the log shows of it. */
function readDigest(members: Members, isRuntime: boolean, index: number): ReadonlyMap<HashName, Uint8Array> {
  const digest = members.has('digest') ? readHex(members, 'digest', index) : new Uint8Array();
  if (digest.length === 0 && isRuntime) return new Map();
  if (digest.length !== DIGEST_BYTES.sha384) {
    throw malformed(`the digest of event ${index} has ${digest.length} bytes, not ${DIGEST_BYTES.sha384}`);
  }
  return new Map([['sha384', digest]]);
}

/** The bytes whose SHA-384 dstack extends (dstack, cc-eventlog, runtime events of version 1 and 2). */
export function runtimePreimage({ type, data }: BootEvent, { name, version }: RuntimeName): Uint8Array {
  if (version === 2) {
    // RFC 8785: members sorted, strings as JSON.stringify writes them.
    return utf8(`{"name":${JSON.stringify(name)},"payload":"${toHex(data)}","type":${type}}`);
  }
  const number = new Uint8Array(4);
  new DataView(number.buffer).setUint32(0, type, true);
  return concat(number, utf8(`:${name}:`), data);
}
