import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { concat, fromHex, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import {
  encodeConsistencyHeader,
  encodeInclusionHeader,
  parseConsistencyReceipt,
  parseInclusionReceipt,
  verifyConsistencyReceipt,
  verifyInclusionReceipt,
  type ReceiptKey,
} from '../../../attestation/log/coseReceipt.ts';
import { rootOf } from '../../../attestation/log/memoryTree.ts';
import { leafHash, rootFromInclusion, rootsFromConsistency } from '../../../attestation/log/merkle.ts';
import { describeCorpus } from '../../support/corpus.ts';

const sha256 = sha256With(nodeCrypto);

async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

interface Vector {
  readonly name: string;
  readonly kind: 'inclusion' | 'consistency';
  readonly entry_utf8: string;
  readonly old_size: number;
  readonly new_root_hex: string;
  readonly receipt_hex: string;
  readonly expect: 'accept' | 'reject';
}

describeCorpus('RFC 9942 receipt vectors', 'standards/vectors/cose', (directory) => {
  const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));
  const generated = read('receipts-rfc9942-generated.json') as {
    source: { public_jwk: Record<string, string> };
    vectors: Vector[];
  };
  const key: ReceiptKey = {
    algs: [-7, -9],
    scheme: { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' },
    spki: createPublicKey({ key: generated.source.public_jwk, format: 'jwk' }).export({
      type: 'spki',
      format: 'der',
    }),
  };
  const entryHash = (entry: string) => leafHash(sha256, utf8(entry));

  async function verify(vector: Vector, receipt: Uint8Array): Promise<void> {
    if (vector.kind === 'inclusion') {
      await verifyInclusionReceipt(
        parseInclusionReceipt(receipt),
        entryHash(vector.entry_utf8),
        key,
        nodeCrypto,
      );
      return;
    }
    const leaves = Array.from({ length: vector.old_size }, (_, i) => entryHash(`entry ${i}`));
    const roots = { root1: rootOf(sha256, leaves), root2: fromHex(vector.new_root_hex) };
    await verifyConsistencyReceipt(parseConsistencyReceipt(receipt), roots, key, nodeCrypto);
  }

  test.each(generated.vectors.map((vector) => [vector.name, vector] as const))(
    '%s',
    async (_name, vector) => {
      const code = await codeOf(() => verify(vector, fromHex(vector.receipt_hex)));
      expect(code).toBe(vector.expect === 'accept' ? 'accepted' : 'CONSISTENCY_INVALID');
    },
  );

  test('every changed byte of the header, the path or the signature is refused', async () => {
    for (const vector of generated.vectors.filter(({ name }) => /-(5-3|3-5)$/.test(name))) {
      const good = fromHex(vector.receipt_hex);
      // Sizes and indexes are not covered by the signature: their bytes are left out.
      const numbers = good.indexOf(0x83) + 1;
      for (let at = 0; at < good.length; at++) {
        if (at === numbers || at === numbers + 1) continue;
        const bad = Uint8Array.from(good);
        bad[at]! ^= 0x01;
        expect([at, await codeOf(() => verify(vector, bad))]).not.toEqual([at, 'accepted']);
      }
    }
  });

  test('another entry, key role or algorithm is refused', async () => {
    const vector = generated.vectors.find(({ name }) => name === 'inclusion-5-3')!;
    const receipt = parseInclusionReceipt(fromHex(vector.receipt_hex));
    const leaf = entryHash('entry 3');
    expect(await codeOf(() => verifyInclusionReceipt(receipt, entryHash('entry 4'), key, nodeCrypto))).toBe(
      'SIGNATURE_INVALID',
    );
    expect(
      await codeOf(() => verifyInclusionReceipt(receipt, leaf, { ...key, algs: [-19] }, nodeCrypto)),
    ).toBe('ALGORITHM_MISMATCH');
    const root = await verifyInclusionReceipt(receipt, leaf, key, nodeCrypto);
    expect(toHex(root)).toBe(
      toHex(
        rootOf(
          sha256,
          [0, 1, 2, 3, 4].map((i) => entryHash(`entry ${i}`)),
        ),
      ),
    );
  });

  test("the working group's samples agree with each other", () => {
    const samples = read('receipts-rfc9942-samples.json') as {
      inclusion_receipt_hex: string;
      consistency_receipt_hex: string;
      expected: { inclusion: Record<string, string>; consistency: Record<string, string> };
    };
    const { inclusion, consistency } = samples.expected;
    const included = parseInclusionReceipt(fromHex(samples.inclusion_receipt_hex));
    expect(included.proof).toMatchObject({ size: inclusion['tree_size'], index: inclusion['leaf_index'] });
    const leaf = fromHex(inclusion['leaf_hash_hex']!);
    expect(toHex(rootFromInclusion(sha256, included.proof, leaf))).toBe(inclusion['root_hex']);
    const { proof } = parseConsistencyReceipt(fromHex(samples.consistency_receipt_hex));
    expect(toHex(proof.path[1]!)).toBe(inclusion['leaf_hash_hex']);
    expect(toHex(rootsFromConsistency(sha256, proof, leaf).root2)).toBe(consistency['new_root_hex']);
  });
});

