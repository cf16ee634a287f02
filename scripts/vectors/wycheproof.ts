import { z } from 'zod';
import type { SignatureScheme } from '../../attestation/crypto/provider.ts';
import { expectEqual, type Case, type Family } from './family.ts';
import { algorithmOf, verifyTwice } from './signatures.ts';
import { hasMembers, hexSchema } from './vectorFile.ts';

const schema = z.object({
  testGroups: z.array(
    z.object({
      type: z.string(),
      sha: z.string().optional(),
      publicKey: z.object({ curve: z.string() }),
      publicKeyDer: hexSchema,
      tests: z.array(
        z.object({
          tcId: z.number(),
          msg: hexSchema,
          sig: hexSchema,
          result: z.enum(['valid', 'invalid', 'acceptable']),
        }),
      ),
    }),
  ),
});
type Group = z.infer<typeof schema>['testGroups'][number];

const ECDSA: Readonly<Record<string, string>> = {
  'secp256r1 SHA-256': 'ES256',
  'secp384r1 SHA-384': 'ES384',
  'secp521r1 SHA-512': 'ES512',
};

/** Wycheproof signatures through both providers. */
export const wycheproofFamily: Family = {
  claims: ({ path, json }) =>
    (hasMembers(json, 'algorithm', 'testGroups') && hasSignatures(json)) ||
    /wycheproof\/.*_test\.json$/.test(path),
  cases: ({ json }) => schema.parse(json).testGroups.flatMap(groupCases),
};

function hasSignatures(json: unknown): boolean {
  const shape = z.looseObject({ testGroups: z.array(z.looseObject({ publicKeyDer: z.string() })).min(1) });
  return shape.safeParse(json).success;
}

function groupCases(group: Group): readonly Case[] {
  const scheme = schemeOf(group);
  return group.tests.map(({ tcId, msg, sig, result }): Case => {
    const name = `tcId ${tcId}`;
    if (!scheme) return { name, skip: `${group.type} of ${group.publicKey.curve} ${group.sha ?? ''}` };
    if (result === 'acceptable') return { name, skip: 'acceptable: either answer conforms' };
    return {
      name,
      check: async () => {
        const verified = await verifyTwice(scheme, group.publicKeyDer, msg, sig);
        expectEqual(verified ? 'valid' : 'invalid', result, 'the signature');
      },
    };
  });
}

function schemeOf({ type, sha, publicKey }: Group): SignatureScheme | undefined {
  if (type === 'EddsaVerify' && publicKey.curve === 'edwards25519') return { kind: 'ed25519' };
  if (type !== 'EcdsaP1363Verify') return undefined;
  return algorithmOf(ECDSA[`${publicKey.curve} ${sha ?? ''}`] ?? '')?.scheme;
}
