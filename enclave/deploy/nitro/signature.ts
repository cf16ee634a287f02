import { createPrivateKey, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { sigStructure } from '../../../attestation/cose/sign1.ts';
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
  /** Number in COSE (RFC 9053, section 2.1), as the byte that CBOR has for it. */
  readonly cose: readonly number[];
  readonly hash: string;
}

/** By the curve's name in OpenSSL. */
const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map([
  ['prime256v1', { cose: [0x26], hash: 'sha256' }],
  ['secp384r1', { cose: [0x38, 34], hash: 'sha384' }],
  ['secp521r1', { cose: [0x38, 35], hash: 'sha512' }],
]);

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
  const protectedBytes = Uint8Array.of(0xa1, 0x01, ...algorithm.cose);
  const payload = concat(
    head(MAP, 2),
    text('register_index'),
    head(UNSIGNED, 0),
    text('register_value'),
    numbers(pcr0),
  );
  const signature = sign(algorithm.hash, sigStructure(protectedBytes, payload), {
    key,
    dsaEncoding: 'ieee-p1363',
  });
  const sign1 = concat(head(ARRAY, 4), bytes(protectedBytes), head(MAP, 0), bytes(payload), bytes(signature));
  const pair = concat(
    head(MAP, 2),
    text('signing_certificate'),
    numbers(utf8(signer.certificate)),
    text('signature'),
    numbers(sign1),
  );
  const section = concat(head(ARRAY, 1), pair);
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

/** Major types of CBOR (RFC 8949, section 3.1). */
const UNSIGNED = 0;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;

/** The shortest head; lengths here are below 65,536. */
function head(major: number, value: number): Uint8Array {
  const type = major << 5;
  if (value < 24) return Uint8Array.of(type | value);
  if (value < 256) return Uint8Array.of(type | 24, value);
  return Uint8Array.of(type | 25, value >> 8, value & 0xff);
}

function text(value: string): Uint8Array {
  const encoded = utf8(value);
  return concat(head(TEXT, encoded.length), encoded);
}

function bytes(value: Uint8Array): Uint8Array {
  return concat(head(BYTES, value.length), value);
}

function numbers(value: Uint8Array): Uint8Array {
  return concat(head(ARRAY, value.length), ...Array.from(value, (byte) => head(UNSIGNED, byte)));
}
