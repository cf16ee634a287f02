import { encodeDc, type Dc } from '../cbor/deterministic.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Policy } from './policy.ts';

const LABEL = 'vouchsafe/policy-digest/1';

/** SHA-256 of a policy, independent of the order and spacing of its JSON. */
export function policyDigest(policy: Policy, crypto: CryptoProvider): Uint8Array {
  return jsonDigest(LABEL, policy, crypto);
}

/** The same of any closed JSON document under the label of its kind. */
export function jsonDigest(label: string, document: Json, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc([label, jsonToDc(document)]));
}

/** A member that a record may lack is not there at all; none is written as undefined. */
type Json = string | number | boolean | readonly Json[] | { readonly [member: string]: Json | undefined };

function jsonToDc(value: Json): Dc {
  // JSON can say -0, which deterministic CBOR cannot.
  if (value === 0) return 0;
  if (typeof value !== 'object') return value;
  if (isArray(value)) return value.map(jsonToDc);
  const members = Object.entries(value).filter((entry): entry is [string, Json] => entry[1] !== undefined);
  return new Map(members.map(([member, item]) => [member, jsonToDc(item)]));
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
