import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sigStructure } from '../../attestation/cose/sign1.ts';
import {
  consistencyProtected,
  encodeConsistencyReceipt,
  encodeInclusionReceipt,
  inclusionProtected,
  logReceiptIssuer,
} from '../../attestation/log/logReceipt.ts';
import { encodeTransparentStatement } from '../../attestation/log/transparentStatement.ts';
import type { InstanceKeys } from './keys.ts';
import type { ReceiptLog } from './log.ts';

/** What of a log its receipts are made from. */
export type ProvenLog = Pick<
  ReceiptLog,
  'durableSize' | 'root' | 'entry' | 'inclusionProof' | 'consistencyProof'
>;

/** The inclusion key of one generation, with the keyset that names it. */
type InclusionKeys = Pick<InstanceKeys, 'keyset' | 'inclusion'>;

/** The keys for a receipt of the entry at `index`, or of the whole log. */
type FindKeys = (index?: number) => InclusionKeys;

/**
 * Signs COSE Receipts (RFC 9942) of the instance's log: the only place where the inclusion keys are used. Each signs a
 * root of the one append-only log, so that however many are asked for, none contradicts another.
 */
export class InclusionIssuer {
  readonly #find: FindKeys;
  readonly #log: ProvenLog;

  /** `find` where other keys follow the first ones. */
  constructor(first: InclusionKeys, log: ProvenLog, find: FindKeys = () => first) {
    this.#find = find;
    this.#log = log;
  }

  /** Receipt that entry `index` is in the tree of the first `size` entries, all of them durable. */
  async inclusion(index: number, size = this.#log.durableSize): Promise<Uint8Array> {
    const [root, path] = await Promise.all([this.#log.root(size), this.#log.inclusionProof(index, size)]);
    const proof = { index, size, path };
    const { inclusion, keyset } = this.#find(index);
    const header = inclusionProtected(logReceiptIssuer(keyset, nodeCrypto), proof);
    return encodeInclusionReceipt(header, proof, inclusion.sign(sigStructure(header, root)));
  }

  /** Receipt that the tree of `size2` extends that of `size1`, which is at least 1. */
  async consistency(size1: number, size2: number): Promise<Uint8Array> {
    const [root, path] = await Promise.all([this.#log.root(size2), this.#log.consistencyProof(size1, size2)]);
    const proof = { size1, size2, path };
    const { inclusion, keyset } = this.#find();
    const header = consistencyProtected(logReceiptIssuer(keyset, nodeCrypto), proof);
    return encodeConsistencyReceipt(header, proof, inclusion.sign(sigStructure(header, root)));
  }

  /** The entry with its receipt: a transparent statement of RFC 9943. */
  async statement(index: number, size = this.#log.durableSize): Promise<Uint8Array> {
    const [entry, receipt] = await Promise.all([this.#log.entry(index), this.inclusion(index, size)]);
    return encodeTransparentStatement(entry, [receipt]);
  }
}
