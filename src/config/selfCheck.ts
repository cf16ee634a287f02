import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import type { Anchor } from '../../attestation/anchors.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readNamedAnchor } from '../../attestation/namedAnchor.ts';
import { parsePolicy, type Policy } from '../../attestation/policy/policy.ts';
import { ConfigError } from './errors.ts';

const MAX_POLICY_BYTES = 1024 * 1024;

/** What the service demands of its own evidence before it serves. */
export const selfCheckSection = z.strictObject({
  policy: z
    .union([z.string().min(1).max(4096), z.record(z.string(), z.unknown())])
    .optional()
    .meta({
      description:
        'Policy under which the service judges its own evidence, or a file of it. Without it the published default counts, and no measurement of software is judged.',
    }),
  anchors: z.array(z.string().max(200).superRefine(checkAnchor)).max(64).default([]).meta({
    description:
      'Keys that the service trusts as roots of its own evidence beside the published ones, as `role:spki-sha256`: what its clients name with --anchor.',
  }),
});

function checkAnchor(given: string, context: z.RefinementCtx): void {
  const read = readNamedAnchor(given);
  if ('problem' in read) context.addIssue({ code: 'custom', message: `${read.problem}. ${read.advice}` });
}

type SelfCheckSection = z.infer<typeof selfCheckSection>;

/** The published anchors, then those of the operator. */
export function selfCheckAnchors({ anchors }: Pick<SelfCheckSection, 'anchors'>): readonly Anchor[] {
  const named = anchors.flatMap((given) => {
    const read = readNamedAnchor(given);
    return 'problem' in read ? [] : [read];
  });
  return [...DEFAULT_ANCHORS, ...named];
}

/** The operator's policy; undefined where none is named. Throws `ConfigError`. */
export async function readSelfCheckPolicy({
  policy: given,
}: Pick<SelfCheckSection, 'policy'>): Promise<Policy | undefined> {
  if (given === undefined) return undefined;
  if (typeof given !== 'string') return judgeable(() => given, 'selfCheck.policy');
  const bytes = await readBounded(given);
  return judgeable(() => parseStrictJson(bytes), `selfCheck.policy: ${given}`);
}

function judgeable(read: () => unknown, what: string): Policy {
  try {
    return parsePolicy(read());
  } catch (error) {
    if (!(error instanceof JsonError || error instanceof Refusal)) throw error;
    throw new ConfigError('CONFIG_INVALID', `${what}: ${error.message}`);
  }
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_POLICY_BYTES) return await readFile(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new ConfigError('CONFIG_UNREADABLE', `selfCheck.policy: ${path}: ${code}`);
  }
  throw new ConfigError('CONFIG_INVALID', `selfCheck.policy: ${path} is too large for a policy`);
}
