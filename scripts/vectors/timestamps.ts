import { z } from 'zod';
import type { Anchor } from '../../attestation/anchors.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { verifyTimestamp } from '../../attestation/time/timestamp.ts';
import { parseTimestampResponse } from '../../attestation/time/timestampExchange.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../attestation/x509/chain.ts';
import { expectVerdict, PROVIDERS, type Case, type Family } from './family.ts';
import { listsMembers, type VectorFile } from './vectorFile.ts';

/** Some signatures of vectors that must fail are in no canonical base64. */
const base64Schema = z.string().transform((text) => new Uint8Array(Buffer.from(text, 'base64')));
const tokenSchema = z.object({ signedTimestamp: base64Schema });
const bundleSchema = z.object({
  verificationMaterial: z.object({
    timestampVerificationData: z.object({ rfc3161Timestamps: z.array(tokenSchema).optional() }).optional(),
  }),
  messageSignature: z.object({ signature: base64Schema }).optional(),
  dsseEnvelope: z.object({ signatures: z.array(z.object({ sig: base64Schema })) }).optional(),
});
const vectorSchema = z.object({
  name: z.string(),
  expect: z.enum(['pass', 'fail']),
  trusted_root: z.string().optional(),
  bundle: z.unknown(),
});
const rootSchema = z.object({
  timestampAuthorities: z.array(
    z.object({ certChain: z.object({ certificates: z.array(z.object({ rawBytes: base64Schema })) }) }),
  ),
});

/** Names of the vectors that fail by their token alone; others fail by what is no part of RFC 3161. */
const TOKEN_FAILS = /timestamp-(?:payload-mismatch|untrusted-tsa)/;

/** Timestamps in Sigstore's bundles, over the signature, under the authorities of a trusted root. */
export const sigstoreTimestampFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'bundle', 'expect') || /(?:^|\/)bundle-verify\.json$/.test(path),
  cases: (file) => {
    const { vectors } = z.object({ vectors: z.array(vectorSchema) }).parse(file.json);
    return vectors.flatMap((vector) => casesOf(file, vector));
  },
};

function casesOf(file: VectorFile, vector: z.infer<typeof vectorSchema>): readonly Case[] {
  const { name, trusted_root } = vector;
  const parsed = bundleSchema.safeParse(vector.bundle);
  const { verificationMaterial, messageSignature, dsseEnvelope } = parsed.data ?? {};
  const tokens = verificationMaterial?.timestampVerificationData?.rfc3161Timestamps ?? [];
  if (tokens.length === 0) return [{ name, skip: 'without a timestamp' }];
  if (trusted_root === undefined) return [{ name, skip: 'without its trusted root' }];
  const tokenFails = TOKEN_FAILS.test(name);
  if (vector.expect === 'fail' && !tokenFails) return [{ name, skip: 'judged by more than its timestamp' }];
  const data = messageSignature?.signature ?? dsseEnvelope?.signatures[0]?.sig;
  if (!data) return [{ name, skip: 'without a signature' }];
  const check = async (): Promise<void> => {
    const { anchors, certificates } = authoritiesOf(file.sibling(`roots/${trusted_root}.json`));
    for (const { signedTimestamp } of tokens) {
      for (const crypto of PROVIDERS) {
        const verify = () =>
          verifyTimestamp(parseTimestampResponse(signedTimestamp), { data, anchors, crypto, certificates });
        await expectVerdict(!tokenFails, verify, 'the timestamp');
      }
    }
  };
  return [{ name, check }];
}

interface Authorities {
  readonly anchors: readonly Anchor[];
  readonly certificates: readonly Uint8Array[];
}

function authoritiesOf(json: unknown): Authorities {
  const chains = rootSchema
    .parse(json)
    .timestampAuthorities.map(({ certChain }) =>
      certChain.certificates.map(({ rawBytes }) => parseCertificate(rawBytes)),
    );
  return {
    anchors: chains.flatMap((chain) => chain.slice(-1).map(timestampAnchor)),
    certificates: chains.flat().map(({ der }) => der),
  };
}

export function timestampAnchor(certificate: Certificate): Anchor {
  return {
    role: 'timestamp',
    name: certificate.subject,
    spkiSha256: spkiSha256(certificate, nodeCrypto),
    simulated: false,
  };
}
