import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sigStructure } from '../../attestation/cose/sign1.ts';
import {
  consistencyProtected,
  encodeConsistencyReceipt,
  encodeInclusionReceipt,
  inclusionProtected,
  logReceiptIssuer,
  type LogReceiptIssuer,
} from '../../attestation/log/logReceipt.ts';
import { encodeTransparentStatement } from '../../attestation/log/transparentStatement.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';

/** What of a log its receipts are made from. */
export type ProvenLog = Pick<
  ReceiptLog,
  'durableSize' | 'root' | 'entry' | 'inclusionProof' | 'consistencyProof'
>;

/**
 * Signs COSE Receipts (RFC 9942) of the instance's log: the only place where the inclusion key is used. Each signs a
 * root of the one append-only log, so that however many are asked for, none contradicts another.
 */
export class InclusionIssuer {
  readonly #keys: Pick<InstanceKeys, 'keyset' | 'inclusion'>;
  readonly #log: ProvenLog;
  readonly #issuer: LogReceiptIssuer;

  constructor(keys: Pick<InstanceKeys, 'keyset' | 'inclusion'>, log: ProvenLog) {
    this.#keys = keys;
    this.#log = log;
    this.#issuer = logReceiptIssuer(keys.keyset, nodeCrypto);
  }

  /** Receipt that entry `index` is in the tree of the first `size` entries, all of them durable. */
  async inclusion(index: number, size = this.#log.durableSize): Promise<Uint8Array> {
    const [root, path] = await Promise.all([this.#log.root(size), this.#log.inclusionProof(index, size)]);
    const proof = { index, size, path };
    const header = inclusionProtected(this.#issuer, proof);
    return encodeInclusionReceipt(header, proof, this.#sign(header, root));
  }

  /** Receipt that the tree of `size2` extends that of `size1`, which is at least 1. */
  async consistency(size1: number, size2: number): Promise<Uint8Array> {
    const [root, path] = await Promise.all([this.#log.root(size2), this.#log.consistencyProof(size1, size2)]);
    const proof = { size1, size2, path };
    const header = consistencyProtected(this.#issuer, proof);
    return encodeConsistencyReceipt(header, proof, this.#sign(header, root));
  }

  /** The entry with its receipt: a transparent statement of RFC 9943. */
  async statement(index: number, size = this.#log.durableSize): Promise<Uint8Array> {
    const [entry, receipt] = await Promise.all([this.#log.entry(index), this.inclusion(index, size)]);
    return encodeTransparentStatement(entry, [receipt]);
  }

  #sign(header: Uint8Array, root: Uint8Array): Uint8Array {
    return this.#keys.inclusion.sign(sigStructure(header, root));
  }
}
