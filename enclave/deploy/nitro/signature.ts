import { createPrivateKey, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { HEADER, sigStructure } from '../../../attestation/cose/sign1.ts';
import { EIF_MAX_SIGNATURE_BYTES } from '../../predict/nitro/eif.ts';
import { DeployError } from '../errors.ts';

/** Who signs an enclave image. */
export interface EnclaveSigner {
  /** PKCS#8 or SEC 1, PEM. */
  readonly privateKey: string;
  /** The certificate for it, PEM. The hypervisor looks at its validity when the enclave is started. */
  readonly certificate: string;
}

interface Algorithm {
  /** Number in COSE (RFC 9053, section 2.1). */
  readonly cose: number;
  readonly hash: string;
}

/** By the curve's name in OpenSSL. */
const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map([
  ['prime256v1', { cose: -7, hash: 'sha256' }],
  ['secp384r1', { cose: -35, hash: 'sha384' }],
  ['secp521r1', { cose: -36, hash: 'sha512' }],
]);

/** Heads of an array of one item, and of a map of two: deterministic CBOR would have its shorter key first. */
const ARRAY_OF_ONE_PAIR = Uint8Array.of(0x81, 0xa2);

/** DER of the signer's certificate: what PCR8 is extended with is its SHA-384. */
export function certificateOf({ privateKey, certificate }: EnclaveSigner): Uint8Array {
  const [key, parsed] = [readKey(privateKey), readCertificate(certificate)];
  if (!parsed.checkPrivateKey(key)) {
    throw new DeployError('DEPLOY_SIGNING_FAILED', 'the certificate is for another key');
  }
  return new Uint8Array(parsed.raw);
}

/**
 * The signature section («EifSectionSignature»): one pair of certificate and COSE_Sign1 over PCR0. It is written as
 * AWS's tool writes it, byte strings of the pair as arrays of numbers and members in this order.
 */
export function signEnclave(signer: EnclaveSigner, pcr0: Uint8Array): Uint8Array {
  const key = readKey(signer.privateKey);
  const algorithm = ALGORITHMS.get(key.asymmetricKeyDetails?.namedCurve ?? '');
  if (!algorithm)
    throw new DeployError('DEPLOY_SIGNING_FAILED', 'the key is of no curve that can sign images');
  const protectedBytes = encodeDc(new Map([[HEADER.alg, algorithm.cose]]));
  const payload = encodeDc(
    new Map<string, Dc>([
      ['register_index', 0],
      ['register_value', [...pcr0]],
    ]),
  );
  const signature = sign(algorithm.hash, sigStructure(protectedBytes, payload), {
    key,
    dsaEncoding: 'ieee-p1363',
  });
  const sign1 = encodeDc([protectedBytes, new Map(), payload, signature]);
  const section = concat(
    ARRAY_OF_ONE_PAIR,
    encodeDc('signing_certificate'),
    encodeDc([...utf8(signer.certificate)]),
    encodeDc('signature'),
    encodeDc([...sign1]),
  );
  if (section.length > EIF_MAX_SIGNATURE_BYTES) {
    throw new DeployError('DEPLOY_SIGNING_FAILED', 'the certificate is too long for an image');
  }
  return section;
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new DeployError('DEPLOY_SIGNING_FAILED', 'the private key cannot be read', { cause });
  }
}

function readCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new DeployError('DEPLOY_SIGNING_FAILED', 'the certificate cannot be read', { cause });
  }
}
