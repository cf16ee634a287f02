import { concat, equalBytes, isZero, toHex } from '../../bytes/bytes.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { hasFlag } from './enclaveReport.ts';
import type { QeIdentity } from './qeIdentity.ts';
import type { QuoteSignature } from './quoteSignature.ts';
import { checkQeIdentity } from './tcbLevel.ts';

const DIGEST_BYTES = 32;

/**
 * Whether the quoting enclave vouches for the attestation key, is not in debug mode and, where its identity is known,
 * is the enclave that Intel names.
 */
export function checkQuotingEnclave(
  signature: QuoteSignature,
  identity: QeIdentity | undefined,
  crypto: CryptoProvider,
): void {
  checkKeyBinding(signature, crypto);
  refuseDebug(signature);
  if (identity) checkQeIdentity(signature.qeReport, identity);
}

/**
 * Report data is SHA-256(key || authentication data) and 32 zero bytes. Without this anyone's key would sign beside
 * a genuine report of the enclave.
 */
function checkKeyBinding(
  { qeReport, attestationKey, qeAuthData }: QuoteSignature,
  crypto: CryptoProvider,
): void {
  const expected = crypto.hash('sha256', concat(attestationKey, qeAuthData));
  const { reportData } = qeReport;
  if (
    equalBytes(reportData.subarray(0, DIGEST_BYTES), expected) &&
    isZero(reportData.subarray(DIGEST_BYTES))
  ) {
    return;
  }
  throw new Refusal(
    'QE_BINDING_MISMATCH',
    `the quoting enclave vouches for ${toHex(reportData)}, the attestation key and authentication data give ${toHex(expected)} and zeros`,
  );
}

/** The host reads the attestation key out of an enclave in debug mode. */
function refuseDebug({ qeReport }: QuoteSignature): void {
  if (!hasFlag(qeReport, 'DEBUG')) return;
  throw new Refusal('QE_IDENTITY_MISMATCH', 'the quoting enclave runs in debug mode (ATTRIBUTES bit 1)');
}
