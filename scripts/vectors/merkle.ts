import { z } from 'zod';
import { fromBase64 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { verifyConsistency, verifyInclusion } from '../../attestation/log/merkle.ts';
import { expectVerdict, type Case, type Family } from './family.ts';
import { listsMembers, sizeSchema } from './vectorFile.ts';

const sha256 = sha256With(nodeCrypto);
const proofSchema = z.array(z.string()).nullable();

const inclusionSchema = z.object({
  vectors: z.array(
    z.object({
      name: z.string(),
      leafIdx: sizeSchema,
      treeSize: sizeSchema,
      root: z.string(),
      leafHash: z.string(),
      proof: proofSchema,
      wantErr: z.boolean(),
    }),
  ),
});

const consistencySchema = z.object({
  vectors: z.array(
    z.object({
      name: z.string(),
      size1: sizeSchema,
      size2: sizeSchema,
      root1: z.string(),
      root2: z.string(),
      proof: proofSchema,
      wantErr: z.boolean(),
    }),
  ),
});

/** RFC 9162 inclusion proofs of transparency-dev. */
export const inclusionFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'leafIdx', 'treeSize') || /(?:^|\/)inclusion\.json$/.test(path),
  cases: ({ json }) =>
    inclusionSchema.parse(json).vectors.map(({ name, leafIdx, treeSize, proof, leafHash, root, wantErr }) =>
      proofCase(name, [leafIdx, treeSize], wantErr, () => {
        const path = hashes(proof);
        verifyInclusion(
          sha256,
          { index: leafIdx, size: treeSize, path },
          fromBase64(leafHash),
          fromBase64(root),
        );
      }),
    ),
};

/** RFC 9162 consistency proofs of transparency-dev. */
export const consistencyFamily: Family = {
  claims: ({ path, json }) => listsMembers(json, 'size1', 'size2') || /(?:^|\/)consistency\.json$/.test(path),
  cases: ({ json }) =>
    consistencySchema.parse(json).vectors.map(({ name, size1, size2, proof, root1, root2, wantErr }) =>
      proofCase(name, [size1, size2], wantErr, () => {
        verifyConsistency(
          sha256,
          { size1, size2, path: hashes(proof) },
          fromBase64(root1),
          fromBase64(root2),
        );
      }),
    ),
};

function hashes(proof: readonly string[] | null): readonly Uint8Array[] {
  return (proof ?? []).map(fromBase64);
}

function proofCase(name: string, sizes: readonly number[], wantErr: boolean, attempt: () => void): Case {
  if (!wantErr && !sizes.every(Number.isSafeInteger)) return { name, skip: 'a size is beyond 2^53-1' };
  return { name, check: () => expectVerdict(!wantErr, attempt, 'the proof') };
}
