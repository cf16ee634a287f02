import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { DeployError } from '../errors.ts';

/** Names as the agent of the guest reads them. */
export const INIT_DATA_ALGORITHMS = ['sha256', 'sha384', 'sha512'] as const;
export type InitDataAlgorithm = (typeof INIT_DATA_ALGORITHMS)[number];

/**
 * What a host hands to a guest of Confidential Containers at launch (Initdata Specification, 0.1.0): it is not secret,
 * and the hardware vouches for its digest. Files by name; those that a guest reads are `aa.toml` (attestation agent),
 * `cdh.toml` (confidential data hub) and `policy.rego` (agent policy).
 */
export interface InitData {
  readonly algorithm: InitDataAlgorithm;
  readonly data: Readonly<Record<string, string>>;
}

const VERSION = '0.1.0';
/** Of the whole document; the annotation of a pod may have 256 KiB with all others. */
const MAX_BYTES = 128 * 1024;

/** TOML, the encoding that Confidential Containers use. The digest is over these very bytes. */
export function encodeInitData({ algorithm, data }: InitData): Uint8Array {
  const files = Object.entries(data)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, text]) => `${quotedKey(name)} = ${literal(name, text)}\n`);
  const bytes = utf8(`algorithm = "${algorithm}"\nversion = "${VERSION}"\n\n[data]\n${files.join('\n')}`);
  if (bytes.length > MAX_BYTES) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', `init-data of ${bytes.length} bytes is too long`);
  }
  return bytes;
}

export function digestInitData(
  algorithm: InitDataAlgorithm,
  bytes: Uint8Array,
  crypto: CryptoProvider,
): Uint8Array {
  return crypto.hash(algorithm, bytes);
}

function quotedKey(name: string): string {
  if (/^[\w.-]{1,100}$/.test(name)) return `"${name}"`;
  throw new DeployError(
    'DEPLOY_OPTIONS_INVALID',
    `${JSON.stringify(name)} is no name of a file in init-data`,
  );
}

/**
 * A multi-line literal string (TOML 1.0): no escapes, the first line end is not in it. What it cannot hold is refused:
 * three quotes in a row, control characters, and a carriage return, which parsers may turn into something else.
 */
function literal(name: string, text: string): string {
  if (/'''|[^\P{Cc}\t\n]/u.test(text) || fromUtf8(utf8(text)) !== text || text.endsWith("'")) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', `${name} has characters that init-data cannot hold`);
  }
  return `'''\n${text}'''`;
}
