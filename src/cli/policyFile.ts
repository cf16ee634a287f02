import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { policySchema, type Policy } from '../../attestation/policy/policy.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { policyProblems, type PolicyProblem } from './policyProblems.ts';

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
    const message = `the file ${error.message}${error.message === 'is not JSON' ? syntaxText(bytes) : ''}`;
    return { policy: undefined, problems: [{ member: '', message }] };
  }
  const result = policySchema.safeParse(value);
  if (result.success) return { policy: result.data, problems: [] };
  return { policy: undefined, problems: policyProblems(result.error.issues, value) };
}

/** Problems that an error names: the check lists all of them. */
const MAX_NAMED = 3;

/** A valid policy; else misuse, naming the first problems. */
export async function readPolicy(path: string): Promise<Policy> {
  const { policy, problems } = await checkPolicyFile(path);
  if (policy) return policy;
  const named = problems.map(({ member, message }) => (member ? `${member} ${message}` : message));
  const more = named.length > MAX_NAMED ? `; and ${named.length - MAX_NAMED} more` : '';
  const message = `${path} is no valid policy: ${named.slice(0, MAX_NAMED).join('; ')}${more}`;
  throw new CliError(EXIT.misuse, message, '`vouchsafe policy check` lists every problem in it.');
}

/** Where a text stops being JSON, as the parser says it. */
function syntaxText(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('utf8');
  try {
    JSON.parse(text);
    return '';
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const position = / at position (\d+)/.exec(error.message)?.[1];
    const line =
      position === undefined ? '' : ` (line ${text.slice(0, Number(position)).split('\n').length})`;
    return `: ${error.message.replaceAll(/\s+/g, ' ')}${line}`;
  }
}
