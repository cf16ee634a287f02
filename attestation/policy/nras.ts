import * as z from 'zod';
import type { CryptoProvider } from '../crypto/provider.ts';
import { jsonDigest } from './digest.ts';
import { readPolicy } from './readPolicy.ts';
import { orAny, range, unique, weakness } from './shapes.ts';

/**
 * What a relying party accepts of an answer of NVIDIA's remote attestation service (NRAS). It stands beside
 * `policy.ts` and is no part of it: the service's word never takes the place of the checks of a device.
 */
export const nrasPolicySchema = z.strictObject({
  version: z.literal('vouchsafe/nras-policy/1'),
  description: z.string().max(2000),
  /** `staging` is NVIDIA's own test service: whatever it says is of no use in production. */
  issuers: unique(z.enum(['production', 'staging'])).min(1),
  /** Claims of 2.0 bundle what 3.0 and 4.0 state one by one. */
  claimsVersions: unique(z.enum(['2.0', '3.0', '4.0'])).min(1),
  /** How far the clock here may be behind that of the service. It moves the start of a token, never its end. */
  clockSkewSeconds: z.int().min(0).max(300),
  /** Since the service signed; tokens live an hour. */
  maximumAgeSeconds: orAny(z.int().min(0).max(86_400)),
  gpus: range,
  switches: range,
  architectures: unique(z.enum(['hopper', 'blackwell', 'ls10'])).min(1),
  /** Leaf serials as lower-case hex. */
  serials: orAny(unique(z.string().regex(/^(?:[0-9a-f]{2}){1,20}$/)).min(1)),
  /** Oldest driver of GPUs, compared by its dotted numbers. */
  minimumDriver: orAny(z.string().regex(/^\d{1,4}(\.\d{1,4}){1,3}$/)),
  /** VBIOS of GPUs and BIOS of switches, such as `96.00.9F.00.01`. */
  firmware: orAny(unique(z.string().regex(/^[0-9A-F]{2}(?:\.[0-9A-F]{2}){4}$/)).min(1)),
  /** The service passed a device and adds a warning in words. */
  warnings: weakness,
});

export type NrasPolicy = z.infer<typeof nrasPolicySchema>;

/** Any current device that the production service passes without a warning, on an answer of the last ten minutes. */
export const DEFAULT_NRAS_POLICY: NrasPolicy = {
  version: 'vouchsafe/nras-policy/1',
  description: 'Devices that NVIDIA says it verified. Its word is not checked here.',
  issuers: ['production'],
  claimsVersions: ['2.0', '3.0', '4.0'],
  clockSkewSeconds: 60,
  maximumAgeSeconds: 600,
  gpus: { minimum: 0, maximum: 64 },
  switches: { minimum: 0, maximum: 64 },
  architectures: ['hopper', 'blackwell', 'ls10'],
  serials: 'any',
  minimumDriver: 'any',
  firmware: 'any',
  warnings: 'refused',
};

/** A policy of decoded JSON; refuses unknown, absent and ill-typed members as `POLICY_INVALID`. */
export function parseNrasPolicy(value: unknown): NrasPolicy {
  return readPolicy(nrasPolicySchema, value);
}

/** SHA-256 of the policy, independent of the order and spacing of its JSON. */
export function nrasPolicyDigest(policy: NrasPolicy, crypto: CryptoProvider): Uint8Array {
  return jsonDigest('vouchsafe/nras-policy-digest/1', policy, crypto);
}
