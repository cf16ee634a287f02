import { parseRenewal } from '../../attestation/archive/renewal.ts';
import { listName, recordName, timestampName } from '../../attestation/archive/renewalFiles.ts';
import { verifyRenewals, type RenewalAudit } from '../../attestation/archive/verifyRenewals.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';

/** The golden files that the golden renewal covers, in the order of their names. */
export const RENEWED_FILES: readonly string[] = ['anchor.cbor', 'checkpoint.txt', 'evidence.cited.cbor'];

/** Verifies the golden renewal of three golden files, under the names that they have in a folder of renewals. */
export function auditGoldenRenewal(
  read: (name: string) => Uint8Array,
  { anchors, crypto, now }: AppraisalContext,
): Promise<RenewalAudit> {
  const record = read('renewal.cbor');
  const instance = parseRenewal(record).segments[0]?.name ?? '';
  const renewals = new Map([
    [recordName(0), record],
    [listName(0, instance), read('list.txt')],
    [timestampName(0, 0), read('timestamp.tsr')],
  ]);
  const files = {
    instance,
    paths: () => inOrder(RENEWED_FILES),
    read: (path: string) => Promise.resolve(read(path)),
  };
  const folder = {
    names: () => Promise.resolve([...renewals.keys()]),
    read: (name: string) => Promise.resolve(renewals.get(name)),
  };
  return verifyRenewals(folder, [files], { anchors, crypto, now });
}

async function* inOrder(names: readonly string[]): AsyncGenerator<string> {
  for (const name of names) yield await Promise.resolve(name);
}
