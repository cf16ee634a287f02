import type { Anchor, AnchorRole } from './anchors.ts';
import { DEFAULT_ANCHORS } from './defaultAnchors.ts';
import { SNP_PRODUCTS, type SnpProduct } from './evidence/snp/product.ts';

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

/** By its name: the role, for AMD with its product. */
const KINDS: ReadonlyMap<string, AnchorKind> = new Map(
  (Object.keys(PRODUCTS) as AnchorRole[]).flatMap((role): [string, AnchorKind][] => {
    if (PRODUCTS[role].length === 0) return [[role, { role }]];
    return PRODUCTS[role].map((product) => [`${role}/${product}`, { role, product }]);
  }),
);

const DIGEST = /^[0-9a-f]{64}$/;

/** Why a text names no anchor that may be added. */
export interface AnchorProblem {
  readonly problem: string;
  /** What to do about it; a sentence. */
  readonly advice: string;
}

/** The anchor that a person names as `ROLE:SPKI_SHA256`, such as `tpm:…` or `amd-ark/genoa:…`. */
export function readNamedAnchor(given: string): Anchor | AnchorProblem {
  const colon = given.lastIndexOf(':');
  const name = given.slice(0, Math.max(colon, 0));
  const spkiSha256 = given.slice(colon + 1).toLowerCase();
  const kind = KINDS.get(name);
  if (!kind) return malformed(colon < 0 ? 'no role stands before a colon' : `${name} is no role`);
  if (!DIGEST.test(spkiSha256)) return malformed('behind the role stand no 64 hex digits');
  const anchor = { ...kind, name: `EXTRA ANCHOR ${name} ${spkiSha256}`, spkiSha256, simulated: false };
  return publishedProblem(anchor) ?? anchor;
}

function malformed(problem: string): AnchorProblem {
  return { problem, advice: `Give ROLE:SPKI_SHA256; the roles are ${[...KINDS.keys()].join(', ')}.` };
}

/** A simulated root under another role would be simulated no longer: its private key is published. */
function publishedProblem({ role, spkiSha256 }: Anchor): AnchorProblem | undefined {
  const published = DEFAULT_ANCHORS.find(
    (anchor) => anchor.spkiSha256 === spkiSha256 && (anchor.simulated || anchor.role === role),
  );
  if (!published) return undefined;
  const advice = published.simulated
    ? 'Anyone can sign with it. --allow-simulated accepts it as what it is.'
    : 'It is trusted anyway: leave it out.';
  return { problem: `this is the published key ${published.name}`, advice };
}
