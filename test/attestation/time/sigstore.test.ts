import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Anchor } from '../../../attestation/anchors.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { verifyTimestamp } from '../../../attestation/time/timestamp.ts';
import { parseTimestampResponse } from '../../../attestation/time/timestampExchange.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../../attestation/x509/chain.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { refusalOfAsync } from '../../support/refusal.ts';

// Tokens of Sigstore's authorities, each over the signature of its bundle.

interface Vector {
  readonly name: string;
  readonly trusted_root?: string;
  readonly bundle: {
    readonly verificationMaterial: {
      readonly timestampVerificationData?: {
        readonly rfc3161Timestamps?: readonly { readonly signedTimestamp: string }[];
      };
    };
    readonly messageSignature?: { readonly signature: string };
    readonly dsseEnvelope?: { readonly signatures: readonly { readonly sig: string }[] };
  };
}

interface TrustedRoot {
  readonly timestampAuthorities: readonly {
    readonly certChain: { readonly certificates: readonly { readonly rawBytes: string }[] };
  }[];
}

/** Some of the vectors are not canonical. */
function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** What is wrong with the token itself; the other failing bundles fail by something else. */
const REFUSED: Readonly<Record<string, string>> = {
  'rekor2-timestamp-payload-mismatch_fail': 'TIMESTAMP_MISMATCH',
  'rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail': 'UNTRUSTED_ROOT',
  'rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail': 'UNTRUSTED_ROOT',
};

describeCorpus('timestamps of Sigstore bundles', 'standards/vectors/sigstore', (directory) => {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(directory, name), 'utf8'));
  const { vectors } = read('bundle-verify.json') as { readonly vectors: readonly Vector[] };
  const stamped = vectors.flatMap(({ name, trusted_root: root, bundle }) => {
    const [timestamp] = bundle.verificationMaterial.timestampVerificationData?.rfc3161Timestamps ?? [];
    const signature = bundle.messageSignature?.signature ?? bundle.dsseEnvelope?.signatures[0]?.sig;
    if (!timestamp || root === undefined || signature === undefined) return [];
    return [
      {
        name,
        root,
        token: parseTimestampResponse(fromBase64(timestamp.signedTimestamp)),
        data: fromBase64(signature),
      },
    ];
  });

  test('there are some', () => {
    expect(stamped.length).toBeGreaterThan(15);
  });

  test.each(stamped)('$name', async ({ name, root, token, data }) => {
    const { timestampAuthorities } = read(`roots/${root}.json`) as TrustedRoot;
    const certificates = timestampAuthorities.flatMap(({ certChain }) =>
      certChain.certificates.map(({ rawBytes }) => fromBase64(rawBytes)),
    );
    const anchors = timestampAuthorities.map(({ certChain }): Anchor => {
      const certificate = parseCertificate(fromBase64(certChain.certificates.at(-1)?.rawBytes ?? ''));
      return {
        role: 'timestamp',
        name: 'root',
        spkiSha256: spkiSha256(certificate, nodeCrypto),
        simulated: false,
      };
    });
    const options = { data, anchors, certificates, crypto: nodeCrypto };
    const refusal = await refusalOfAsync(() => verifyTimestamp(token, options));
    expect(refusal?.code).toBe(REFUSED[name]);
  });
});
