import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import { asArray, asBytes } from '../../attestation/cbor/shape.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { actSubject } from '../../attestation/receipt/record.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { FindingList } from './findings.ts';
import type { ListedInstance } from './instanceFiles.ts';
import type { ActMark, BundleRange } from './progress.ts';

/** Most ids of one act: an act of a retention run names each bundle that it removes. */
const MAX_IDS_BYTES = 64 * 1024 * 1024;

/** Bundles, as `<instance hex>/entries/<number>`, that acts in the logs name as expired. */
export type ExpiredBundles = ReadonlySet<string>;

/**
 * What expired, by the ids that lie beside the logs as `acts/<subject hex>.cbor`: they count where a verified
 * `receipts-expired` act of any instance has their digest as its subject.
 */
export async function readExpired(
  instances: readonly ListedInstance[],
  acts: readonly ActMark[],
): Promise<ExpiredBundles> {
  const subjects = new Set(
    acts.filter(({ act }) => act === 'receipts-expired').map(({ subject }) => subject),
  );
  const expired = new Set<string>();
  for (const listed of instances) {
    for (const subject of listed.acts.filter((name) => subjects.has(name))) {
      for (const id of await readIds(listed, subject)) expired.add(id);
    }
  }
  return expired;
}

async function readIds({ files }: ListedInstance, subject: string): Promise<readonly string[]> {
  const bytes = await files.read(`acts/${subject}.cbor`);
  if (!bytes) return [];
  try {
    const list = asArray(decodeDc(bytes, { maxDepth: 2, maxBytes: MAX_IDS_BYTES }), 'ids of an act');
    const ids = list.map((id) => asBytes(id, 'id of an act'));
    return toHex(actSubject(ids, nodeCrypto)) === subject ? ids.map((id) => fromUtf8(id)) : [];
  } catch (error) {
    if (error instanceof Refusal) return [];
    throw error;
  }
}

/** Every bundle of the span whose entries are gone must have expired by an act; its hashes are in the tree then. */
export function judgeMissing(
  instance: string,
  missing: readonly BundleRange[],
  span: readonly [first: number, last: number] | undefined,
  expired: ExpiredBundles,
  findings: FindingList,
): void {
  for (const { from, to } of missing) {
    for (let bundle = from; bundle < to; bundle++) {
      const [first, last] = [bundle * TILE_WIDTH, (bundle + 1) * TILE_WIDTH - 1];
      const wanted = bundle === 0 || !span || (last >= span[0] && first <= span[1]);
      if (!wanted) continue;
      const isExpired = expired.has(`${instance}/entries/${bundle}`);
      findings.add({
        check: 'retention.acts',
        code: isExpired ? 'EXPIRED' : 'ENTRY_MISSING',
        severity: isExpired ? 'note' : 'fail',
        index: first,
        last,
        detail: isExpired
          ? 'an act in the log names them as expired'
          : 'no act in the logs names them as expired',
      });
    }
  }
}
