import { concat, equalBytes, toHex } from '../../bytes/bytes.ts';
import { pass, type Check } from '../../checks.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { RuntimeClaims } from './claims.ts';
import type { HclPlatform, HclReport } from './parse.ts';

declare const verified: unique symbol;

/** Claims that a hardware report commits to: the paravisor inside that hardware made them. */
export interface VerifiedRuntimeClaims {
  readonly [verified]: true;
  readonly platform: HclPlatform;
  readonly claims: RuntimeClaims;
  /** The check that this verification made, with the values compared. */
  readonly checks: readonly Check[];
}

/**
 * Verifies that `reportData`, the 64 bytes of a verified SNP report or TD quote, is the hash of exactly the claims,
 * followed by zeros, and that the hardware report inside carries the same. For SNP that report is the one to verify;
 * a TDREPORT is no evidence by itself, so the quote made of it must be.
 *
 * An attacker who writes other claims names a key of his own as that of the virtual TPM.
 */
export function verifyRuntimeClaims(
  report: HclReport,
  reportData: Uint8Array,
  crypto: CryptoProvider,
): VerifiedRuntimeClaims {
  if (!equalBytes(report.reportData, reportData)) {
    throw mismatch(
      `report data of the hardware is ${toHex(reportData)}, in the HCL report ${toHex(report.reportData)}`,
    );
  }
  const digest = crypto.hash(report.hash, report.claimsBytes);
  const expected = concat(digest, new Uint8Array(reportData.length - digest.length));
  if (!equalBytes(reportData, expected)) {
    throw mismatch(`report data is ${toHex(reportData)}, the claims give ${toHex(expected)}`);
  }
  const reason = `report data is ${report.hash} ${toHex(digest)} of the ${report.claimsBytes.length} bytes of claims`;
  const checks = [pass('cpu.runtime-claims', 'cpu', reason)];
  return { platform: report.platform, claims: report.claims, checks } as unknown as VerifiedRuntimeClaims;
}

function mismatch(detail: string): Refusal {
  return new Refusal('BINDING_MISMATCH', detail, 'cpu.runtime-claims');
}
