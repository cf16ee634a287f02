import { isNonce } from '../../binding.ts';
import { toHex, utf8 } from '../../bytes/bytes.ts';
import type { CheckId } from '../../checks.ts';
import type { CryptoProvider, SignatureScheme } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import type { NrasPolicy } from '../../policy/nras.ts';
import { atCheck } from '../../verdict/steps.ts';
import { isoTime } from '../../x509/time.ts';
import { quoted } from './json.ts';
import { parseKeySet, signingKey, type KeySet } from './keySet.ts';
import { parseNrasAnswer, type DeviceToken, type NrasAnswer, type OverallToken } from './parse.ts';

/** The `iss` of the service and of NVIDIA's own test of it. */
export const ISSUERS: Readonly<Record<NrasPolicy['issuers'][number], string>> = {
  production: 'https://nras.attestation.nvidia.com',
  staging: 'https://nras.attestation-stg.nvidia.com',
};
/** Keys of the test service are called so. */
const STAGING_KEY = 'nv-eat-kid-stg-';
const ES384 = 'ES384';
const SCHEME: SignatureScheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' };
const SIGNATURE_BYTES = 96;
/** As the service writes it. NVIDIA's local tools, whose tokens anyone can make, write `SHA256`. */
const DIGEST_NAME = 'SHA-256';

/** The checks that verification makes, in their order. */
export const VERIFIED: readonly CheckId[] = [
  'token.format',
  'token.signature',
  'token.time',
  'token.nonce',
  'token.submodules',
];

export interface NrasVerifyOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. */
  readonly now: number;
  /** The nonce that the asker sent to the service, 32 bytes. */
  readonly nonce: Uint8Array;
  /**
   * The key set of the service (JWKS) as the caller fetched it from the service over TLS. Undefined where there is
   * none: the tokens can then not be judged.
   */
  readonly jwks: Uint8Array | undefined;
  readonly policy: Pick<NrasPolicy, 'issuers' | 'clockSkewSeconds' | 'maximumAgeSeconds'>;
}

declare const verified: unique symbol;

/** Tokens that the holder of the service's keys signed for the nonce, complete. They may say that a device failed. */
export interface VerifiedNrasAnswer extends NrasAnswer {
  readonly [verified]: true;
  readonly issuer: string;
}

type AnyToken = OverallToken | DeviceToken;

/**
 * Verifies an answer: format, signatures, time, nonce and that the overall token names exactly the device tokens, in
 * this order. Each refusal names its check.
 */
export async function verifyNrasAnswer(
  bytes: Uint8Array,
  options: NrasVerifyOptions,
): Promise<VerifiedNrasAnswer> {
  const answer = await atCheck('token.format', () => parseNrasAnswer(bytes));
  const tokens: readonly AnyToken[] = [answer.overall, ...answer.devices];
  await atCheck('token.signature', async () => {
    const keys = readKeys(options.jwks);
    for (const token of tokens) await verifySignature(token, keys, options);
  });
  await atCheck('token.time', () => {
    for (const token of tokens) checkTime(token, options);
  });
  await atCheck('token.nonce', () => {
    checkNonces(answer, options.nonce);
  });
  await atCheck('token.submodules', () => {
    checkSubmodules(answer, options.crypto);
  });
  return { ...answer, issuer: answer.overall.claims.issuer } as VerifiedNrasAnswer;
}

function readKeys(jwks: Uint8Array | undefined): KeySet {
  if (!jwks) {
    throw new Refusal(
      'COLLATERAL_MISSING',
      `no key set of the attestation service was supplied; it serves one at ${ISSUERS.production}/.well-known/jwks.json`,
    );
  }
  return parseKeySet(jwks);
}

/**
 * Algorithm, key, signature, issuer. `none` and a shared secret (HS256, as NVIDIA's local verifier writes) are
 * signatures that anyone can make.
 */
async function verifySignature(
  token: AnyToken,
  keys: KeySet,
  { crypto, policy }: NrasVerifyOptions,
): Promise<void> {
  const what = nameOf(token);
  const { algorithm, keyId, signed, signature, claims } = token;
  if (algorithm !== ES384) {
    throw new Refusal('ALGORITHM_MISMATCH', `${what} is of algorithm ${quoted(algorithm)}, not ${ES384}`);
  }
  const spki = signingKey(keys, keyId);
  if (signature.length !== SIGNATURE_BYTES || !(await crypto.verify(SCHEME, spki, signed, signature))) {
    throw new Refusal('SIGNATURE_INVALID', `${what} does not verify under key ${quoted(keyId ?? '')}`);
  }
  const accepted = policy.issuers.map((name) => ISSUERS[name]);
  if (!accepted.includes(claims.issuer)) {
    const reason = `${what} is of ${quoted(claims.issuer)}; the policy names ${accepted.join(', ')}`;
    throw new Refusal('UNTRUSTED_KEY', reason);
  }
  if (keyId?.startsWith(STAGING_KEY) && claims.issuer !== ISSUERS.staging) {
    throw new Refusal('UNTRUSTED_KEY', `${what} of ${claims.issuer} is signed by a key of the test service`);
  }
}

