import * as z from 'zod';
import { cpuPolicySchema } from './cpu.ts';
import { nvidiaPolicySchema } from './nvidia.ts';
import { readPolicy } from './readPolicy.ts';
import { operatorPolicySchema } from './operator.ts';
import { range, reference, unique } from './shapes.ts';
import { timestampsPolicySchema, witnessesPolicySchema } from './time.ts';

export type { NvidiaPolicy, PinnedMeasurements } from './nvidia.ts';
export type { OperatorPolicy } from './operator.ts';
export type { Reference } from './shapes.ts';
export type { SnpPolicy } from './snp.ts';
export type { TimestampsPolicy, WitnessesPolicy } from './time.ts';

export const policySchema = z.strictObject({
  version: z.literal('vouchsafe/policy/1'),
  description: z.string().max(2000),
  /** The exact set of components that may be simulated. */
  simulated: unique(z.enum(['cpu', 'gpu'])),
  nonce: z.enum(['required', 'optional']),
  cpu: cpuPolicySchema,
  devices: z.union([
    z.literal('none'),
    z.strictObject({ gpus: range, switches: range, nvidia: nvidiaPolicySchema }),
  ]),
  /** Model manifests that may answer. */
  models: z.union([z.literal('any'), z.array(reference(32)).min(1)]),
  channels: unique(z.enum(['plain', 'tls', 'hpke'])).min(1),
  outcomes: unique(z.enum(['complete', 'aborted', 'refused', 'error'])).min(1),
  /** `required` refuses an uncovered receipt; `warning` accepts it as such. */
  coverage: z.enum(['required', 'warning']),
  /** `none` neither asks for witnesses nor trusts any. */
  witnesses: witnessesPolicySchema,
  /** `none` neither asks for timestamps nor trusts any. */
  timestamps: timestampsPolicySchema,
  operator: operatorPolicySchema,
});

/** What a relying party accepts: a closed document in which every member is given and «any» is written out. */
export type Policy = z.infer<typeof policySchema>;

/** A policy of decoded JSON; refuses unknown, absent and ill-typed members as `POLICY_INVALID`. */
export function parsePolicy(value: unknown): Policy {
  return readPolicy(policySchema, value);
}
