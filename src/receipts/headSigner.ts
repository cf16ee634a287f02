import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { formatNote } from '../../attestation/log/note.ts';
import { makeVkey } from '../../attestation/log/vkey.ts';
import type { InstanceKeys } from './keys.ts';
import type { SignedHead } from './outsider.ts';

/** Signs the head of the log as a checkpoint: the only place where the log key is used. */
export class HeadSigner {
  readonly #keys: InstanceKeys;
  readonly #name: string;
  readonly #keyId: number;

  constructor(keys: InstanceKeys) {
    this.#keys = keys;
    const { origin, log } = keys.keyset;
    const { name, keyId } = makeVkey(sha256With(nodeCrypto), origin, log.x);
    this.#name = name;
    this.#keyId = keyId;
  }

  sign(size: number, root: Uint8Array): SignedHead {
    const text = encodeCheckpoint({ origin: this.#name, size, root, extensions: [] });
    const bytes = this.#keys.log.sign(utf8(text));
    const signature = { name: this.#name, keyId: this.#keyId, signature: bytes };
    return { size, text, signature, note: formatNote(text, [signature]) };
  }
}
