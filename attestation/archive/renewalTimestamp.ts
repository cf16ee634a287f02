import type { Anchor } from '../anchors.ts';
import type { CryptoProvider, HashName } from '../crypto/provider.ts';
import { Refusal, type RefusalCode } from '../errors.ts';
import { parseTimestamp, verifyTimestamp } from '../time/timestamp.ts';
import { parseTimestampResponse } from '../time/timestampExchange.ts';
import { decodeOid, DerReader, TAG } from '../x509/der.ts';
import { RENEWAL_HASHES, type RenewalHash } from './renewal.ts';

/** Kinds of keys of timestamp authorities. */
const KEY_KINDS: Readonly<Record<string, 'rsa' | 'ec' | 'ed25519'>> = {
  '1.2.840.113549.1.1.1': 'rsa',
  '1.2.840.113549.1.1.10': 'rsa',
  '1.2.840.10045.2.1': 'ec',
  '1.3.101.112': 'ed25519',
};

/** When an algorithm stopped being reliable, milliseconds since 1970; the others are relied on. */
export type AlgorithmEnds = Readonly<Partial<Record<HashName | 'rsa' | 'ec' | 'ed25519', number>>>;

export interface TimestampTrust {
  /** Those of role `timestamp` are trusted. */
  readonly anchors: readonly Anchor[];
  readonly crypto: CryptoProvider;
  /** DER certificates that complete chains. */
  readonly certificates?: readonly Uint8Array[] | undefined;
  readonly ends?: AlgorithmEnds | undefined;
}

/** A timestamp of a renewal by an authority that is trusted. */
export interface RenewalTimestamp {
  readonly name: string;
  /** Name of the anchor. */
  readonly authority: string;
  /** The record surely existed at the latest time that the token may mean, milliseconds since 1970. */
  readonly time: number;
  /** The earliest time that the token may mean. */
  readonly earliest: number;
  /** Until when it can be relied on: the ends of its certificates and algorithms. */
  readonly until: number;
}

export interface RefusedTimestamp {
  readonly name: string;
  readonly code: RefusalCode;
  readonly reason: string;
}

/** Lengths, so that an imprint weaker than the renewal's own hash shows. */
const STRENGTH: Readonly<Record<HashName, number>> = { sha1: 20, sha256: 32, ...RENEWAL_HASHES };

/** Verifies one timestamp over a record, at the time that it states. */
export async function verifyRenewalTimestamp(
  file: { readonly name: string; readonly bytes: Uint8Array },
  record: { readonly bytes: Uint8Array; readonly hash: RenewalHash },
  { anchors, crypto, certificates, ends = {} }: TimestampTrust,
): Promise<RenewalTimestamp | RefusedTimestamp> {
  const { name } = file;
  try {
    const token = parseTimestampResponse(file.bytes);
    const verified = await verifyTimestamp(token, { data: record.bytes, anchors, crypto, certificates });
    const { imprint } = verified.info;
    if (STRENGTH[imprint.hash] < STRENGTH[record.hash]) {
      throw new Refusal(
        'TIMESTAMP_MISMATCH',
        `the imprint is by ${imprint.hash}, the renewal by ${record.hash}`,
      );
    }
    const hashes = [imprint.hash, parseTimestamp(token).signed.hash];
    const limits = [
      ...hashes.map((hash) => ends[hash] ?? Infinity),
      ...verified.chain.map(({ notAfter }) => notAfter),
      ...verified.chain.map(({ spki }) => endOfKey(spki, ends)),
    ];
    const { latest: time, earliest, anchor } = verified;
    return { name, authority: anchor.name, time, earliest, until: Math.min(...limits) };
  } catch (error) {
    if (error instanceof Refusal) return { name, code: error.code, reason: error.message };
    throw error;
  }
}

function endOfKey(spki: Uint8Array, ends: AlgorithmEnds): number {
  const algorithm = new DerReader(spki, 'public key').enter(TAG.sequence).enter(TAG.sequence);
  const kind = KEY_KINDS[decodeOid(algorithm.take(TAG.oid).content)];
  return (kind && ends[kind]) ?? Infinity;
}
