import type { z } from 'zod';
import { policySchema, type Policy } from '../../attestation/policy/policy.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';

/** One thing that is wrong with a policy. */
export interface PolicyProblem {
  /** Dotted path of the member; empty for the whole. */
  readonly member: string;
  readonly message: string;
}

export type PolicyCheck =
  | { readonly policy: Policy; readonly problems: readonly [] }
  | { readonly policy: undefined; readonly problems: readonly PolicyProblem[] };

/** Reads a policy file with every problem in it. */
export async function checkPolicyFile(path: string): Promise<PolicyCheck> {
  const bytes = await readInput(path);
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    return { policy: undefined, problems: [{ member: '', message: `the file ${error.message}` }] };
  }
  const result = policySchema.safeParse(value);
  if (result.success) return { policy: result.data, problems: [] };
  return { policy: undefined, problems: result.error.issues.flatMap((issue) => describe(issue, [])) };
}

/** A valid policy; else misuse, naming every problem. */
export async function readPolicy(path: string): Promise<Policy> {
  const { policy, problems } = await checkPolicyFile(path);
  if (policy) return policy;
  const list = problems.map(({ member, message }) => (member ? `${member}: ${message}` : message)).join('; ');
  throw new CliError(
    EXIT.misuse,
    `${path} is no valid policy: ${list}`,
    'Run `vouchsafe policy check FILE`.',
  );
}

type Issue = z.core.$ZodIssue;

/** A choice of forms is described by the form that came nearest: the one that goes wrong deepest. */
function describe(issue: Issue, above: readonly PropertyKey[]): readonly PolicyProblem[] {
  const path = [...above, ...issue.path];
  const branches = issue.code === 'invalid_union' ? issue.errors : [];
  const nearest = branches.find((branch) => branch.some(({ path: inner }) => inner.length > 0));
  const structural =
    nearest ?? branches.find((branch) => branch.some(({ code }) => code === 'unrecognized_keys'));
  if (structural) return structural.flatMap((inner) => describe(inner, path));
  const message =
    branches.length > 0
      ? branches.flatMap((branch) => branch.map((b) => b.message)).join(', or ')
      : issue.message;
  return [{ member: path.map(String).join('.'), message }];
}
