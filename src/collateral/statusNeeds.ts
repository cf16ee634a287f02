import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readEnvelopedSignature } from '../../attestation/evidence/nvidia/xmldsig.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import type { CollateralNeed } from './need.ts';
import { ocspNeed } from './ocsp.ts';

/** A device's own certificate is skipped: NVIDIA's responder answers `unauthorized` for it. */
const FIRST_OF_DEVICE = 1;
const FIRST_OF_MANIFEST = 0;
/** The chain of a manifest has one certificate less. */
const CHAIN_OF_DEVICE = 5;
const CHAIN_OF_MANIFEST = 4;

/** Statuses that are wanted of a chain, or why there is nobody to ask. */
export type StatusNeeds =
  | { readonly needs: readonly CollateralNeed[]; readonly gap?: never }
  | { readonly needs: readonly []; readonly gap: string };

/** Of the chain of a device, leaf first: boot ROM, provisioner and identity. The root has no issuer to ask. */
export function deviceStatusNeeds(certificates: readonly Uint8Array[]): StatusNeeds {
  return chainNeeds(certificates, FIRST_OF_DEVICE, CHAIN_OF_DEVICE);
}

/** Of the signer of a manifest and the authorities above it. Its chain is not verified: it only names whom to ask about. */
export function manifestStatusNeeds(xml: Uint8Array): StatusNeeds {
  return chainNeeds(readEnvelopedSignature(xml).certificates, FIRST_OF_MANIFEST, CHAIN_OF_MANIFEST);
}

/** The chain has to have the form that the verifier demands: it would look at no answer about another. */
function chainNeeds(encoded: readonly Uint8Array[], first: number, length: number): StatusNeeds {
  if (encoded.length !== length) return { needs: [], gap: `${encoded.length} certificates, not ${length}` };
  const chain = readChain(encoded);
  if (chain instanceof Refusal) return { needs: [], gap: chain.message };
  const needs: CollateralNeed[] = [];
  for (const [i, issuer] of chain.entries()) {
    const certificate = chain[i - 1];
    if (!certificate) continue;
    if (!equalBytes(certificate.issuerName, issuer.subjectName)) {
      return { needs: [], gap: `${certificate.subject} is not issued by ${issuer.subject}` };
    }
    if (i - 1 >= first) needs.push(ocspNeed(certificate, issuer));
  }
  return { needs };
}

function readChain(encoded: readonly Uint8Array[]): readonly Certificate[] | Refusal {
  try {
    return encoded.map(parseCertificate);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}
