import { equalBytes } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { readVekCertificate } from '../evidence/snp/certificate.ts';
import { parseCertificate, type Certificate } from '../x509/certificate.ts';

/** VEK, ASK or ASVK, ARK. */
const CHAIN = 3;

interface Read {
  readonly der: Uint8Array;
  /** Undefined for one that cannot be read. */
  readonly certificate: Certificate | undefined;
}

/**
 * The chain of an SNP report among certificates that lie beside it: the VEK, then issuers by their names. Where no
 * issuer has the name, the next of those that were given stands in its place, for the verifier to refuse by name:
 * nothing here judges.
 */
export function snpChainAmong(certificates: readonly Uint8Array[]): readonly Uint8Array[] {
  const all = certificates.map((der): Read => ({ der, certificate: readable(der) }));
  const vek = all.find(isVek) ?? all.find(({ certificate }) => !certificate);
  if (!vek) return [];
  const chain: Read[] = [vek];
  while (chain.length < CHAIN) {
    const rest = all.filter((each) => !chain.includes(each) && !isVek(each));
    const issuerName = chain.at(-1)?.certificate?.issuerName;
    const isNamed = ({ certificate }: Read) =>
      issuerName !== undefined &&
      certificate !== undefined &&
      equalBytes(certificate.subjectName, issuerName);
    const next = rest.find(isNamed) ?? rest[0];
    if (!next) break;
    chain.push(next);
  }
  return chain.map(({ der }) => der);
}

function isVek({ certificate }: Read): boolean {
  return certificate !== undefined && tried(() => readVekCertificate(certificate)) !== undefined;
}

function readable(der: Uint8Array): Certificate | undefined {
  return tried(() => parseCertificate(der));
}

function tried<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
