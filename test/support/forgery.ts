import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { encodeSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { instanceUrn } from '../../attestation/keyset.ts';
import { parseBundle, encodeBundle, type Bundle } from '../../attestation/bundle/bundle.ts';
import { encodeDocument, parseDocument, type DocumentParts } from '../../attestation/evidence/document.ts';
import { encodeClaims, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { encodeEntryHeader, parseReceipt, RECEIPT_TYPE } from '../../attestation/receipt/receipt.ts';
import type { Signer } from '../../src/receipts/keys.ts';

/** A thief with a private key: signs any payload as a receipt. */
export function signReceipt(
  payload: Uint8Array,
  signer: Signer,
  instance: Uint8Array,
  model: string,
): Uint8Array {
  const header = encodeEntryHeader({
    alg: signer.publicKey.alg,
    kid: keyThumbprint(signer.publicKey, nodeCrypto),
    type: RECEIPT_TYPE,
    issuer: instanceUrn(instance),
    subject: model,
  });
  return encodeSign1(header, payload, signer.sign(sigStructure(header, payload)));
}

/** Another receipt with a genuine signature: claims changed, signed again. */
export function resign(
  receipt: Uint8Array,
  changes: Partial<ReceiptClaims>,
  signer: Signer,
  instance: Uint8Array,
): Uint8Array {
  const claims = { ...parseReceipt(receipt).claims, ...changes };
  return signReceipt(encodeClaims(claims), signer, instance, claims.model);
}

/** A bundle with some of its parts replaced. */
export function rebundle(bundle: Uint8Array, change: (parts: Bundle) => Partial<Bundle>): Uint8Array {
  const parts = parseBundle(bundle);
  return encodeBundle({ ...parts, ...change(parts) });
}

/** A document with some of its parts replaced; hardware reports stay as they were unless replaced. */
export function redocument(
  document: Uint8Array,
  change: (parts: DocumentParts) => Partial<DocumentParts>,
): Uint8Array {
  const parts = parseDocument(document);
  return encodeDocument({ ...parts, ...change(parts) });
}
