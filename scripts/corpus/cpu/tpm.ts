import type { Check } from '../../../attestation/checks.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { judgeBootLog } from '../../../attestation/evidence/platforms/bootLog.ts';
import { registersOf, type VerifiedVtpm } from '../../../attestation/evidence/platforms/vtpm.ts';
import { verifyAk, verifyAkCertificate } from '../../../attestation/evidence/tpm/ak.ts';
import { appraiseTpm } from '../../../attestation/evidence/tpm/appraise.ts';
import { certificateSpki } from '../../../attestation/evidence/tpm/certificate.ts';
import { verifyEkCertificate } from '../../../attestation/evidence/tpm/ek.ts';
import {
  derEcdsaSignature,
  parseTpmtSignature,
  type TpmSignature,
} from '../../../attestation/evidence/tpm/signature.ts';
import { verifyTpmQuote } from '../../../attestation/evidence/tpm/verify.ts';
import { certificatesIn, type CaseFiles } from '../files.ts';
import { ACCEPTED, outcomeOf, type Outcome } from '../outcome.ts';
import { checkNonce } from './expected.ts';
import { pcrBanks } from './pcrs.ts';
import { CORPUS_TPM } from './policy.ts';

const ROLES = ['gcp-vtpm', 'azure-vtpm', 'tpm'] as const;

/** Quotes of one TPM, one for each bank or one for all, with its key, nonce and boot log. */
export async function judgeTpmCase(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const checks: Check[] = [];
  for (const { path, bytes } of files.byName(/^(?:tpm_)?quote.*\.msg$/)) {
    checks.push(...(await judgeQuote(bytes, path.replace(/\.msg$/, ''), files, context)));
  }
  if (checks.length === 0) throw new Refusal('EVIDENCE_INCOMPLETE', 'the case has no quote');
  return outcomeOf(checks);
}

async function judgeQuote(
  message: Uint8Array,
  stem: string,
  files: CaseFiles,
  context: AppraisalContext,
): Promise<readonly Check[]> {
  const certificates = files.certificates('ak_chain.pem', 'ak_cert.der', 'ak_cert.pem');
  const spki = files.find('ak_pub.der') ?? certifiedKey(certificates);
  const evidence = { message, signature: signatureOf(stem, files), pcrs: pcrBanks(files, stem) };
  const quote = await verifyTpmQuote(evidence, spki, context);
  const ak = await verifyAk(spki, { certificates, vouched: undefined }, ROLES, akOptions(context));
  return [
    ...checkNonce(quote, files),
    ...bootLogChecks({ quote, ak }, files, context),
    ...appraiseTpm(quote, ak, CORPUS_TPM),
  ];
}

function certifiedKey([certificate]: readonly Uint8Array[]): Uint8Array {
  if (certificate) return certificateSpki(certificate);
  throw new Refusal('CERT_MISSING', 'the case has neither a key nor its certificate');
}

/** The log against each bank that is quoted and that a log can be held to. */
function bootLogChecks(
  verified: VerifiedVtpm,
  files: CaseFiles,
  context: AppraisalContext,
): readonly Check[] {
  const log = files.find('eventlog.bin');
  return verified.quote.pcrs.flatMap((bank) => {
    const registers = registersOf(verified, bank);
    return registers ? [judgeBootLog(log, { machine: verified.ak.spki, registers }, 'cpu', context)] : [];
  });
}

function akOptions({ crypto, now, anchors, collateral }: AppraisalContext) {
  const { crls, certificates } = collateral;
  return { crypto, now, anchors, crls, certificates, revocation: 'when-present' } as const;
}

/** TPMT_SIGNATURE, or ECDSA in DER with SHA-256 where the name says so. */
function signatureOf(stem: string, files: CaseFiles): TpmSignature {
  const der = files.find(`${stem}.sig.der`);
  if (der) return derEcdsaSignature(der, 'sha256');
  return parseTpmtSignature(files.need(`${stem}.tpmt_sig`, `${stem}.sig`));
}

/** Certificates of attestation and endorsement keys, each up to a pinned root. */
export async function judgeTpmCertificates(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const options = akOptions(context);
  const certificates = files.byRole(/^(?:EK|AK) certificate/);
  if (certificates.length === 0) throw new Refusal('EVIDENCE_INCOMPLETE', 'the case has no certificate');
  for (const { bytes, role } of certificates) {
    const chain = certificatesIn(bytes);
    await (role.startsWith('EK')
      ? verifyEkCertificate(chain, ROLES, options)
      : verifyAkCertificate(chain, ROLES, options));
  }
  return ACCEPTED;
}
