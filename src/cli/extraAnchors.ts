import type { Anchor } from '../../attestation/anchors.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { readNamedAnchor } from '../../attestation/namedAnchor.ts';
import { type EarClaims, type EarInputs, toEar } from '../../attestation/verdict/ear.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { CliError, EXIT } from './exit.ts';
import { packageVersion } from './version.ts';

/** The published anchors, then those that the caller names as `ROLE:SPKI_SHA256`. */
export function anchorsWith(given: readonly string[]): readonly Anchor[] {
  return [...DEFAULT_ANCHORS, ...given.map(parseAnchor)];
}

function parseAnchor(given: string): Anchor {
  const read = readNamedAnchor(given);
  if (!('problem' in read)) return read;
  throw new CliError(EXIT.misuse, `--anchor ${given}: ${read.problem}`, read.advice);
}

/** A verdict, with the anchors that the caller added to the published ones. */
export type AnchoredVerdict = Verdict & { readonly extraAnchors?: readonly string[] };

/**
 * Says on a verdict that anchors were added. It is at best a warning, whichever root its chains led to: the policy,
 * whose digest it has, does not name them.
 */
export function sayAnchors(verdict: Verdict, given: readonly string[] = []): AnchoredVerdict {
  if (given.length === 0) return verdict;
  const tier = verdict.tier === 'affirming' ? 'warning' : verdict.tier;
  return { ...verdict, tier, extraAnchors: [...new Set(given.map(canonical))] };
}

/** Roles are lower case; of a digest only the case is free. */
function canonical(given: string): string {
  return given.toLowerCase();
}

/** The claims of a result, which say what was judged and which anchors were added. */
export function earOf(verdict: AnchoredVerdict, inputs: EarInputs): EarClaims {
  const ear = toEar(verdict, packageVersion(), inputs);
  const { extraAnchors } = verdict;
  if (!extraAnchors) return ear;
  const submods = Object.entries(ear.submods).map(
    ([name, appraisal]) => [name, { ...appraisal, vouchsafe_extra_anchors: extraAnchors }] as const,
  );
  return { ...ear, submods: Object.fromEntries(submods) };
}
