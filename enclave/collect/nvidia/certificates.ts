import { equalBytes, fromUtf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { type Certificate, parsePemChain } from '../../../attestation/x509/certificate.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';

/** Leaf, boot ROM, provisioner, identity, root. */
const CHAIN_LENGTH = 5;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;

/**
 * Certificates in DER, leaf first, of the PEM text that a device gives. Signatures are not checked here: an attacker
 * who writes this text gets evidence that the verifier refuses.
 */
export function readDeviceChain(pem: Uint8Array, device: string): readonly Uint8Array[] {
  const chain = parseChain(pem, device);
  if (chain.length !== CHAIN_LENGTH) {
    throw malformed(device, `${chain.length} certificates instead of ${CHAIN_LENGTH}`);
  }
  for (const [i, { subject, issuerName }] of chain.entries()) {
    const issuer = chain[i + 1] ?? chain[i];
    if (!issuer || !equalBytes(issuerName, issuer.subjectName)) {
      throw malformed(device, `${subject} is not issued by the certificate after it`);
    }
  }
  return chain.map(({ der }) => der);
}

function parseChain(pem: Uint8Array, device: string): readonly Certificate[] {
  return readEvidence(`the certificates of ${device}`, () => {
    const text = fromUtf8(pem);
    // A size may count the NUL at the end of the text.
    if (text.replaceAll(BLOCK, '').replaceAll('\0', '').trim() !== '') {
      throw new Refusal('MALFORMED', 'text other than certificates');
    }
    return parsePemChain(text, CHAIN_LENGTH);
  });
}

function malformed(device: string, reason: string): CollectError {
  return new CollectError('EVIDENCE_MALFORMED', `the certificates of ${device}: ${reason}`);
}
