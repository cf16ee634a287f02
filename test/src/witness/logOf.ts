import { generateKeyPairSync, sign } from 'node:crypto';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { MemoryTree } from '../../../attestation/log/memoryTree.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import { formatNote } from '../../../attestation/log/note.ts';
import { consistencyRanges } from '../../../attestation/log/subtrees.ts';
import { ed25519OfSpki, encodeVkey, makeVkey } from '../../../attestation/log/vkey.ts';
import { encodeAddCheckpoint } from '../../../src/witness/request.ts';

const sha256 = sha256With(nodeCrypto);

/** A log with a key of its own, which tests let fork. */
export function makeLog(origin: string, texts: readonly string[]) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = ed25519OfSpki(publicKey.export({ format: 'der', type: 'spki' }));
  const vkey = makeVkey(sha256, origin, raw);
  const makeView = (entries: readonly string[]) => {
    const leaves = entries.map((entry) => leafHash(sha256, utf8(entry)));
    const checkpoint = (size: number): Uint8Array => {
      const { root } = new MemoryTree(sha256, leaves.slice(0, size));
      const text = encodeCheckpoint({ origin, size, root, extensions: [] });
      const signature = sign(null, utf8(text), privateKey);
      return formatNote(text, [{ name: origin, keyId: vkey.keyId, signature }]);
    };
    const proof = (size1: number, size2: number): readonly Uint8Array[] =>
      size1 === 0 || size1 === size2
        ? []
        : consistencyRanges(size1, size2).map(
            ({ start, end }) => new MemoryTree(sha256, leaves.slice(start, end)).root,
          );
    return {
      checkpoint,
      proof,
      /** Body of a request that shows the head of `size` as the next after `oldSize`. */
      request: (oldSize: number, size: number): Uint8Array =>
        encodeAddCheckpoint({ oldSize, path: proof(oldSize, size), checkpoint: checkpoint(size) }),
    };
  };
  return { origin, vkey: encodeVkey(vkey), ...makeView(texts), makeView };
}

export const TEXTS = Array.from({ length: 40 }, (_, i) => `entry ${i}`);
