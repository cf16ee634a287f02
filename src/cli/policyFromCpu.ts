import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { readChain } from '../../attestation/evidence/dcap/certificationData.ts';
import { readPckCertificate, SGX_EXTENSION } from '../../attestation/evidence/dcap/pck.ts';
import type { Quote } from '../../attestation/evidence/dcap/quote.ts';
import { parseHclReport } from '../../attestation/evidence/azure/parse.ts';
import type { CpuEvidence, Platform } from '../../attestation/evidence/evidence.ts';
import { parseNitroDocument, type NitroDocument } from '../../attestation/evidence/nitro/parse.ts';
import { parseSnpReport, type SnpReport } from '../../attestation/evidence/snp/parse.ts';
import { productOfCpuid } from '../../attestation/evidence/snp/product.ts';
import { parseTdxQuote } from '../../attestation/evidence/tdx/parse.ts';
import type { AzurePolicy } from '../../attestation/policy/azure.ts';
import type { CpuPolicy } from '../../attestation/policy/cpu.ts';
import {
  DEFAULT_AZURE_CLAIMS,
  DEFAULT_POLICY,
  DEFAULT_SNP,
  DEFAULT_TDX,
} from '../../attestation/policy/defaults.ts';
import type { NitroPolicy, NitroTpmPolicy } from '../../attestation/policy/nitro.ts';
import type { SnpPolicy } from '../../attestation/policy/snp.ts';
import type { TdxPolicy } from '../../attestation/policy/tdx.ts';
import { distinct, each, notNamed, references, unfit, type Narrowing, type Seen } from './policyFromSeen.ts';
import { IMAGE_PCRS, tpmPolicy } from './policyFromTpm.ts';

/** The platforms of the evidence with exactly what was launched; every other one is refused. */
export function cpuPolicy(evidence: readonly Seen<CpuEvidence>[], narrowing: Narrowing): CpuPolicy {
  const on = <P extends Platform>(platform: P): readonly Seen<CpuEvidence & { readonly platform: P }>[] =>
    evidence.filter((seen): seen is Seen<CpuEvidence & { readonly platform: P }> =>
      isOn(seen.value, platform),
    );
  return {
    snp: orRefused(on('snp'), (seen) =>
      snpPolicy(seen.map(each(({ report }) => parseSnpReport(report))), narrowing),
    ),
    tdx: orRefused(on('tdx'), (seen) => tdxPolicy(seen.map(each(({ report }) => report)), narrowing)),
    nitro: orRefused(on('nitro'), (seen) => nitroPolicy(seen.map(each(documentOf)), narrowing)),
    'azure-snp': orRefused(on('azure-snp'), (seen) => ({
      claims: claimsPolicy(seen.map(each(({ report }) => report)), narrowing),
      snp: snpPolicy(
        seen.map(each(({ report }) => parseSnpReport(parseHclReport(report).hardwareReport))),
        narrowing,
      ),
      tpm: tpmPolicy(seen.map(each(({ tpm }) => tpm)), { thisMachineOnly: false }),
    })),
    'azure-tdx': orRefused(on('azure-tdx'), (seen) => ({
      claims: claimsPolicy(seen.map(each(({ report }) => report)), narrowing),
      tdx: tdxPolicy(seen.map(each(({ quote }) => quote)), narrowing),
      tpm: tpmPolicy(seen.map(each(({ tpm }) => tpm)), { thisMachineOnly: false }),
    })),
    'gcp-vtpm': orRefused(on('gcp-vtpm'), (seen) => tpmPolicy(seen.map(each(({ tpm }) => tpm)), narrowing)),
    nitrotpm: orRefused(on('nitrotpm'), (seen) => nitroTpmPolicy(seen.map(each(documentOf)), narrowing)),
    tpm: orRefused(on('tpm'), (seen) => tpmPolicy(seen.map(each(({ tpm }) => tpm)), narrowing)),
    bootLog: DEFAULT_POLICY.cpu.bootLog,
  };
}

function isOn(evidence: CpuEvidence, platform: Platform): boolean {
  return evidence.platform === platform;
}

function orRefused<S, P>(seen: readonly S[], policy: (seen: readonly S[]) => P): P | 'refused' {
  return seen.length === 0 ? 'refused' : policy(seen);
}

function snpPolicy(seen: readonly Seen<SnpReport>[], { thisMachineOnly }: Narrowing): SnpPolicy {
  return {
    ...DEFAULT_SNP,
    products: products(seen),
    endorsementKeys: distinct(seen, signingKey),
    chipIds: thisMachineOnly ? distinct(seen, chipId) : 'any',
    vmpls: distinct(seen, vmpl),
    measurements: references(seen, ({ measurement }) => measurement),
    hostData: references(seen, ({ hostData }) => hostData),
    ...idBlock(seen),
  };
}

/** Reports of version 2 state no CPUID. */
function products(seen: readonly Seen<SnpReport>[]): SnpPolicy['products'] {
  const found = distinct(seen, ({ cpuid }) => cpuid && productOfCpuid(cpuid));
  const stated = found.filter((product) => product !== undefined);
  return stated.length === found.length ? stated : DEFAULT_SNP.products;
}

function signingKey({ keyInfo: { signingKey: key } }: SnpReport): 'vcek' | 'vlek' {
  if (key !== 'none') return key;
  throw unfit('the SNP report is not signed: the host masks the key of its chip');
}

