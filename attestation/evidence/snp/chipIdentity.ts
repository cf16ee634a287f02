import { toHex } from '../../bytes/bytes.ts';
import type { Check } from '../../checks.ts';
import { conclude, kept, violated, type Finding } from '../../policy/finding.ts';
import type { SnpPolicy } from '../../policy/snp.ts';
import type { VerifiedSnp } from './verify.ts';

/** Which chip signed, or under a VLEK whose. */
export function checkIdentity(verified: VerifiedSnp, policy: SnpPolicy): Check {
  const findings = [
    judgeProduct(verified, policy),
    judgeKey(verified, policy),
    judgeChip(verified, policy),
    ...judgeProvider(verified, policy),
  ];
  return conclude('cpu.identity', 'cpu', findings, true);
}

function judgeProduct({ product }: VerifiedSnp, { products }: SnpPolicy): Finding {
  return products.includes(product)
    ? kept(product)
    : violated('DEVICE_NOT_ALLOWED', `the chip is of ${product}; the policy names ${products.join(', ')}`);
}

/**
 * `verifySnp` refuses a report that names no key. One that says that the chip's own key is masked cannot carry a
 * signature by that key: firmware that states both is not firmware as AMD specifies it.
 */
function judgeKey({ report, vek }: VerifiedSnp, { endorsementKeys }: SnpPolicy): Finding {
  if (!endorsementKeys.includes(vek.kind)) {
    const reason = `signed by a ${vek.kind}; the policy names ${endorsementKeys.join(', ')}`;
    return violated('UNTRUSTED_KEY', reason);
  }
  return vek.kind === 'vcek' && report.keyInfo.maskChipKey
    ? violated('UNTRUSTED_KEY', 'signed by a vcek, which the report says is masked')
    : kept(vek.kind);
}

function judgeChip({ report, vek }: VerifiedSnp, { chipIds }: SnpPolicy): Finding {
  const chipId = toHex(report.chipId);
  if (chipIds === 'any') return kept(`chip ${chipId}; the policy allows any chip`);
  return vek.kind === 'vcek' && chipIds.includes(chipId)
    ? kept(`chip ${chipId} is listed`)
    : violated('DEVICE_NOT_ALLOWED', `chip ${chipId} is not among ${chipIds.length} listed`);
}

function judgeProvider({ vek }: VerifiedSnp, { cspIds }: SnpPolicy): readonly Finding[] {
  if (cspIds === 'any') return vek.cspId === undefined ? [] : [kept(`provider ${vek.cspId}`)];
  if (vek.cspId === undefined) {
    const reason = `a ${vek.kind} names no provider; the policy names ${cspIds.join(', ')}`;
    return [violated('DEVICE_NOT_ALLOWED', reason)];
  }
  return [
    cspIds.includes(vek.cspId)
      ? kept(`provider ${vek.cspId} is listed`)
      : violated('DEVICE_NOT_ALLOWED', `provider ${vek.cspId} is not among ${cspIds.join(', ')}`),
  ];
}
