import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import {
  devicesDigest,
  encodeDevices,
  encodeStatement,
  gpuNonce,
  nonceLeaf,
  parseStatement,
  reportData,
  statementDigest,
  tpmExtraData,
} from '../../attestation/binding.ts';
import { fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { commit, itemKey } from '../../attestation/receipt/commitment.ts';
import { describeCorpus } from '../support/corpus.ts';

interface Vectors {
  readonly binding: Record<string, string> & {
    readonly nonces: readonly string[];
    readonly nonce_root_of: Record<string, string>;
  };
  readonly commitments: {
    readonly receipt_id: string;
    readonly k: string;
    readonly request_0: { readonly bytes: string; readonly k_i: string; readonly c_i: string };
    readonly chunks: {
      readonly bytes: readonly string[];
      readonly c: readonly string[];
      readonly root: string;
    };
  };
}

describeCorpus('known answers of the design', 'vectors', (directory) => {
  const vectors = JSON.parse(readFileSync(join(directory, 'binding.json'), 'utf8')) as Vectors;
  const { binding, commitments } = vectors;
  const hex = (name: string) => fromHex(binding[name] ?? '');

  for (const [door, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    const sha256 = sha256With(crypto);

    test(`${door}: nonce roots`, () => {
      for (const [count, root] of Object.entries(binding.nonce_root_of)) {
        const leaves = binding.nonces
          .slice(0, Number(count))
          .map((nonce) => nonceLeaf(fromHex(nonce), crypto));
        expect(toHex(rootOf(sha256, leaves))).toBe(root);
      }
    });

    test(`${door}: statement, device nonce and report data`, () => {
      const encoded = encodeStatement({
        seq: 0,
        final: false,
        keysetDigest: hex('keyset_digest'),
        nonceCount: 3,
        nonceRoot: fromHex(binding.nonce_root_of['3'] ?? ''),
        logSize: 1,
        logRoot: hex('log_root'),
        previous: undefined,
        timeAnchor: undefined,
      });
      expect(toHex(encoded)).toBe(binding['statement']);
      expect(toHex(encodeStatement(parseStatement(encoded)))).toBe(binding['statement']);
      const b = statementDigest(encoded, crypto);
      expect(toHex(b)).toBe(binding['b']);
      expect(toHex(gpuNonce(b, crypto))).toBe(binding['gpu_nonce']);
      const g = devicesDigest(encodeDevices([]), crypto);
      expect(toHex(g)).toBe(binding['g']);
      const data = reportData(b, g, crypto);
      expect(toHex(data)).toBe(binding['report_data']);
      expect(toHex(tpmExtraData(data, crypto))).toBe(binding['tpm_extra_data']);
    });

    test(`${door}: commitments and the chunk tree`, () => {
      const [id, k] = [fromHex(commitments.receipt_id), fromHex(commitments.k)];
      const request = commitments.request_0;
      expect(toHex(itemKey(k, id, 'request', 0, crypto))).toBe(request.k_i);
      expect(toHex(commit(k, id, 'request', 0, fromHex(request.bytes), crypto))).toBe(request.c_i);
      const chunks = commitments.chunks.bytes.map((bytes, i) =>
        commit(k, id, 'chunk', i, fromHex(bytes), crypto),
      );
      expect(chunks.map(toHex)).toEqual(commitments.chunks.c);
      expect(
        toHex(
          rootOf(
            sha256,
            chunks.map((chunk) => leafHash(sha256, chunk)),
          ),
        ),
      ).toBe(commitments.chunks.root);
    });
  }
});
