import { fromUtf8 } from '../bytes/bytes.ts';
import { parseThimCertificates } from '../evidence/snp/thim.ts';
import { parsePemChain } from '../x509/certificate.ts';
import { DerReader, TAG } from '../x509/der.ts';
import type { Recognised } from './recognise.ts';

/** Certificates in one file, more than any chain has. */
const MAX_CERTIFICATES = 16;

/** DER, also one behind the other, PEM, or what Azure's host answers; undefined for anything else. */
export function certificatesIn({ kind, bytes }: Recognised): readonly Uint8Array[] | undefined {
  if (kind === 'thim-certificates') return parseThimCertificates(bytes).certificates;
  if (kind !== 'certificates') return undefined;
  if (bytes[0] === TAG.sequence) return derIn(bytes);
  return parsePemChain(fromUtf8(bytes), MAX_CERTIFICATES).map(({ der }) => der);
}

/** What pads them is passed over. */
function derIn(bytes: Uint8Array): readonly Uint8Array[] {
  const reader = new DerReader(bytes, 'certificates');
  const found: Uint8Array[] = [];
  while (reader.has(TAG.sequence)) found.push(reader.take().encoded);
  return found;
}