describe('receipts that we write', () => {
  const hash = new Uint8Array(32).fill(1);
  const headers = new Map([
    [1, -7],
    [395, 1],
  ]);

  function receiptOf(
    unprotected: Dc,
    payload: Uint8Array = Uint8Array.of(0xf6),
    protectedHeader: Dc = headers,
  ): Uint8Array {
    const [head, tail] = [encodeDc(encodeDc(protectedHeader)), encodeDc(new Uint8Array(64))];
    return concat(Uint8Array.of(0xd2, 0x84), head, encodeDc(unprotected), payload, tail);
  }

  test.each([0, 1, 5, 2 ** 32, 2 ** 53 - 1])('are read back at size %d', (size) => {
    const included = { size, index: 0, path: [hash] };
    expect(parseInclusionReceipt(receiptOf(encodeInclusionHeader(included))).proof).toEqual(included);
    const extended = { size1: 0, size2: size, path: [] };
    expect(parseConsistencyReceipt(receiptOf(encodeConsistencyHeader(extended))).proof).toEqual(extended);
  });

  const good = { size: 2, index: 0, path: [hash] };
  const vdp = (proofs: Dc) => new Map([[396, proofs]]);
  const proof = (value: Dc) => vdp(new Map([[-1, [encodeDc(value)]]]));

  test.each<[string, string, Uint8Array]>([
    ['attached payload', 'MALFORMED', receiptOf(encodeInclusionHeader(good), encodeDc(hash))],
    [
      'consistency instead',
      'MALFORMED',
      receiptOf(encodeConsistencyHeader({ size1: 1, size2: 2, path: [] })),
    ],
    ['no proof', 'MALFORMED', receiptOf(vdp(new Map([[-1, []]])))],
    ['proof not wrapped', 'MALFORMED', receiptOf(vdp(new Map([[-1, [[2, 0, [hash]]]]])))],
    ['flattened path', 'MALFORMED', receiptOf(proof([2, 0, hash]))],
    ['path hash of 31 bytes', 'MALFORMED', receiptOf(proof([2, 0, [hash.subarray(1)]]))],
    ['negative index', 'MALFORMED', receiptOf(proof([2, -1, [hash]]))],
    ['path of 55', 'MALFORMED', receiptOf(proof([2, 0, Array<Dc>(55).fill(hash)]))],
    ['no tag', 'MALFORMED', receiptOf(encodeInclusionHeader(good)).subarray(1)],
    ['no vds', 'UNSUPPORTED', receiptOf(encodeInclusionHeader(good), undefined, new Map([[1, -7]]))],
    ['vds 2', 'UNSUPPORTED', receiptOf(encodeInclusionHeader(good), undefined, new Map([[395, 2]]))],
    ['no alg', 'MALFORMED', receiptOf(encodeInclusionHeader(good), undefined, new Map([[395, 1]]))],
  ])('refuses: %s', async (_name, code, bytes) => {
    expect(await codeOf(() => parseInclusionReceipt(bytes))).toBe(code);
  });
});
