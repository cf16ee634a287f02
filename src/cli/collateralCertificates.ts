import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { parseThimCertificates } from '../../attestation/evidence/snp/thim.ts';
import { parsePemChain } from '../../attestation/x509/certificate.ts';
import { DerReader, TAG } from '../../attestation/x509/der.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { recognise, type Recognised } from './materialRecognition.ts';

/** Certificates in one file, more than any chain has. */
const MAX_CERTIFICATES = 16;

/** DER certificates of files that hold nothing else, in their order. */
export async function readCertificates(paths: readonly string[]): Promise<readonly Uint8Array[]> {
  const read = await Promise.all(paths.map(async (path) => certificatesOf(path, await readInput(path))));
  return read.flat();
}

function certificatesOf(path: string, bytes: Uint8Array): readonly Uint8Array[] {
  const found = certificatesIn(recognise(bytes));
  if (found) return found;
  throw new CliError(EXIT.unreadable, `${path} holds no certificates that can be read here`);
}

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
