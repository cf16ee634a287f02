import { concat, utf8 } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';

/** Length of the field of report data; ours fills it (DESIGN section 4), ACI the first half of it. */
const REPORT_DATA_BYTES = 64;
const NONCE = /^[0-9a-f]{64}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * The bytes that a quote of ACI commits to (section 3.2): this template exactly, which is its own canonical form. An
 * asker chooses 32 bytes of it at most, between fixed text. Without a nonce it proves no freshness.
 */
export function aciStatement(keysetDigest: string, nonce: string | null): Uint8Array {
  if (!DIGEST.test(keysetDigest))
    throw new Refusal('MALFORMED', 'the keyset digest is not sha256: and 64 hex digits');
  if (nonce !== null && !NONCE.test(nonce)) {
    throw new Refusal('NONCE_INVALID', 'a nonce of ACI is 64 lower-case hex digits');
  }
  const said = nonce === null ? 'null' : `"${nonce}"`;
  return utf8(`{"keyset_digest":"${keysetDigest}","nonce":${said},"purpose":"aci.report_data.v1"}`);
}

/**
 * The 64 bytes of report data: SHA-256 of the statement, then 32 zero bytes. Ours are a SHA-512 (`binding.ts`): that
 * one of them ends in 32 zero bytes is as likely as guessing a key, so a quote of one kind never stands for the other.
 */
export function aciReportData(statement: Uint8Array, crypto: CryptoProvider): Uint8Array {
  const digest = crypto.hash('sha256', statement);
  return concat(digest, new Uint8Array(REPORT_DATA_BYTES - digest.length));
}
