import { equalBytes } from '../bytes/bytes.ts';
import { sigStructure, type Sign1 } from '../cose/sign1.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import type { Keyset } from '../keyset.ts';
import { verifyCheckpoint } from '../log/checkpoint.ts';
import { parseReceipt, verifyEntry } from './receipt.ts';
import { parseRecord, type Predecessor } from './record.ts';

/** What two views prove when they meet. Each refuses inputs that do not verify: an accusation needs signatures. */

/** True when two verified receipts of one log and index differ in what is signed: the operator equivocated. */
export async function provesEquivocation(
  first: Uint8Array,
  second: Uint8Array,
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<boolean> {
  const receipts = [parseReceipt(first), parseReceipt(second)] as const;
  for (const receipt of receipts) await verifyEntry(receipt, keyset.receipt, keyset.instance, crypto);
  const [a, b] = receipts;
  return a.claims.index === b.claims.index && !equalBytes(signedBytes(a.sign1), signedBytes(b.sign1));
}

function signedBytes({ protectedBytes, payload }: Sign1): Uint8Array {
  return sigStructure(protectedBytes, payload);
}

/** True when two verified checkpoints of one log have one size and two roots: the log was shown in two views. */
export async function provesSplitView(
  first: Uint8Array,
  second: Uint8Array,
  keyset: Keyset,
  crypto: CryptoProvider,
): Promise<boolean> {
  const a = await verifyCheckpoint(first, keyset.origin, keyset.log.x, crypto);
  const b = await verifyCheckpoint(second, keyset.origin, keyset.log.x, crypto);
  return a.size === b.size && !equalBytes(a.root, b.root);
}

/** An `open` record with the keyset under which its signature must verify. */
export interface OpenRecord {
  readonly entry: Uint8Array;
  readonly keyset: Keyset;
}

/** True when two instances name one predecessor: two machines were started from one disk. */
export async function provesFork(
  first: OpenRecord,
  second: OpenRecord,
  crypto: CryptoProvider,
): Promise<boolean> {
  const [a, b] = [await verifiedPredecessor(first, crypto), await verifiedPredecessor(second, crypto)];
  const otherInstance = !equalBytes(first.keyset.instance, second.keyset.instance);
  return otherInstance && a !== undefined && b !== undefined && a.origin === b.origin;
}

async function verifiedPredecessor(
  { entry, keyset }: OpenRecord,
  crypto: CryptoProvider,
): Promise<Predecessor | undefined> {
  const parsed = parseRecord(entry);
  await verifyEntry(parsed, keyset.receipt, keyset.instance, crypto);
  return parsed.record.kind === 'open' ? parsed.record.predecessor : undefined;
}
