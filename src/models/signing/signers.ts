import { createHash, createPublicKey } from 'node:crypto';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { type Certificate, parsePemChain } from '../../../attestation/x509/certificate.ts';
import { curveOf } from '../../../attestation/x509/signature.ts';
import { HostingError } from '../hostingErrors.ts';

/** Whose signatures a policy takes: one of them is enough. */
export interface Signers {
  readonly keys: readonly SignerKey[];
  /** Self-signed authorities; whoever has a signing certificate of them may sign. */
  readonly roots: readonly Certificate[];
}

export interface SignerKey {
  readonly curve: 'P-256' | 'P-384';
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
}

const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----/g;
const MAX_SIGNERS = 64;

/** Reads PEM texts with public keys and certificates of authorities. */
export function parseSigners(texts: readonly string[]): Signers {
  const keys: SignerKey[] = [];
  const roots: Certificate[] = [];
  for (const text of texts) {
    const blocks = [...text.matchAll(BLOCK)];
    if (blocks.length === 0) throw new HostingError('SIGNER_INVALID', 'there is no PEM block');
    for (const [block, label = ''] of blocks) {
      if (label === 'PUBLIC KEY') keys.push(parseKey(block));
      else if (label === 'CERTIFICATE') roots.push(parseRoot(block));
      else throw new HostingError('SIGNER_INVALID', `a PEM block is ${JSON.stringify(label)}`);
    }
  }
  if (keys.length + roots.length > MAX_SIGNERS) {
    throw new HostingError('SIGNER_INVALID', `there are more than ${MAX_SIGNERS} signers`);
  }
  return { keys, roots };
}

export function hasSigners({ keys, roots }: Signers): boolean {
  return keys.length + roots.length > 0;
}

function parseKey(pem: string): SignerKey {
  try {
    const spki = new Uint8Array(createPublicKey(pem).export({ type: 'spki', format: 'der' }));
    const curve = signingCurve(spki);
    if (curve) return { curve, spki };
  } catch (error) {
    throw new HostingError('SIGNER_INVALID', 'a public key cannot be read', { cause: error });
  }
  throw new HostingError('SIGNER_INVALID', 'a public key is not on P-256 or P-384');
}

function parseRoot(pem: string): Certificate {
  try {
    const [certificate] = parsePemChain(pem);
    if (certificate?.isCa && toHex(certificate.issuerName) === toHex(certificate.subjectName)) return certificate;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new HostingError('SIGNER_INVALID', `a certificate cannot be read: ${error.message}`, { cause: error });
  }
  throw new HostingError('SIGNER_INVALID', 'a certificate is no self-signed authority');
}

/** The curve of a key that may sign models; undefined for other keys. */
export function signingCurve(spki: Uint8Array): SignerKey['curve'] | undefined {
  const found = curveOf(spki)?.curve;
  return found === 'P-256' || found === 'P-384' ? found : undefined;
}

/** Lower-case hex SHA-256 of a SubjectPublicKeyInfo. */
export function keyDigest(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex');
}
