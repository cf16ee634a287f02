import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { parseAttestation } from '../client/attestation.ts';
import { parseCollateralFile } from '../../attestation/bundle/collateralFile.ts';
import { looksLikeOcspResponse } from '../collateral/ocsp.ts';
import { crlToDer } from '../../attestation/x509/crlText.ts';
import { certificatesIn } from '../../attestation/recognition/certificates.ts';
import { withIssuerChains } from '../../attestation/evidence/dcap/issuerChains.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { recognise, type ShownKind } from '../../attestation/recognition/recognise.ts';

/** Vendor statements of files of any kind that hold such. */
export async function readCollateral(paths: readonly string[]): Promise<Collateral> {
  const read = await Promise.all(paths.map(readOne));
  return withIssuerChains(read.reduce(mergeCollateral, NO_COLLATERAL));
}

async function readOne(path: string): Promise<Collateral> {
  const given = await readInput(path);
  if (looksLikeOcspResponse(given)) return { ...NO_COLLATERAL, ocspResponses: [given] };
  const recognised = recognise(given);
  const statements = STATEMENTS[recognised.kind]?.(recognised.bytes);
  if (statements) return { ...NO_COLLATERAL, ...statements };
  const certificates = certificatesIn(recognised);
  if (certificates) return { ...NO_COLLATERAL, certificates };
  throw new CliError(EXIT.unreadable, `${path} holds no collateral that is known here`);
}

/** By kind of file. */
const STATEMENTS: Readonly<Partial<Record<ShownKind, (bytes: Uint8Array) => Partial<Collateral>>>> = {
  collateral: parseCollateralFile,
  attestation: (bytes) => parseAttestation(bytes).collateral,
  bundle: (bytes) => parseBundle(bytes).collateral,
  crl: (bytes) => ({ crls: [crlToDer(bytes)] }),
  'tcb-info': (body) => ({ tcbInfos: [{ body, issuerChain: [] }] }),
  'qe-identity': (body) => ({ qeIdentities: [{ body, issuerChain: [] }] }),
};
