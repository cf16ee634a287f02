import { MAX_BUNDLE_BYTES } from '../../attestation/bundle/bundle.ts';
import { encodeCollateral, parseCollateral } from '../../attestation/bundle/collateral.ts';
import { decodeDc, encodeDc } from '../../attestation/cbor/deterministic.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import type { EvidenceSource } from './evidence.ts';
import type { ReceiptLog } from './log.ts';

/** What vendors said, as it is judged and as it is kept. */
export interface Snapshot {
  readonly collateral: Collateral;
  readonly encoded: Uint8Array;
}

/** What vendors said when each document was made: a document is judged with the collateral of its day. */
export class CollateralSnapshots {
  readonly #source: Pick<EvidenceSource, 'collateral'>;
  readonly #log: Pick<ReceiptLog, 'writeCollateral' | 'readCollateral'>;
  #taken: Snapshot | undefined;
  #read: Snapshot | undefined;

  constructor(
    source: Pick<EvidenceSource, 'collateral'>,
    log: Pick<ReceiptLog, 'writeCollateral' | 'readCollateral'>,
  ) {
    this.#source = source;
    this.#log = log;
  }

  /** What is known now. Where vendors give nothing, what was known before stands. */
  async take(): Promise<Snapshot> {
    this.#taken = await this.#current();
    return this.#taken;
  }

  /** Keeps what document `seq` was judged by. */
  async keep(seq: number, { encoded }: Snapshot): Promise<void> {
    await this.#log.writeCollateral(seq, encoded);
  }

  /** What was known when document `seq` was made. */
  async of(seq: number): Promise<Collateral> {
    const encoded = await this.#log.readCollateral(seq);
    const known = [this.#taken, this.#read].find(
      (snapshot) => snapshot && Buffer.compare(snapshot.encoded, encoded) === 0,
    );
    this.#read = known ?? { collateral: readSnapshot(encoded), encoded };
    return this.#read.collateral;
  }

  /** Collateral is large and changes seldom: it is encoded once for each object. */
  async #current(): Promise<Snapshot> {
    const known = this.#taken;
    try {
      const collateral = await this.#source.collateral();
      if (known?.collateral === collateral) return known;
      return { collateral, encoded: encodeDc(encodeCollateral(collateral)) };
    } catch (error) {
      if (known) return known;
      throw error;
    }
  }
}

function readSnapshot(encoded: Uint8Array): Collateral {
  return parseCollateral(decodeDc(encoded, { maxDepth: 8, maxBytes: MAX_BUNDLE_BYTES }));
}
