import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { appraiseNitro, appraiseNitroTpm } from '../../../attestation/evidence/nitro/appraise.ts';
import { verifyNitro, type VerifiedNitro } from '../../../attestation/evidence/nitro/verify.ts';
import { checkExtraData } from '../../../attestation/evidence/tpm/appraise.ts';
import { pointSpki } from '../../../attestation/evidence/tpm/key.ts';
import { derEcdsaSignature } from '../../../attestation/evidence/tpm/signature.ts';
import { verifyTpmQuote } from '../../../attestation/evidence/tpm/verify.ts';
import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import { fail, type Check } from '../../../attestation/checks.ts';
import type { CaseFiles } from '../files.ts';
import { outcomeOf, type Outcome } from '../outcome.ts';
import { expectedNonce } from './expected.ts';
import { CORPUS_NITRO, CORPUS_NITRO_TPM } from './policy.ts';

/** An attestation document of an enclave or of NitroTPM, with the TPM's own quote where the case has one. */
export async function judgeNitroCase(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const verified = await verifyNitro(files.need('doc.cbor'), context);
  const appraised =
    verified.document.kind === 'tpm'
      ? appraiseNitroTpm(verified, CORPUS_NITRO_TPM)
      : appraiseNitro(verified, CORPUS_NITRO);
  const quote = await quoteChecks(verified, files, context);
  return outcomeOf([...verified.checks, ...nonceChecks(verified, files), ...quote, ...appraised]);
}

/** Whether the document repeats the nonce that the case states; no check without one. */
function nonceChecks({ document }: VerifiedNitro, files: CaseFiles): readonly Check[] {
  const expected = expectedNonce(files);
  const { nonce } = document;
  if (!expected || (nonce && equalBytes(nonce, expected))) return [];
  const seen = nonce ? toHex(nonce) : 'absent';
  return [fail('cpu.binding', 'cpu', 'NONCE_MISMATCH', `nonce is ${seen}, expected ${toHex(expected)}`)];
}

/** The document names the key; the quote must be by it, over the registers and the nonce of the document. */
async function quoteChecks(
  { document }: VerifiedNitro,
  files: CaseFiles,
  { crypto }: AppraisalContext,
): Promise<readonly Check[]> {
  const message = files.find('tpm_quote.msg');
  if (!message) return [];
  const { publicKey, nonce, pcrs } = document;
  if (!publicKey) return [fail('cpu.vtpm-key', 'cpu', 'UNTRUSTED_KEY', 'the document names no key')];
  const evidence = {
    message,
    signature: derEcdsaSignature(files.need('tpm_quote.sig.der'), 'sha256'),
    pcrs: [{ hash: 'sha384', values: pcrs }],
  } as const;
  const quote = await verifyTpmQuote(evidence, pointSpki(publicKey, 'P-256'), { crypto });
  if (!nonce) return [];
  const named = { id: 'cpu.vtpm-quote', code: 'NONCE_MISMATCH' } as const;
  return [checkExtraData(quote, nonce, named)];
}