/**
 * `nbf` and `iat` may be ahead of a slow clock by the skew of the policy. `exp` is the end without any: the service
 * itself said so, and one can ask it again.
 */
function checkTime(token: AnyToken, { now, policy }: NrasVerifyOptions): void {
  const what = nameOf(token);
  const { claims } = token;
  const [notBefore, issuedAt, expiresAt] = [claims.notBefore, claims.issuedAt, claims.expiresAt].map(
    (seconds) => 1000 * seconds,
  ) as [number, number, number];
  const start = Math.max(notBefore, issuedAt);
  if (start >= expiresAt) {
    const times = `${isoTime(notBefore)}, ${isoTime(issuedAt)}, ${isoTime(expiresAt)}`;
    throw new Refusal('TIME_CONTRADICTION', `${what} ends before it begins: nbf, iat, exp are ${times}`);
  }
  if (now < start - 1000 * policy.clockSkewSeconds) {
    throw new Refusal(
      'COLLATERAL_NOT_YET_VALID',
      `${what} is valid from ${isoTime(start)}, judged at ${isoTime(now)}`,
    );
  }
  const oldest = policy.maximumAgeSeconds === 'any' ? Infinity : issuedAt + 1000 * policy.maximumAgeSeconds;
  if (now >= expiresAt || now > oldest) {
    const bound = now >= expiresAt ? `until ${isoTime(expiresAt)}` : `accepted until ${isoTime(oldest)}`;
    throw new Refusal(
      'EVIDENCE_STALE',
      `${what} of ${isoTime(issuedAt)} is ${bound}, judged at ${isoTime(now)}`,
    );
  }
}

/** A token about an error carries no nonce; it is the word that the device failed, and no policy accepts it. */
function checkNonces({ overall, devices }: NrasAnswer, nonce: Uint8Array): void {
  if (!isNonce(nonce)) {
    throw new Refusal('NONCE_INVALID', `the nonce asked for is ${toHex(nonce)}`);
  }
  const wanted = toHex(nonce);
  for (const token of [overall, ...devices]) {
    if (token.claims.kind === 'error' || token.claims.nonce === wanted) continue;
    throw new Refusal(
      'NONCE_MISMATCH',
      `${nameOf(token)} is for nonce ${token.claims.nonce}, wanted ${wanted}`,
    );
  }
}

/** SHA-256 over the ASCII of each device token. An overall token alone says nothing of any device. */
function checkSubmodules({ overall, devices }: NrasAnswer, crypto: CryptoProvider): void {
  const { submodules } = overall.claims;
  if (devices.length === 0) {
    const named = [...submodules.keys()].join(', ') || 'none';
    throw new Refusal(
      'TOKEN_SUBMODULE_MISMATCH',
      `there is no device token; the overall token names ${named}`,
    );
  }
  for (const { label, text } of devices) {
    const named = submodules.get(label);
    if (!named) {
      throw new Refusal('TOKEN_SUBMODULE_MISMATCH', `the overall token does not name ${label}`);
    }
    if (named.algorithm !== DIGEST_NAME) {
      const reason = `the digest of ${label} is of ${quoted(named.algorithm)}, the service writes ${DIGEST_NAME}`;
      throw new Refusal('ALGORITHM_MISMATCH', reason);
    }
    const digest = toHex(crypto.hash('sha256', utf8(text)));
    if (digest !== named.digest) {
      throw new Refusal(
        'TOKEN_SUBMODULE_MISMATCH',
        `token ${label} has digest ${digest}, the overall token names ${named.digest}`,
      );
    }
  }
  const present = new Set(devices.map(({ label }) => label));
  const absent = [...submodules.keys()].filter((label) => !present.has(label));
  if (absent.length > 0) {
    throw new Refusal('TOKEN_SUBMODULE_MISMATCH', `the tokens of ${absent.join(', ')} are absent`);
  }
}

function nameOf(token: AnyToken): string {
  return 'label' in token ? `token ${token.label}` : 'the overall token';
}
