import { z } from 'zod';
import { fromBase64 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { HostingError } from '../hostingErrors.ts';

/** Media types of the versions of the Sigstore bundle that hold a DSSE envelope. */
const MEDIA_TYPE =
  /^application\/vnd\.dev\.sigstore\.bundle(?:\.v0\.3\+json|\+json;version=0\.[123])$/;
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const MAX_CHAIN = 8;

const base64 = z.string().min(1);
const certificate = z.object({ rawBytes: base64 });
const BUNDLE = z.object({
  mediaType: z.string(),
  verificationMaterial: z.object({
    publicKey: z.object({ hint: z.string().nullish() }).nullish(),
    x509CertificateChain: z.object({ certificates: z.array(certificate).min(1).max(MAX_CHAIN) }).nullish(),
    certificate: certificate.nullish(),
  }),
  dsseEnvelope: z.object({
    payload: base64,
    payloadType: z.string(),
    // Sigstore allows one signature and no more.
    signatures: z.array(z.object({ sig: base64 })).length(1),
  }),
});

/** A model signature as parsed: nothing in it is trusted yet. */
export interface SignatureBundle {
  readonly payload: Uint8Array;
  /** DER ECDSA signature over the pre-authentication encoding of the payload. */
  readonly signature: Uint8Array;
  /** DER certificates, the signer's first; undefined where the policy's own keys are meant. */
  readonly chain: readonly Uint8Array[] | undefined;
}

/** Parses a Sigstore bundle with a DSSE envelope, as OpenSSF Model Signing writes it. */
export function parseBundle(bytes: Uint8Array): SignatureBundle {
  const parsed = BUNDLE.safeParse(parseJson(bytes));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
  }
  const { mediaType, verificationMaterial: material, dsseEnvelope: envelope } = parsed.data;
  if (!MEDIA_TYPE.test(mediaType)) throw unsupported(`the media type ${JSON.stringify(mediaType)}`);
  if (envelope.payloadType !== PAYLOAD_TYPE) throw unsupported(`a payload ${JSON.stringify(envelope.payloadType)}`);
  if (material.certificate) throw unsupported('a keyless signature, which a transparency log has to date,');
  if (!material.publicKey === !material.x509CertificateChain) throw invalid('it names no one signer');
  const [signature] = envelope.signatures;
  return {
    payload: decode(envelope.payload),
    signature: decode(signature?.sig ?? ''),
    chain: material.x509CertificateChain?.certificates.map(({ rawBytes }) => decode(rawBytes)),
  };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw invalid(error.message);
    throw error;
  }
}

/** Protocol buffers write base64 in JSON with either alphabet, with or without padding. */
function decode(text: string): Uint8Array {
  const standard = text.replaceAll('-', '+').replaceAll('_', '/').replace(/=+$/, '');
  try {
    return fromBase64(standard.padEnd(Math.ceil(standard.length / 4) * 4, '='));
  } catch (error) {
    if (error instanceof Refusal) throw invalid('it holds what is no base64');
    throw error;
  }
}

function invalid(detail: string): HostingError {
  return new HostingError('SIGNATURE_INVALID', `the signature bundle cannot be read: ${detail}`);
}

function unsupported(what: string): HostingError {
  return new HostingError('SIGNATURE_UNSUPPORTED', `${what} is not supported`);
}
