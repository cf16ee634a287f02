import { encodeBundle, type Covering, type Witnessed } from '../../attestation/bundle/bundle.ts';
import { parseAnchor } from '../../attestation/log/anchor.ts';
import type { Anchoring } from './anchoring.ts';
import type { CollateralSnapshots } from './collateralSnapshots.ts';
import type { CoveringMark } from './coverageMarks.ts';
import type { EvidenceLine } from './evidenceLine.ts';
import type { HeadSigner } from './headSigner.ts';
import type { ReceiptLog } from './log.ts';
import type { ReceiptPlace } from './receiptIndex.ts';

export interface BundleParts {
  readonly log: ReceiptLog;
  readonly line: Pick<EvidenceLine, 'covering'>;
  readonly heads: HeadSigner;
  readonly snapshots: CollateralSnapshots;
  readonly anchoring: Pick<Anchoring, 'sizeOver'>;
}

/** Puts one receipt together with everything that a verifier needs. */
export class Bundles {
  readonly #parts: BundleParts;

  constructor(parts: BundleParts) {
    this.#parts = parts;
  }

  async make(place: ReceiptPlace): Promise<Uint8Array> {
    const { log, line, snapshots } = this.#parts;
    const mark = line.covering(place.index);
    const [receipt, cited, collateral, covering, witnessed] = await Promise.all([
      log.entry(place.index),
      log.readEvidence(place.cited.seq),
      snapshots.of(mark?.seq ?? place.cited.seq),
      mark && this.#covering(place, mark),
      mark && this.#witnessed(mark),
    ]);
    const shown = { policy: undefined, verdict: undefined };
    return encodeBundle({ receipt, cited, covering, witnessed, collateral, ...shown });
  }

  async #covering({ index, cited }: ReceiptPlace, mark: CoveringMark): Promise<Covering> {
    const { log, heads } = this.#parts;
    const [document, root, inclusion, consistency] = await Promise.all([
      log.readEvidence(mark.seq),
      log.root(mark.logSize),
      log.inclusionProof(index, mark.logSize),
      log.consistencyProof(cited.logSize, mark.logSize),
    ]);
    return { document, checkpoint: heads.sign(mark.logSize, root).note, inclusion, consistency };
  }

  /** The first anchored head whose tree holds the record that names the covering document. */
  async #witnessed({ logSize, record }: CoveringMark): Promise<Witnessed | undefined> {
    const { log, anchoring } = this.#parts;
    const size = record === undefined ? undefined : anchoring.sizeOver(record);
    if (record === undefined || size === undefined) return undefined;
    const [anchor, consistency, entry, path] = await Promise.all([
      log.readAnchor(size),
      log.consistencyProof(logSize, size),
      log.entry(record),
      log.inclusionProof(record, size),
    ]);
    return { ...parseAnchor(anchor), consistency, epoch: { entry, index: record, path } };
  }
}
