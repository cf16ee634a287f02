import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseNitroDocument } from '../../../attestation/evidence/nitro/parse.ts';
import { openEnvelopedData } from './envelopedData.ts';
import { ReleaseError } from './errors.ts';
import { makeRsaKeyPair, type RsaKeyPair } from './rsaKeyPair.ts';
import type { WantedKey } from './vouchsafe.ts';

const KEY_BYTES = 32;
/** `KeyEncryptionAlgorithm` of RecipientInfo; KMS has this one. */
const ALGORITHM = 'RSAES_OAEP_SHA_256';
/** Bits of the RSA key, which lives for one request. */
const MODULUS_BITS = 2048;

/** The members of KMS Decrypt that are used here. */
export interface KmsDecryptRequest {
  readonly keyId: string;
  readonly ciphertextBlob: Uint8Array;
  readonly recipient: {
    readonly attestationDocument: Uint8Array;
    readonly keyEncryptionAlgorithm: typeof ALGORITHM;
  };
}

export interface KmsDecryptAnswer {
  /** Empty where a recipient is named; anything else is in clear on the way. */
  readonly plaintext: Uint8Array | undefined;
  readonly ciphertextForRecipient: Uint8Array | undefined;
}

export interface KmsOptions {
  /** Sends one signed request to KMS. */
  readonly decrypt: (request: KmsDecryptRequest) => Promise<KmsDecryptAnswer>;
  /** An attestation document of the Nitro hypervisor that carries this public key (SubjectPublicKeyInfo), and no more. */
  readonly attest: (publicKey: Uint8Array) => Promise<Uint8Array>;
  /** Makes the RSA key of one request; a fresh one each time by default. */
  readonly makeKey?: () => Promise<RsaKeyPair>;
}

/**
 * Has AWS KMS decrypt a data key for this enclave or instance. The RSA key is made for this one request, and so is the
 * attestation document: a service evidence document has no public key, and a document with one is never evidence of the
 * service, so that neither can be used in the place of the other.
 */
export async function askKms(
  { decrypt, attest, makeKey = () => makeRsaKeyPair(MODULUS_BITS) }: KmsOptions,
  wanted: WantedKey,
): Promise<Uint8Array> {
  const { publicKey, privateKey } = await makeKey();
  const spki = Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' }));
  const document = await attest(spki);
  requireOwn(document, spki);
  const answer = await decrypt({
    keyId: wanted.keyName,
    ciphertextBlob: wanted.wrapped,
    recipient: { attestationDocument: document, keyEncryptionAlgorithm: ALGORITHM },
  });
  if (answer.plaintext && answer.plaintext.length > 0) {
    answer.plaintext.fill(0);
    throw new ReleaseError(
      'BAD_ANSWER',
      'KMS sent the key in clear: it did not take this instance for the recipient',
    );
  }
  if (!answer.ciphertextForRecipient)
    throw new ReleaseError('BAD_ANSWER', 'KMS sent no key for the recipient');
  const dataKey = openEnvelopedData(answer.ciphertextForRecipient, privateKey);
  if (dataKey.length === KEY_BYTES) return dataKey;
  dataKey.fill(0);
  throw new ReleaseError('BAD_ANSWER', 'the key that KMS sent is not 32 bytes');
}

/** Our key is found again in the document, and nothing else that we did not ask for. */
function requireOwn(document: Uint8Array, spki: Uint8Array): void {
  try {
    const { publicKey, userData, nonce } = parseNitroDocument(document);
    const isOwn = publicKey !== undefined && equalBytes(publicKey, spki);
    if (isOwn && userData === undefined && nonce === undefined) return;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  throw new ReleaseError(
    'ATTESTATION_FAILED',
    'the attestation document does not carry the key of this request',
  );
}
