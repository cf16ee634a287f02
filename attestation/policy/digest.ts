import { encodeDc, type Dc } from '../cbor/deterministic.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Policy } from './policy.ts';

const LABEL = 'vouchsafe/policy-digest/1';

/** SHA-256 of a policy, independent of the order and spacing of its JSON. */
export function policyDigest(policy: Policy, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc([LABEL, jsonToDc(policy)]));
}

type Json = string | number | boolean | readonly Json[] | { readonly [member: string]: Json };

function jsonToDc(value: Json): Dc {
  // JSON can say -0, which deterministic CBOR cannot.
  if (value === 0) return 0;
  if (typeof value !== 'object') return value;
  if (isArray(value)) return value.map(jsonToDc);
  return new Map(Object.entries(value).map(([member, item]) => [member, jsonToDc(item)]));
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}
