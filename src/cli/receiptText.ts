import { toHex } from '../../attestation/bytes/bytes.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';

/** Name and value of one thing that a file says. */
export type Row = readonly [name: string, value: string];

/** What a receipt vouches for, in a few lines. */
export function receiptRows(claims: ReceiptClaims): readonly Row[] {
  const usage = [...claims.usage].map(([name, count]) => `${name} ${count}`).join(', ');
  return [
    ['model', `${claims.model} (manifest ${toHex(claims.manifestDigest).slice(0, 16)}…)`],
    ['answered', `${claims.method} ${claims.path} over ${claims.channel}, ${claims.outcome}`],
    ['issued', `${secondsText(claims.issuedAt)} by the guest's clock`],
    ['log index', String(claims.index)],
    ...(usage === '' ? [] : [['usage', usage] as const]),
  ];
}

/** Seconds since 1970 as a date; times that a Date cannot hold stay numbers. */
export function secondsText(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `second ${seconds}` : date.toISOString().replace('.000', '');
}
