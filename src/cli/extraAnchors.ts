import type { Anchor, AnchorRole } from '../../attestation/anchors.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { SNP_PRODUCTS, type SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { toEar } from '../../attestation/verdict/ear.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { CliError, EXIT } from './exit.ts';
import { packageVersion } from './version.ts';

interface AnchorKind {
  readonly role: AnchorRole;
  /** Chips that a root of AMD endorses: it has one for each product. */
  readonly product?: SnpProduct;
}

const PRODUCTS: Readonly<Record<AnchorRole, readonly SnpProduct[]>> = {
  'amd-ark': SNP_PRODUCTS,
  'intel-sgx-root': [],
  'aws-nitro': [],
  'azure-vtpm': [],
  'gcp-vtpm': [],
  tpm: [],
  'nvidia-device': [],
  'nvidia-rim': [],
  timestamp: [],
  operator: [],
};

/** By the name that `--anchor` takes: the role, for AMD with its product. */
const KINDS: ReadonlyMap<string, AnchorKind> = new Map(
  (Object.keys(PRODUCTS) as AnchorRole[]).flatMap((role): [string, AnchorKind][] => {
    if (PRODUCTS[role].length === 0) return [[role, { role }]];
    return PRODUCTS[role].map((product) => [`${role}/${product}`, { role, product }]);
  }),
);

const DIGEST = /^[0-9a-f]{64}$/;

/** The published anchors, then those that the caller names as `ROLE:SPKI_SHA256`. */
export function anchorsWith(given: readonly string[]): readonly Anchor[] {
  return [...DEFAULT_ANCHORS, ...given.map(parseAnchor)];
}

function parseAnchor(given: string): Anchor {
  const colon = given.lastIndexOf(':');
  const name = given.slice(0, Math.max(colon, 0));
  const spkiSha256 = given.slice(colon + 1).toLowerCase();
  const kind = KINDS.get(name);
  if (!kind) throw misuse(given, colon < 0 ? 'no role stands before a colon' : `${name} is no role`);
  if (!DIGEST.test(spkiSha256)) throw misuse(given, 'behind the role stand no 64 hex digits');
  refusePublished(kind.role, spkiSha256);
  return { ...kind, name: `EXTRA ANCHOR ${name} ${spkiSha256}`, spkiSha256, simulated: false };
}

function misuse(given: string, problem: string): CliError {
  const advice = `Give ROLE:SPKI_SHA256; the roles are ${[...KINDS.keys()].join(', ')}.`;
  return new CliError(EXIT.misuse, `--anchor ${given}: ${problem}`, advice);
}

/** A simulated root under another role would be simulated no longer: its private key is published. */
function refusePublished(role: AnchorRole, spkiSha256: string): void {
  const published = DEFAULT_ANCHORS.find(
    (anchor) => anchor.spkiSha256 === spkiSha256 && (anchor.simulated || anchor.role === role),
  );
  if (!published) return;
  const advice = published.simulated
    ? 'Anyone can sign with it. --allow-simulated accepts it as what it is.'
    : 'It is trusted without this option: leave it out.';
  throw new CliError(EXIT.misuse, `--anchor: this is the published key ${published.name}`, advice);
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

export function earOf(verdict: AnchoredVerdict): object {
  const ear = toEar(verdict, packageVersion());
  const { extraAnchors } = verdict;
  if (!extraAnchors) return ear;
  const submods = Object.entries(ear.submods).map(
    ([name, appraisal]) => [name, { ...appraisal, vouchsafe_extra_anchors: extraAnchors }] as const,
  );
  return { ...ear, submods: Object.fromEntries(submods) };
}
