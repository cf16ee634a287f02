import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { calculateJwkThumbprint, SignJWT } from 'jose';
import { encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { ALG, type CoseKey, keyThumbprint } from '../../attestation/cose/key.ts';
import { encodeSign1, HEADER, sigStructure } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeEar, type EarClaims } from '../../attestation/verdict/ear.ts';
import { CliError, EXIT } from './exit.ts';

/** Media types of RFC 9782. */
const CWT_TYPE = 'application/eat+cwt';
const JWT_TYPE = 'eat+jwt';

/** Forms in which a result is handed on. Without a signature nobody else has reason to believe it. */
export const EAR_FORMS = ['claims', 'jwt', 'cwt'] as const;
export type EarForm = (typeof EAR_FORMS)[number];

interface Signer {
  readonly key: KeyObject;
  readonly publicKey: CoseKey;
  /** `alg` of JOSE: ES256 (RFC 7518) or Ed25519 (RFC 9864). */
  readonly jwsAlgorithm: 'ES256' | 'Ed25519';
  sign(data: Uint8Array): Uint8Array;
}

/** Signs a result as a JWT: `kid` is the thumbprint of RFC 7638. */
export async function earJwt(claims: EarClaims, key: KeyObject): Promise<string> {
  const { jwsAlgorithm } = signerOf(key);
  const kid = await calculateJwkThumbprint(createPublicKey(key).export({ format: 'jwk' }));
  const header = { alg: jwsAlgorithm, typ: JWT_TYPE, kid };
  return new SignJWT({ ...claims }).setProtectedHeader(header).sign(key);
}

/** Signs a result as a CWT, a COSE_Sign1: `kid` is the thumbprint of RFC 9679. */
export function earCwt(claims: EarClaims, key: KeyObject): Uint8Array {
  const signer = signerOf(key);
  const header = encodeDc(
    new Map<number, Dc>([
      [HEADER.alg, signer.publicKey.alg],
      [HEADER.kid, keyThumbprint(signer.publicKey, nodeCrypto)],
      [HEADER.typ, CWT_TYPE],
    ]),
  );
  const payload = encodeEar(claims);
  return encodeSign1(header, payload, signer.sign(sigStructure(header, payload)));
}

function signerOf(key: KeyObject): Signer {
  const kind = key.asymmetricKeyType ?? 'none';
  const jwk = createPublicKey(key).export({ format: 'jwk' });
  const member = (value: string | undefined): Uint8Array => Buffer.from(value ?? '', 'base64url');
  if (kind === 'ed25519') {
    return {
      key,
      publicKey: { alg: ALG.ed25519, x: member(jwk.x) },
      jwsAlgorithm: 'Ed25519',
      sign: (data) => sign(null, data, key),
    };
  }
  if (kind === 'ec' && jwk.crv === 'P-256') {
    return {
      key,
      publicKey: { alg: ALG.es256, x: member(jwk.x), y: member(jwk.y) },
      jwsAlgorithm: 'ES256',
      sign: (data) => sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' }),
    };
  }
  const advice = 'Make one with `openssl genpkey -algorithm ed25519 -out ear-key.pem`.';
  throw new CliError(EXIT.misuse, `--ear-key: a key of the kind ${kind} cannot sign results`, advice);
}
