import { z } from 'zod';
import { Refusal } from '../errors.ts';

const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `expected ${2 * bytes} lower-case hex digits`);
const unique = <T extends z.ZodType>(item: T) =>
  z.array(item).refine((items) => new Set(items).size === items.length, 'expected distinct items');
const svn = z.int().min(0).max(255);
const range = z
  .strictObject({ minimum: z.int().min(0).max(64), maximum: z.int().min(0).max(64) })
  .refine(({ minimum, maximum }) => minimum <= maximum, 'minimum exceeds maximum');

/** A named value that is expected to run. */
const reference = (bytes: number) => z.strictObject({ name: z.string().min(1).max(200), value: hex(bytes) });

const snpPolicy = z.strictObject({
  products: unique(z.enum(['milan', 'genoa', 'turin'])).min(1),
  endorsementKeys: unique(z.enum(['vcek', 'vlek'])).min(1),
  /** Policy bit 19: the host may read and write guest memory. */
  debug: z.enum(['refused', 'accepted']),
  /** Policy bit 18: a migration agent may move the guest. */
  migration: z.enum(['refused', 'accepted']),
  /** Policy bit 16: hyperthread siblings may run other guests. */
  smt: z.enum(['refused', 'accepted']),
  /** Privilege levels at which the report may have been requested. */
  vmpls: unique(z.int().min(0).max(3)).min(1),
  /** Minimum of each component of the reported TCB. `fmc` is judged on Turin only. */
  minimumTcb: z.union([
    z.literal('any'),
    z.strictObject({ fmc: svn, bootloader: svn, tee: svn, snp: svn, microcode: svn }),
  ]),
  chipIds: z.union([z.literal('any'), unique(hex(64)).min(1)]),
  /** Launch measurements (SHA-384). An empty list gives «not judged», naming the one that was seen. */
  measurements: z.union([z.literal('any'), z.array(reference(48))]),
  /** Whether a CRL of the ARK must be supplied. */
  revocation: z.enum(['required', 'when-present']),
});

const nvidiaPolicy = z.strictObject({
  architectures: unique(z.enum(['hopper', 'blackwell', 'ls10'])).min(1),
  /** Single GPU passthrough, multi GPU passthrough, protected PCIe. */
  modes: unique(z.enum(['spt', 'mpt', 'ppcie'])).min(1),
  /** Oldest driver version, compared by its dotted numbers. */
  minimumDriver: z.union([z.literal('any'), z.string().regex(/^\d{1,4}(\.\d{1,4}){1,3}$/)]),
  /** Leaf serials as lower-case hex. */
  serials: z.union([z.literal('any'), unique(z.string().regex(/^(?:[0-9a-f]{2}){1,20}$/)).min(1)]),
  /** Whether the report must state a firmware id: 2023 firmware does not. */
  firmwareId: z.enum(['required', 'when-present']),
  /** Device revocation (OCSP) is not judged yet: a policy says so in words. */
  revocation: z.literal('not-checked'),
});

export const policySchema = z.strictObject({
  version: z.literal('vouchsafe/policy/1'),
  description: z.string().max(2000),
  /** The exact set of components that may be simulated. */
  simulated: unique(z.enum(['cpu', 'gpu'])),
  nonce: z.enum(['required', 'optional']),
  cpu: z.strictObject({ snp: z.union([z.literal('refused'), snpPolicy]) }),
  devices: z.union([
    z.literal('none'),
    z.strictObject({ gpus: range, switches: range, nvidia: nvidiaPolicy }),
  ]),
  /** Model manifests that may answer. */
  models: z.union([z.literal('any'), z.array(reference(32)).min(1)]),
  channels: unique(z.enum(['plain', 'tls', 'hpke'])).min(1),
  outcomes: unique(z.enum(['complete', 'aborted', 'refused', 'error'])).min(1),
  /** `required` refuses an uncovered receipt; `warning` accepts it as such. */
  coverage: z.enum(['required', 'warning']),
  witnesses: z.literal('none'),
});

/** What a relying party accepts: a closed document in which every member is given and «any» is written out. */
export type Policy = z.infer<typeof policySchema>;
export type SnpPolicy = z.infer<typeof snpPolicy>;
export type NvidiaPolicy = z.infer<typeof nvidiaPolicy>;
export type Reference = { readonly name: string; readonly value: string };

/** A policy of decoded JSON; refuses unknown, absent and ill-typed members as `POLICY_INVALID`. */
export function parsePolicy(value: unknown): Policy {
  const result = policySchema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    (issue) => `${issue.path.join('.') || 'policy'}: ${issue.message}`,
  );
  throw new Refusal('POLICY_INVALID', problems.join('; '));
}