function vmpl({ vmpl: level }: SnpReport): number {
  if (level <= 3) return level;
  throw unfit('the host asked for the SNP report, not the guest');
}

/** A VLEK names no chip, and a host may mask the id. */
function chipId({ chipId: id, keyInfo }: SnpReport): string {
  if (keyInfo.signingKey === 'vcek' && !isZero(id)) return toHex(id);
  throw notNamed(
    'the SNP report names no chip',
    'Under a VLEK only the cloud is known, and a host may mask the id of its chip.',
  );
}

/** Firmware that took no ID block reports zero for its key. */
function idBlock(
  seen: readonly Seen<SnpReport>[],
): Partial<Pick<SnpPolicy, 'idBlock' | 'familyIds' | 'imageIds' | 'minimumGuestSvn'>> {
  if (seen.some(({ value }) => isZero(value.idKeyDigest))) return {};
  const hasAuthor = seen.every(
    ({ value }) => value.keyInfo.authorKeyEnabled && !isZero(value.authorKeyDigest),
  );
  return {
    idBlock: {
      idKeyDigests: references(seen, ({ idKeyDigest }) => idKeyDigest),
      authorKeyDigests: hasAuthor ? references(seen, ({ authorKeyDigest }) => authorKeyDigest) : 'any',
    },
    familyIds: references(seen, ({ familyId }) => familyId),
    imageIds: references(seen, ({ imageId }) => imageId),
    minimumGuestSvn: Math.min(...seen.map(({ value }) => value.guestSvn)),
  };
}

/** RTMR3 is what applications measure while they run, so it stays as it comes. The module is judged by Intel's word. */
function tdxPolicy(quotes: readonly Seen<Uint8Array>[], { thisMachineOnly }: Narrowing): TdxPolicy {
  const seen = quotes.map(each((quote) => parseTdxQuote(quote)));
  return {
    ...DEFAULT_TDX,
    platform: {
      ...DEFAULT_TDX.platform,
      ppids: thisMachineOnly ? distinct(seen, ({ quote }) => ppidOf(quote)) : 'any',
    },
    mrTd: references(seen, ({ report }) => report.mrTd),
    rtmr0: references(seen, ({ report }) => report.rtmrs[0]),
    rtmr1: references(seen, ({ report }) => report.rtmrs[1]),
    rtmr2: references(seen, ({ report }) => report.rtmrs[2]),
    mrConfigId: references(seen, ({ report }) => report.mrConfigId),
    mrOwner: references(seen, ({ report }) => report.mrOwner),
    mrOwnerConfig: references(seen, ({ report }) => report.mrOwnerConfig),
  };
}

/** By the certificate that comes with the quote; other certification data names no platform in the clear. */
function ppidOf({ signature: { certification } }: Quote): string {
  const pck = readChain(certification)?.find(({ extensions }) => extensions.has(SGX_EXTENSION));
  if (pck) return readPckCertificate(pck).ppid;
  throw notNamed(
    'the quote carries no PCK certificate, which names the platform',
    'Have the quoting service send one.',
  );
}

function claimsPolicy(reports: readonly Seen<Uint8Array>[], { thisMachineOnly }: Narrowing): AzurePolicy {
  if (!thisMachineOnly) return DEFAULT_AZURE_CLAIMS;
  return {
    ...DEFAULT_AZURE_CLAIMS,
    vmUniqueIds: distinct(reports, (report) => parseHclReport(report).claims.vm.vmUniqueId),
  };
}

/** PCR0 to PCR2 are the image, PCR8 the certificate that signed it: zero where none did. */
const ENCLAVE_PCRS = ['0', '1', '2', '8'] as const;

function nitroPolicy(seen: readonly Seen<NitroDocument>[], narrowing: Narrowing): NitroPolicy {
  const sets = seen.map(({ name, value: { pcrs } }) => {
    const registers = ENCLAVE_PCRS.flatMap((index) => {
      const value = pcrs.get(Number(index)) ?? new Uint8Array(48);
      return index === '8' && isZero(value) ? [] : [[index, toHex(value)] as const];
    });
    return { name, pcrs: Object.fromEntries(registers) };
  });
  return { ...modules(seen, narrowing), debug: 'refused', measurements: sets };
}

function nitroTpmPolicy(seen: readonly Seen<NitroDocument>[], narrowing: Narrowing): NitroTpmPolicy {
  const sets = seen.map(({ name, value: { pcrs } }) => {
    const registers = IMAGE_PCRS.flatMap((index) => {
      const value = pcrs.get(index);
      return value ? [[String(index), toHex(value)] as const] : [];
    });
    return { name, pcrs: Object.fromEntries(registers) };
  });
  return { ...modules(seen, narrowing), measurements: sets };
}

/** The certificate of a document lives three hours, and nonces make it fresh: no age of its own is demanded. */
function modules(
  seen: readonly Seen<NitroDocument>[],
  { thisMachineOnly }: Narrowing,
): Pick<NitroPolicy, 'moduleIds' | 'maximumAgeSeconds'> {
  // Every start of an enclave has a module of its own: the instance is the machine.
  const instance = ({ moduleId }: NitroDocument) => moduleId.replace(/-(?:enc|tpm)[0-9a-f]+$/, '');
  return { moduleIds: thisMachineOnly ? distinct(seen, instance) : 'any', maximumAgeSeconds: 'any' };
}

function documentOf({ report }: { readonly report: Uint8Array }): NitroDocument {
  return parseNitroDocument(report);
}
