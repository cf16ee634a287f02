import { isZero } from '../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { parseDeviceReport, type DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { parseHclReport } from '../../attestation/evidence/azure/parse.ts';
import { driverRimId, vbiosRimId } from '../../attestation/evidence/nvidia/rim.ts';
import { SIMULATED_ANCHORS } from '../../attestation/evidence/simulatedAnchors.ts';
import { readVekCertificate } from '../../attestation/evidence/snp/certificate.ts';
import { parseSnpReport, type SnpReport } from '../../attestation/evidence/snp/parse.ts';
import { productOfCpuid, type SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { spkiSha256 } from '../../attestation/x509/chain.ts';
import { platformOfQuote, type DcapPlatform } from './quoteNeeds.ts';
import { distinctNeeds, type CollateralNeed } from './need.ts';
import { deviceStatusNeeds } from './statusNeeds.ts';

/** What evidence wants of vendors. It is read unverified: whoever made it chooses what is asked for, and no more. */
export interface EvidenceNeeds {
  readonly needs: readonly CollateralNeed[];
  /** What no vendor will be asked for, and why; sentences. */
  readonly gaps: readonly string[];
}

const NOTHING: EvidenceNeeds = { needs: [], gaps: [] };
/** A certificate of AMD that is no VEK: ASK or ASVK, and ARK. */
const CA_CERTIFICATES = 2;
const CHIP_ID_BYTES: Readonly<Record<SnpProduct, number>> = { milan: 64, genoa: 64, turin: 8 };

export interface SnpCarried {
  /** Certificates that the evidence brings along, DER. */
  readonly certificates?: readonly Uint8Array[];
  /** Where neither report nor certificates say it: reports of version 2. */
  readonly product?: SnpProduct | undefined;
}

/** For an SNP report: the certificates that the evidence does not carry, and the CRL of the root. */
export function snpNeeds(report: SnpReport, carried: SnpCarried = {}): EvidenceNeeds {
  const certificates = (carried.certificates ?? []).flatMap(readable);
  const veks = certificates.flatMap((certificate) => attempt(() => readVekCertificate(certificate)) ?? []);
  const product = productOf(report, veks[0]?.product, carried.product);
  const { signingKey } = report.keyInfo;
  if (product === undefined) {
    return { needs: [], gaps: ['the SNP report does not say of which product it is: name it'] };
  }
  if (signingKey === 'none') return { needs: [], gaps: ['the SNP report is not signed'] };
  const chain: CollateralNeed = { kind: 'amd-chain', product, endorses: signingKey };
  const hasChain = certificates.length - veks.length >= CA_CERTIFICATES;
  const vek = veks.length > 0 ? NOTHING : vekNeeds(report, product);
  return {
    needs: [...vek.needs, ...(hasChain ? [] : [chain]), { kind: 'amd-crl', product }],
    gaps: vek.gaps,
  };
}

/** The report's own word counts first: it is what the certificate must agree with. */
function productOf(
  { cpuid }: SnpReport,
  endorsed: SnpProduct | undefined,
  named: SnpProduct | undefined,
): SnpProduct | undefined {
  return cpuid ? productOfCpuid(cpuid) : (endorsed ?? named);
}

function vekNeeds({ keyInfo, chipId, reportedTcb }: SnpReport, product: SnpProduct): EvidenceNeeds {
  if (keyInfo.signingKey === 'vlek') {
    const reason = 'a VLEK certificate is given to the cloud provider only: the evidence has to bring it';
    return { needs: [], gaps: [reason] };
  }
  const hwid = chipId.subarray(0, CHIP_ID_BYTES[product]);
  if (isZero(hwid)) {
    return { needs: [], gaps: ['the host masks the chip id, by which a VCEK certificate is asked for'] };
  }
  return { needs: [{ kind: 'vcek', product, hwid, tcb: reportedTcb }], gaps: [] };
}

/** For the report of a paravisor of Azure, by the hardware report inside. */
export function hclNeeds(hcl: Uint8Array, carried: SnpCarried = {}): EvidenceNeeds {
  const { platform, hardwareReport } = parseHclReport(hcl);
  if (platform === 'snp') return snpNeeds(parseSnpReport(hardwareReport), carried);
  const reason =
    'the HCL report holds a TDREPORT, which names no platform: name the quote that was made of it';
  return { needs: [], gaps: [reason] };
}

/** For a quote of Intel SGX or TDX. */
export function dcapNeeds({ tee, fmspc, ca }: DcapPlatform): EvidenceNeeds {
  const digits = fmspc.toLowerCase();
  if (!/^[0-9a-f]{12}$/.test(digits)) throw new TypeError('an FMSPC is 12 hex digits');
  return {
    needs: [
      { kind: 'tcb-info', tee, fmspc: digits },
      { kind: 'qe-identity', tee },
      { kind: 'pck-crl', ca },
      { kind: 'intel-root-crl' },
    ],
    gaps: [],
  };
}

/** For a quote, by the PCK certificate that it carries, else by one of those beside it. */
export function quoteNeeds(quote: Uint8Array, beside: readonly Uint8Array[] = []): EvidenceNeeds {
  const platform = platformOfQuote(quote, beside.flatMap(readable));
  if (platform) return dcapNeeds(platform);
  return { needs: [], gaps: ['the quote carries no PCK certificate of Intel: name FMSPC and CA'] };
}

/**
 * For a report of a GPU or switch: its reference values, and the statuses of the certificates of its chain, leaf first;
 * none without a chain. Those of the signers of reference values are asked for when these have come.
 */
export function deviceNeeds(report: DeviceReport, chain?: readonly Uint8Array[]): EvidenceNeeds {
  const ids = [driverRimId(report), vbiosRimId(report)];
  const rims = ids.flatMap((id): CollateralNeed[] => (id === undefined ? [] : [{ kind: 'rim', id }]));
  if (!chain) return { needs: rims, gaps: [] };
  const { needs, gap } = deviceStatusNeeds(chain);
  const gaps =
    gap === undefined ? [] : [`no status can be asked for along the chain of the ${report.kind}: ${gap}`];
  return { needs: [...rims, ...needs], gaps };
}

export interface DocumentOptions {
  /** Of an SNP report that does not say it. */
  readonly product?: SnpProduct | undefined;
  /** Whether OCSP responders are to be asked; true by default. */
  readonly ocsp?: boolean | undefined;
}

/** For a whole evidence document, or for its CPU and its devices. */
export function documentNeeds(
  document: Pick<EvidenceDocument, 'cpu' | 'devices'>,
  crypto: CryptoProvider,
  options: DocumentOptions = {},
): EvidenceNeeds {
  const cpu = cpuNeeds(document, crypto, options.product);
  return joinNeeds([cpu, deviceSetNeeds(document.devices, crypto, options)]);
}

/** For devices, each with its chain. */
export function deviceSetNeeds(
  devices: readonly DeviceEvidence[],
  crypto: CryptoProvider,
  options: DocumentOptions = {},
): EvidenceNeeds {
  return joinNeeds(devices.map((device, i) => oneDeviceNeeds(device, i, crypto, options)));
}

export function joinNeeds(all: readonly EvidenceNeeds[]): EvidenceNeeds {
  return {
    needs: distinctNeeds(all.flatMap(({ needs }) => needs)),
    gaps: [...new Set(all.flatMap(({ gaps }) => gaps))],
  };
}

function cpuNeeds(
  { cpu }: Pick<EvidenceDocument, 'cpu'>,
  crypto: CryptoProvider,
  product: SnpProduct | undefined,
): EvidenceNeeds {
  switch (cpu.platform) {
    case 'snp': {
      const { certificates } = cpu;
      if (isSimulated(certificates, crypto)) return simulated('CPU');
      return snpNeeds(parseSnpReport(cpu.report), { certificates, product });
    }
    case 'azure-snp': {
      const { certificates } = cpu;
      if (isSimulated(certificates, crypto)) return simulated('CPU');
      return hclNeeds(cpu.report, { certificates, product });
    }
    case 'tdx':
      return quoteNeeds(cpu.report);
    case 'azure-tdx':
      return quoteNeeds(cpu.quote);
    case 'nitro':
    case 'nitrotpm':
    case 'gcp-vtpm':
    case 'tpm':
      return NOTHING;
  }
}

function oneDeviceNeeds(
  { kind, report, certificates }: DeviceEvidence,
  position: number,
  crypto: CryptoProvider,
  { ocsp = true }: DocumentOptions,
): EvidenceNeeds {
  if (isSimulated(certificates, crypto)) return simulated(kind);
  try {
    return deviceNeeds(parseDeviceReport(report, kind), ocsp ? certificates : undefined);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { needs: [], gaps: [`device ${position} cannot be read: ${error.code}: ${error.message}`] };
  }
}

/** A courtesy: vendors would not know what is asked. Whether something is simulated is judged by the verifier. */
function isSimulated(certificates: readonly Uint8Array[], crypto: CryptoProvider): boolean {
  const keys = certificates.flatMap(readable).map((certificate) => spkiSha256(certificate, crypto));
  return SIMULATED_ANCHORS.some((anchor) => keys.includes(anchor.spkiSha256));
}

function simulated(what: string): EvidenceNeeds {
  return { needs: [], gaps: [`the ${what} is simulated: no vendor speaks of it`] };
}

function readable(der: Uint8Array): readonly Certificate[] {
  return attempt(() => [parseCertificate(der)]) ?? [];
}

/** A certificate that cannot be read is none. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
