import { constants, type KeyObject, sign } from 'node:crypto';
import { encodeSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import {
  encodeOperatorClaims,
  encodeOperatorHeader,
  type OperatorClaims,
} from '../../attestation/operator/statement.ts';
import { CliError, EXIT } from './exit.ts';

interface Algorithm {
  /** COSE algorithm id. */
  readonly alg: number;
  readonly sign: (data: Uint8Array, key: KeyObject) => Uint8Array;
}

const ecdsa = (alg: number, hash: string): Algorithm => ({
  alg,
  sign: (data, key) => sign(hash, data, { key, dsaEncoding: 'ieee-p1363' }),
});

/** By curve, as Node names it. */
const ECDSA: Readonly<Record<string, Algorithm>> = {
  prime256v1: ecdsa(-7, 'sha256'),
  secp384r1: ecdsa(-35, 'sha384'),
  secp521r1: ecdsa(-36, 'sha512'),
};

const ED25519: Algorithm = { alg: -19, sign: (data, key) => sign(null, data, key) };

/** PS256: SHA-256 with a salt of its length (RFC 8230). */
const PS256: Algorithm = {
  alg: -37,
  sign: (data, key) =>
    sign('sha256', data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
};

/** By kind of key, as Node names it. */
const OTHERS: Readonly<Record<string, Algorithm>> = { ed25519: ED25519, rsa: PS256 };

function algorithmOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): Algorithm {
  const curve = asymmetricKeyDetails?.namedCurve ?? '';
  const found = asymmetricKeyType === 'ec' ? ECDSA[curve] : OTHERS[asymmetricKeyType ?? ''];
  if (found) return found;
  const advice = 'Use a key on P-256, P-384 or P-521, Ed25519 or RSA.';
  throw new CliError(
    EXIT.misuse,
    `--key: a key of the kind ${asymmetricKeyType ?? 'none'} cannot sign`,
    advice,
  );
}

/** A statement as evidence documents carry it. Certificates in DER, that of the key first. */
export function signOperatorStatement(
  claims: OperatorClaims,
  key: KeyObject,
  certificates: readonly Uint8Array[],
): Uint8Array {
  const algorithm = algorithmOf(key);
  const header = encodeOperatorHeader(claims, algorithm.alg, certificates);
  const payload = encodeOperatorClaims(claims);
  return encodeSign1(header, payload, algorithm.sign(sigStructure(header, payload), key));
}
