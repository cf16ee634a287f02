import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { bundleEnds, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { parseReceipt, type ParsedReceipt } from '../../attestation/receipt/receipt.ts';
import { Needle } from '../../attestation/receipt/needle.ts';
import { ReceiptSkimmer } from '../../attestation/receipt/skim.ts';
import type { ArchiveSource } from '../export/source.ts';
import { AuditError } from './errors.ts';
import { listInstance, readBundle, type ListedInstance } from './instanceFiles.ts';

export interface FoundReceipt {
  readonly instance: string;
  readonly index: number;
  readonly receipt: ParsedReceipt;
}

/** Looks through all bundles for a receipt by its id, 32 hex digits; hyphens of a UUID are passed over. */
export async function findReceipt(source: ArchiveSource, id: string): Promise<FoundReceipt> {
  const wanted = id.replaceAll('-', '').toLowerCase();
  if (!/^[0-9a-f]{32}$/.test(wanted))
    throw new AuditError('RECEIPT_NOT_FOUND', 'a receipt id is 32 hex digits');
  for (const files of await source.instances()) {
    const listed = await listInstance(files);
    for (const bundle of [...listed.bundleWidths.keys()].sort((a, b) => a - b)) {
      const found = await searchBundle(listed, bundle, new Needle(Buffer.from(wanted, 'hex')));
      if (found) return found;
    }
  }
  throw new AuditError('RECEIPT_NOT_FOUND', `no receipt has the id ${wanted}`);
}

const skimmer = new ReceiptSkimmer();

async function searchBundle(
  listed: ListedInstance,
  bundle: number,
  id: Needle,
): Promise<FoundReceipt | undefined> {
  const found = await readBundle(listed, bundle);
  if (!found) return undefined;
  let start = 2;
  for (const [i, end] of bundleEnds(found.bytes).entries()) {
    if (hasId(found.bytes, start, end, id)) {
      const receipt = parseReceipt(found.bytes.slice(start, end));
      return { instance: listed.files.instance, index: bundle * TILE_WIDTH + i, receipt };
    }
    start = end + 2;
  }
  return undefined;
}

/** An entry that cannot be read is the audit's to name; here it is passed over. */
function hasId(bytes: Uint8Array, start: number, end: number, id: Needle): boolean {
  try {
    return skimmer.read(bytes, start, end) && id.isAt(skimmer.view, skimmer.idAt);
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

export function receiptId({ claims }: ParsedReceipt): string {
  return toHex(claims.id);
}
