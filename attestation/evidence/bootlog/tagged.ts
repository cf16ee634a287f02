import { ByteReader } from '../../bytes/reader.ts';
import { fromUtf8 } from '../../bytes/bytes.ts';
import { malformed } from './log.ts';

/** TCG_PCClientTaggedEvent, the data of EV_EVENT_TAG. */
export interface TaggedEvent {
  readonly tag: number;
  readonly data: Uint8Array;
}

/** Tag of the Attestation Agent Event Log of Confidential Containers: `AAEL`, stored little endian. */
export const AAEL_TAG = 0x4141_454c;

/** What an application had the attestation agent extend. */
export interface AaelEvent {
  readonly domain: string;
  readonly operation: string;
  readonly content: string;
}

/** Tag and data; refuses what does not fill its bytes. */
export function readTaggedEvent(bytes: Uint8Array): TaggedEvent {
  const reader = new ByteReader(bytes, 'tagged event');
  const tag = reader.u32le();
  const data = reader.take(reader.u32le());
  reader.end();
  return { tag, data };
}

/**
 * The entry of an AAEL event, out of a verified payload. Domain and operation hold no space, the content may; the
 * split is unique, so another reading of the same digest does not exist.
 */
export function readAaelEvent(payload: Uint8Array): AaelEvent {
  const { tag, data } = readTaggedEvent(payload);
  if (tag !== AAEL_TAG) throw malformed(`an event of tag 0x${tag.toString(16)} is none of AAEL`);
  const [, domain, operation, content] = /^([^ ]+) ([^ ]+) (.*)$/s.exec(fromUtf8(data)) ?? [];
  if (domain === undefined || operation === undefined || content === undefined) {
    throw malformed('an AAEL event is not domain, operation and content');
  }
  return { domain, operation, content };
}
