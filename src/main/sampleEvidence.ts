import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeKeyset, keysetDigest } from '../../attestation/keyset.ts';
import { MemoryTree } from '../../attestation/log/memoryTree.ts';
import { generateKeyring } from '../../enclave/keys/keyring.ts';
import { SOFTWARE } from '../config/package.ts';
import { collectDocument, type EvidenceSource } from '../receipts/evidence.ts';

/** Life of the keys, in seconds: nothing is ever signed with them. */
const LIFE_SECONDS = 3600;

/** One evidence document over keys that are thrown away and an empty log, for an asker's 32-byte nonce. */
export async function sampleEvidence(
  source: EvidenceSource,
  host: string,
  nonce: Uint8Array,
  now: number,
): Promise<Uint8Array> {
  const { keyset } = await generateKeyring({
    host,
    notAfter: Math.floor(now / 1000) + LIFE_SECONDS,
    software: SOFTWARE,
    receiptAlgorithm: 'ES256',
  });
  const { head } = await collectDocument(source, {
    keyset,
    keysetDigest: keysetDigest(encodeKeyset(keyset), nodeCrypto),
    seq: 0,
    final: false,
    nonces: [nonce],
    log: { size: 0, root: new MemoryTree(sha256With(nodeCrypto), []).root },
    previous: undefined,
  });
  return head.encoded;
}
