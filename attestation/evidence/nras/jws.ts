import * as z from 'zod';
import { fromBase64Url, utf8 } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';
import { readShape } from './json.ts';

/** Device tokens seen have up to 2.8 kB; those that list mismatches of 64 measurements about ten times that. */
const MAX_TOKEN_CHARACTERS = 64 * 1024;
const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)$/;

/**
 * Closed: a header that brings or names a key (`jwk`, `jku`, `x5c`, `x5u`) or that demands something (`crit`) is no
 * token of the service. Algorithm and key are judged when the signature is.
 */
const headerSchema = z.strictObject({
  alg: z.string().max(32),
  kid: z.string().min(1).max(200).optional(),
  typ: z.enum(['JWT', 'eat+jwt']).optional(),
});

/** A JWS in compact serialization (RFC 7515 section 7.1), taken apart; nothing in it is trusted. */
export interface CompactJws {
  /** As received. */
  readonly text: string;
  readonly algorithm: string;
  readonly keyId: string | undefined;
  /** ASCII of header and payload as received, with the dot between. */
  readonly signed: Uint8Array;
  /** JSON value of the payload. */
  readonly payload: unknown;
  /** r || s for ES384; empty for `none`. */
  readonly signature: Uint8Array;
}

/** Every part is base64url in its one canonical spelling: else one token would have several digests. */
export function parseCompactJws(text: string, what: string): CompactJws {
  if (text.length > MAX_TOKEN_CHARACTERS) {
    throw new Refusal('MALFORMED', `${what}: ${text.length} characters exceed ${MAX_TOKEN_CHARACTERS}`);
  }
  const [, header, payload, signature] = COMPACT.exec(text) ?? [];
  if (header === undefined || payload === undefined || signature === undefined) {
    throw new Refusal('MALFORMED', `${what} is not three parts of base64url`);
  }
  const { alg, kid } = readShape(
    headerSchema,
    parseJson(fromBase64Url(header), `${what}: header`),
    `${what}: header`,
  );
  return {
    text,
    algorithm: alg,
    keyId: kid,
    signed: utf8(`${header}.${payload}`),
    payload: parseJson(fromBase64Url(payload), `${what}: payload`),
    signature: fromBase64Url(signature),
  };
}
