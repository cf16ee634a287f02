import { certificatesIn } from '../../attestation/recognition/certificates.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { recognise } from '../../attestation/recognition/recognise.ts';

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
