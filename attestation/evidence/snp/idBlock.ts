import { isZero } from '../../bytes/bytes.ts';
import { judgeReference, kept, violated, type Finding } from '../../policy/finding.ts';
import type { Reference } from '../../policy/shapes.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import type { SnpReport } from './parse.ts';

/**
 * The ID block (SNP firmware ABI, SNP_LAUNCH_FINISH): launch digest, family id, image id, guest SVN and guest policy,
 * signed by an id key, which an author key may have signed. Firmware refuses the launch where they differ from the
 * guest, but takes any id key: a host can sign one of its own, so only the digests of the keys give it weight.
 */
export function judgeIdBlock(report: SnpReport, policy: SnpPolicy): readonly Finding[] {
  return [
    ...judgeKeys(report, policy),
    ...judgeId('family id', report.familyId, policy.familyIds),
    ...judgeId('image id', report.imageId, policy.imageIds),
    ...judgeGuestSvn(report, policy),
  ];
}

function judgeKeys(report: SnpReport, { idBlock }: SnpPolicy): readonly Finding[] {
  if (idBlock === 'any') return [];
  if (isZero(report.idKeyDigest)) {
    return [violated('UNTRUSTED_KEY', 'launched without an ID block, which the policy demands')];
  }
  const { idKeyDigests, authorKeyDigests } = idBlock;
  return [
    ...(idKeyDigests === 'any'
      ? []
      : [judgeReference('id key digest', report.idKeyDigest, idKeyDigests, 'UNTRUSTED_KEY')]),
    ...(authorKeyDigests === 'any' ? [] : [judgeAuthor(report, authorKeyDigests)]),
  ];
}

/** The digest counts only where key information says that firmware checked an author key. */
function judgeAuthor({ keyInfo, authorKeyDigest }: SnpReport, digests: readonly Reference[]): Finding {
  if (!keyInfo.authorKeyEnabled || isZero(authorKeyDigest)) {
    return violated('UNTRUSTED_KEY', 'no author key signed the id key, which the policy demands');
  }
  return judgeReference('author key digest', authorKeyDigest, digests, 'UNTRUSTED_KEY');
}

function judgeId(what: string, id: Uint8Array, references: 'any' | readonly Reference[]): readonly Finding[] {
  return references === 'any' ? [] : [judgeReference(what, id, references)];
}

function judgeGuestSvn({ guestSvn }: SnpReport, { minimumGuestSvn }: SnpPolicy): readonly Finding[] {
  if (minimumGuestSvn === 'any') return [];
  const seen = `guest SVN ${guestSvn}, minimum ${minimumGuestSvn}`;
  return [guestSvn < minimumGuestSvn ? violated('MEASUREMENT_MISMATCH', seen) : kept(seen)];
}
