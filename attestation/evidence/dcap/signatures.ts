import { concat, fromHex } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { Certificate } from '../../x509/certificate.ts';
import type { Quote } from './quote.ts';

const SCHEME = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;
/** SubjectPublicKeyInfo of a P-256 key up to and with 0x04, the mark of an uncompressed point (RFC 5480 section 2). */
const P256_SPKI_HEAD = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004');

/**
 * Verifies the quote under the attestation key and the quoting enclave's report under the PCK, both ECDSA P-256 with
 * SHA-256. Alone, the first proves nothing: whoever writes a quote writes the key beside it.
 */
export async function verifyQuoteSignatures(
  { signedBytes, signature }: Quote,
  pck: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  const key = concat(P256_SPKI_HEAD, signature.attestationKey);
  const [quote, report] = await Promise.all([
    crypto.verify(SCHEME, key, signedBytes, signature.signature),
    crypto.verify(SCHEME, pck.spki, signature.qeReport.bytes, signature.qeReportSignature),
  ]);
  if (!quote) throw new Refusal('SIGNATURE_INVALID', 'the quote does not verify under its attestation key');
  if (!report) {
    throw new Refusal('SIGNATURE_INVALID', 'the report of the quoting enclave does not verify under the PCK');
  }
}
