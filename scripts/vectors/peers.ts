import type { Case } from './family.ts';
import { opensslTimestampCases } from './opensslTimestamps.ts';
import { peerReceiptCases } from './peerReceipts.ts';

/** Code that nobody here wrote, which is run beside the files: what it makes is other each time. */
export const PEERS: readonly { readonly name: string; readonly cases: () => readonly Case[] }[] = [
  { name: '@transmute/cose', cases: peerReceiptCases },
  { name: 'openssl ts', cases: opensslTimestampCases },
];
