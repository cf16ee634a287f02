import { toHex } from '../../../attestation/bytes/bytes.ts';
import { bundleEnds, TILE_WIDTH } from '../../../attestation/log/tiles.ts';
import { entryKindOf } from '../../../attestation/receipt/entryKind.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { ReceiptSkimmer } from '../../../attestation/receipt/skim.ts';
import { requireFile, type InstanceIndex } from './instanceIndex.ts';

const DIGEST = 32;

const skimmer = new ReceiptSkimmer();

/**
 * Place in the list of the oldest document that entries `start` to `end` - 1 need; undefined where none of them names
 * one. What is logged while a document is collected lies beyond its size and cites an older one, and a document that was
 * made for a nonce alone covers nothing that the one before did not: how many stand in between has no bound. The cited
 * one never falls as the index rises, so the first receipt settles it; records before that need their keys.
 */
export async function oldestCited(
  index: Pick<InstanceIndex, 'bundles' | 'documents' | 'files'>,
  start: number,
  end: number,
): Promise<number | undefined> {
  let oldest: number | undefined;
  for await (const entry of entriesIn(index, start, end)) {
    const cited = citedBy(entry, index.documents);
    if (!cited) continue;
    if (cited.place >= 0) oldest = Math.min(oldest ?? cited.place, cited.place);
    if (cited.settles) break;
  }
  return oldest;
}

/** Entries that retention removed are left out. */
async function* entriesIn(
  { bundles, files }: Pick<InstanceIndex, 'bundles' | 'files'>,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  for (let at = Math.floor(start / TILE_WIDTH); at * TILE_WIDTH < end; at++) {
    const bundle = bundles.get(at);
    if (!bundle) continue;
    const bytes = await requireFile(files, bundle.path);
    const ends = bundleEnds(bytes);
    for (const [i, last] of ends.entries()) {
      const index = at * TILE_WIDTH + i;
      if (index >= start && index < end) yield bytes.subarray((ends[i - 1] ?? 0) + 2, last);
    }
  }
}

/** -1 for what no document of the list answers: an audit names it. */
function citedBy(
  entry: Uint8Array,
  documents: InstanceIndex['documents'],
): { readonly place: number; readonly settles: boolean } | undefined {
  if (entryKindOf(entry) === 'foreign') return undefined;
  if (!skimmer.read(entry)) {
    const keyset = toHex(parseRecord(entry).record.keysetDigest);
    return { place: documents.findLastIndex((document) => document.keyset === keyset), settles: false };
  }
  const evidence = toHex(entry.subarray(skimmer.evidenceAt, skimmer.evidenceAt + DIGEST));
  return { place: documents.findIndex(({ digest }) => digest === evidence), settles: true };
}
