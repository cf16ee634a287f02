import type { CryptoProvider } from '../../crypto/provider.ts';
import { readManifest, type Manifest } from './swid.ts';
import { readEnvelopedSignature, verifyEnvelopedSignature, type EnvelopedSignature } from './xmldsig.ts';

/** A manifest as it comes, read and not verified: nothing but its certificates can be taken from it. */
export class SignedManifest {
  readonly #envelope: EnvelopedSignature;

  /** Refuses what has not the one form of XML signature that manifests have. */
  constructor(xml: Uint8Array) {
    this.#envelope = readEnvelopedSignature(xml);
  }

  /** DER certificates of its signer, leaf first. */
  get certificates(): readonly Uint8Array[] {
    return this.#envelope.certificates;
  }

  /** What the manifest says, once its signature verifies under the key, that of the certificate that was judged. */
  async verify(spki: Uint8Array, crypto: CryptoProvider): Promise<Manifest> {
    await verifyEnvelopedSignature(this.#envelope, spki, crypto);
    return readManifest(this.#envelope.contentRoot);
  }
}
