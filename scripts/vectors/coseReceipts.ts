import { z } from 'zod';
import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With, type CryptoProvider } from '../../attestation/crypto/provider.ts';
import {
  parseConsistencyReceipt,
  parseInclusionReceipt,
  verifyConsistencyReceipt,
  verifyInclusionReceipt,
  type ReceiptKey,
} from '../../attestation/log/coseReceipt.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash, rootFromInclusion, rootsFromConsistency } from '../../attestation/log/merkle.ts';
import { Refusal } from '../../attestation/errors.ts';
import { expectEqual, expectVerdict, PROVIDERS, type Case, type Family } from './family.ts';
import { algorithmOf, spkiOf } from './signatures.ts';
import { hasMembers, hexSchema, listsMembers, sizeSchema } from './vectorFile.ts';

const sha256 = sha256With(nodeCrypto);

const shared = { name: z.string(), receipt_hex: hexSchema, expect: z.enum(['accept', 'reject']) };
const inclusionSchema = z.object({
  ...shared,
  kind: z.literal('inclusion'),
  tree_size: sizeSchema,
  leaf_index: sizeSchema,
  entry_utf8: z.string(),
});
const consistencySchema = z.object({
  ...shared,
  kind: z.literal('consistency'),
  old_size: sizeSchema,
  new_size: sizeSchema,
  new_root_hex: hexSchema,
});
const signedSchema = z.object({
  source: z.object({ public_jwk: z.looseObject({ alg: z.string() }) }),
  vectors: z.array(z.discriminatedUnion('kind', [inclusionSchema, consistencySchema])),
});
type Vector = z.infer<typeof signedSchema>['vectors'][number];

const sampleSchema = z.object({
  inclusion_receipt_hex: hexSchema,
  consistency_receipt_hex: hexSchema,
  expected: z.object({
    inclusion: z.object({
      tree_size: sizeSchema,
      leaf_index: sizeSchema,
      leaf_hash_hex: hexSchema,
      root_hex: hexSchema,
    }),
    consistency: z.object({ old_size: sizeSchema, new_size: sizeSchema, new_root_hex: hexSchema }),
  }),
});
type Samples = z.infer<typeof sampleSchema>;

/** Signed RFC 9942 receipts over the log whose entries are the texts "entry 0", "entry 1", … */
export const signedReceiptFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'receipt_hex', 'kind') || /(?:^|\/)receipts-rfc9942-generated\.json$/.test(path),
  cases: ({ json }) => {
    const { source, vectors } = signedSchema.parse(json);
    const key = receiptKey(source.public_jwk);
    return vectors.map((vector): Case => ({ name: vector.name, check: () => checkSigned(vector, key) }));
  },
};

function receiptKey(jwk: { readonly alg: string }): ReceiptKey {
  const algorithm = algorithmOf(jwk.alg);
  if (!algorithm) throw new Error(`unknown algorithm ${jwk.alg}`);
  return { algs: [algorithm.id], scheme: algorithm.scheme, spki: spkiOf(jwk) };
}

async function checkSigned(vector: Vector, key: ReceiptKey): Promise<void> {
  for (const provider of PROVIDERS) {
    const verify = (): Promise<void> =>
      vector.kind === 'inclusion' ? verifyLeaf(vector, key, provider) : verifyGrowth(vector, key, provider);
    await expectVerdict(vector.expect === 'accept', verify, 'the receipt');
  }
}

async function verifyLeaf(
  vector: Vector & { readonly kind: 'inclusion' },
  key: ReceiptKey,
  provider: CryptoProvider,
): Promise<void> {
  const receipt = parseInclusionReceipt(vector.receipt_hex);
  await verifyInclusionReceipt(receipt, leafHash(sha256, utf8(vector.entry_utf8)), key, provider);
  requirePlace(receipt.proof.size === vector.tree_size && receipt.proof.index === vector.leaf_index);
}

async function verifyGrowth(
  vector: Vector & { readonly kind: 'consistency' },
  key: ReceiptKey,
  provider: CryptoProvider,
): Promise<void> {
  const receipt = parseConsistencyReceipt(vector.receipt_hex);
  const leaves = Array.from({ length: vector.old_size }, (_, i) => leafHash(sha256, utf8(`entry ${i}`)));
  const roots = { root1: rootOf(sha256, leaves), root2: vector.new_root_hex };
  await verifyConsistencyReceipt(receipt, roots, key, provider);
  requirePlace(receipt.proof.size1 === vector.old_size && receipt.proof.size2 === vector.new_size);
}

/** A verifier compares size and index with what it expects, since the signature does not cover them. */
function requirePlace(same: boolean): void {
  if (!same) throw new Refusal('CHECKPOINT_MISMATCH', 'the receipt is for another place in the log');
}

/** The two samples of the working group; their key is not published, so only parsing and hashing are judged. */
export const sampleReceiptFamily: Family = {
  claims: ({ path, json }) =>
    hasMembers(json, 'inclusion_receipt_hex') || /(?:^|\/)receipts-rfc9942-samples\.json$/.test(path),
  cases: ({ json }) => {
    const samples = sampleSchema.parse(json);
    return [
      {
        name: 'inclusion',
        check: () => {
          checkInclusionSample(samples);
        },
      },
      {
        name: 'consistency',
        check: () => {
          checkConsistencySample(samples);
        },
      },
    ];
  },
};

function checkInclusionSample({ inclusion_receipt_hex, expected: { inclusion } }: Samples): void {
  const { proof } = parseInclusionReceipt(inclusion_receipt_hex);
  expectEqual(proof.size, inclusion.tree_size, 'the size');
  expectEqual(proof.index, inclusion.leaf_index, 'the index');
  const root = rootFromInclusion(sha256, proof, inclusion.leaf_hash_hex);
  expectEqual(toHex(root), toHex(inclusion.root_hex), 'the root');
}

function checkConsistencySample({ consistency_receipt_hex, expected: { consistency } }: Samples): void {
  const { proof } = parseConsistencyReceipt(consistency_receipt_hex);
  expectEqual(proof.size1, consistency.old_size, 'the old size');
  expectEqual(proof.size2, consistency.new_size, 'the new size');
  const { root2 } = rootsFromConsistency(sha256, proof, new Uint8Array(32));
  expectEqual(toHex(root2), toHex(consistency.new_root_hex), 'the new root');
}
