import type { AnchorRole } from '../../anchors.ts';
import { tpmExtraData } from '../../binding.ts';
import { skip, type Check, type CheckId } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import type { TpmPolicy } from '../../policy/tpm.ts';
import { atCheck, notReached, runSteps } from '../../verdict/steps.ts';
import type { AppraisalContext } from '../context.ts';
import type { EncodedTpmQuote, PcrBank } from '../evidence.ts';
import { verifyAk, verifyAkCertificate, type VerifiedAk, type VouchedKey } from '../tpm/ak.ts';
import { appraiseTpm, checkExtraData } from '../tpm/appraise.ts';
import { certificateSpki } from '../tpm/certificate.ts';
import type { TpmChainOptions } from '../tpm/chain.ts';
import { parseTpmtSignature } from '../tpm/signature.ts';
import { verifyTpmQuote, type VerifiedTpmQuote } from '../tpm/verify.ts';
import type { BootRegisters } from './judgement.ts';

const STEPS: readonly CheckId[] = ['cpu.vtpm-key', 'cpu.vtpm-quote'];
const APPRAISED: readonly CheckId[] = [
  'cpu.binding',
  'cpu.guest-policy',
  'cpu.tcb',
  'cpu.identity',
  'cpu.measurement',
];

/** A quote with the key that made it, both verified. */
export interface VerifiedVtpm {
  readonly quote: VerifiedTpmQuote;
  readonly ak: VerifiedAk;
}

export interface VtpmSteps {
  readonly verified: VerifiedVtpm | undefined;
  readonly checks: readonly Check[];
}

/**
 * Verifies a quote and that its key is vouched for: by other evidence, which then names the key, or else by the
 * certificate of the key, up to an anchor of one of the roles.
 */
export async function verifyVtpm(
  { message, signature, pcrs, certificates }: EncodedTpmQuote,
  vouched: VouchedKey | undefined,
  roles: readonly AnchorRole[],
  policy: TpmPolicy,
  subject: string,
  context: AppraisalContext,
): Promise<VtpmSteps> {
  const { crypto } = context;
  const options = { ...chainOptions(context), subject };
  const { value: verified, checks } = await runSteps(STEPS, subject, async () => {
    const spki = vouched?.spki ?? certifiedKey(certificates);
    const ak = await verifyAk(spki, { certificates, vouched }, roles, options);
    const quote = await atCheck('cpu.vtpm-quote', () => {
      const evidence = { message, signature: parseTpmtSignature(signature), pcrs: [pcrs] };
      return verifyTpmQuote(evidence, spki, { crypto, subject });
    });
    return { ak, quote };
  });
  if (!verified) return { verified, checks };
  const lists =
    policy.revocation === 'required' ? await checkLists(certificates, roles, options, subject) : [];
  return { verified, checks: [...lists, ...verified.ak.checks, ...verified.quote.checks] };
}

function chainOptions(context: AppraisalContext): TpmChainOptions {
  const { crypto, now, anchors, collateral, chainCache } = context;
  const { crls, certificates } = collateral;
  return { crypto, now, anchors, crls, certificates, chainCache, revocation: 'when-present' };
}

/** Where nothing else names the key, its certificate does; `verifyAk` then verifies that certificate. */
function certifiedKey([certificate]: readonly Uint8Array[]): Uint8Array {
  if (certificate) return certificateSpki(certificate);
  throw new Refusal('CERT_MISSING', 'no certificate of the key is given', 'cpu.vtpm-key');
}

/**
 * Whether each list that the policy demands was there. One that nobody supplied leaves the rest to be judged:
 * evidence that is refused for another reason must not come out as merely not judged.
 */
async function checkLists(
  certificates: readonly Uint8Array[],
  roles: readonly AnchorRole[],
  options: TpmChainOptions,
  subject: string,
): Promise<readonly Check[]> {
  const id = 'cpu.revocation';
  if (certificates.length === 0) {
    const reason = 'no certificate of the key is given, whose lists could be looked at';
    return [skip(id, subject, 'NOT_REQUIRED', reason)];
  }
  const required = { ...options, revocation: 'required' } as const;
  const { value, checks } = await runSteps(
    [id],
    subject,
    () => verifyAkCertificate(certificates, roles, required),
    ({ revocation }) => ({ [id]: `${revocation.published} certificates name a list, none is revoked` }),
  );
  if (value?.revocation.published !== 0) return checks;
  return [skip(id, subject, 'NOT_REQUIRED', 'no certificate of the key says where a list is published')];
}

/** The checks of a quote whose `extraData` must be SHA-256 of the 64 bytes of DESIGN section 4. */
export function judgeVtpm(
  { verified, checks }: VtpmSteps,
  policy: TpmPolicy,
  expected: Uint8Array,
  subject: string,
  { crypto }: AppraisalContext,
): readonly Check[] {
  if (!verified) {
    return [...checks, ...APPRAISED.map((id) => notReached(id, subject, 'the quote did not verify'))];
  }
  const { quote, ak } = verified;
  const wanted = { id: 'cpu.binding', code: 'BINDING_MISMATCH' } as const;
  const binding = checkExtraData(quote, tpmExtraData(expected, crypto), wanted);
  return [...checks, binding, ...appraiseTpm(quote, ak, policy)];
}

export function vtpmNotReached(subject: string, because: string): VtpmSteps {
  return { verified: undefined, checks: STEPS.map((id) => notReached(id, subject, because)) };
}

/** The quoted values of the bank that the evidence carries; a log that leads to SHA-1 values proves nothing. */
export function registersOf({ quote }: VerifiedVtpm, { hash }: PcrBank): BootRegisters | undefined {
  const values = quote.pcrs.find((bank) => bank.hash === hash)?.values;
  return values && hash !== 'sha1' ? { kind: 'pcr', bank: hash, values } : undefined;
}
