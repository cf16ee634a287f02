import type { z } from 'zod';

/** One thing that is wrong with a policy. */
export interface PolicyProblem {
  /** Dotted path of the member; empty for the whole. */
  readonly member: string;
  readonly message: string;
}

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Longest text of a policy that a message repeats. */
const MAX_SHOWN = 60;

/** What is wrong with a value of JSON, for whoever wrote it. */
export function policyProblems(issues: readonly Issue[], policy: unknown): readonly PolicyProblem[] {
  return issues.flatMap((issue) => describe(issue, [], policy));
}

/** A choice of forms is described by the form that came nearest: the one that goes wrong deepest. */
function describe(issue: Issue, above: Path, policy: unknown): readonly PolicyProblem[] {
  const path = [...above, ...issue.path];
  const branches = issue.code === 'invalid_union' ? issue.errors : [];
  const nearest = branches.find((branch) => branch.some(({ path: inner }) => inner.length > 0));
  const structural =
    nearest ?? branches.find((branch) => branch.some(({ code }) => code === 'unrecognized_keys'));
  if (structural) return structural.flatMap((inner) => describe(inner, path, policy));
  const forms = branches.length > 0 ? branches.flat() : [issue];
  return [{ member: path.map(String).join('.'), message: messageOf(forms, valueAt(policy, path)) }];
}

/** Undefined where there is no such member. */
function valueAt(policy: unknown, path: Path): unknown {
  return path.reduce<unknown>((value, name) => {
    const isOwn = typeof value === 'object' && value !== null && Object.hasOwn(value, name);
    return isOwn ? (value as Record<PropertyKey, unknown>)[name] : undefined;
  }, policy);
}

function messageOf(forms: readonly Issue[], found: unknown): string {
  const wanted = forms.map(wantedBy);
  if (!wanted.every((want) => want !== undefined)) return forms.map(ownMessage).join(', or ');
  const state = found === undefined ? 'is missing' : `is ${foundText(found)}`;
  return `${state}: expected ${wanted.join(' or ')}`;
}

/** Undefined where the value is of the right kind and something else is wrong with it. */
function wantedBy(issue: Issue): string | undefined {
  if (issue.code === 'invalid_value') return issue.values.map((value) => JSON.stringify(value)).join(' or ');
  if (issue.code !== 'invalid_type') return undefined;
  return KINDS[issue.expected] ?? issue.expected;
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function foundText(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  // Only texts are long.
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…"` : text;
}

function ownMessage(issue: Issue): string {
  if (issue.code === 'invalid_key') return issue.issues.map(({ message }) => message).join(', ');
  if (issue.code !== 'unrecognized_keys') return issue.message;
  const names = issue.keys.map((key) => JSON.stringify(key)).join(', ');
  return `${issue.keys.length === 1 ? 'no member is' : 'no members are'} called ${names}`;
}
