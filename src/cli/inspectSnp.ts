import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readVekCertificate } from '../../attestation/evidence/snp/certificate.ts';
import type { GuestPolicy, PlatformInfo } from '../../attestation/evidence/snp/flags.ts';
import {
  parseSnpReport,
  REPORT_BYTES,
  type FirmwareVersion,
  type SnpReport,
} from '../../attestation/evidence/snp/parse.ts';
import {
  formatTcb,
  productOfCpuid,
  splitTcb,
  type SnpProduct,
} from '../../attestation/evidence/snp/product.ts';
import { parseThimCertificates } from '../../attestation/evidence/snp/thim.ts';
import { readCertificateTable, unwrapReportResponse } from '../../attestation/evidence/snp/unwrap.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { certificateSection, certificateSections } from './inspectCertificate.ts';
import { bitsOf, hexNumber, hexOr, readable, yes, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/**
 * Everything that a report says, in blocks. Version 2 does not say of which product it is; `certificate` is the VEK
 * beside it, by whose word TCBs can be split then.
 */
export function snpSections(
  report: SnpReport,
  title = 'report',
  certificate?: Uint8Array,
): readonly Section[] {
  const product = productOf(report, certificate);
  return [
    { title, rows: reportRows(report, product) },
    { title: `${title} TCB`, rows: tcbRows(report, product) },
    { title: `${title} launch`, rows: launchRows(report) },
    { title: `${title} guest policy`, rows: policyRows(report.policy) },
    { title: `${title} platform`, rows: platformRows(report.platformInfo) },
  ];
}

function productOf({ cpuid }: SnpReport, certificate: Uint8Array | undefined): SnpProduct | undefined {
  if (!cpuid) return certificate && productOfCertificate(certificate);
  return unlessRefused(() => productOfCpuid(cpuid));
}

function productOfCertificate(der: Uint8Array): SnpProduct | undefined {
  return unlessRefused(() => readVekCertificate(parseCertificate(der)).product);
}

function unlessRefused<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

const SIGNING_KEYS: Readonly<Record<SnpReport['keyInfo']['signingKey'], string>> = {
  vcek: "vcek (the chip's own key)",
  vlek: 'vlek (a key that AMD gave to a cloud)',
  none: 'none (the report is not signed)',
};

function reportRows(report: SnpReport, product: SnpProduct | undefined): readonly Row[] {
  const { keyInfo } = report;
  return [
    ['version', String(report.version)],
    ['processor', processorText(report, product)],
    ['chip id', hexOr(report.chipId, 'masked')],
    ['signed with', SIGNING_KEYS[keyInfo.signingKey]],
    ['chip key masked', yes(keyInfo.maskChipKey)],
    ['signature', 'ECDSA P-384 with SHA-384'],
    ['VMPL', report.vmpl === 0xffffffff ? 'host (the host asked for the report)' : String(report.vmpl)],
    ['report data', toHex(report.reportData)],
    ['report id', toHex(report.reportId)],
    ['migration agent id', agentText(report.reportIdMa)],
    ['firmware', versionText(report.currentVersion)],
    ['committed firmware', versionText(report.committedVersion)],
  ];
}

function processorText({ cpuid, version }: SnpReport, product: SnpProduct | undefined): string {
  if (cpuid) {
    const { family, model, stepping } = cpuid;
    const numbers = `family ${hexNumber(family)}, model ${hexNumber(model)}, stepping ${stepping}`;
    return `${product ?? 'unknown'} (${numbers})`;
  }
  const beside = product ? `; the certificate beside it is of ${product}` : '';
  return `not stated (version ${version} does not say${beside})`;
}

/** Firmware writes all ones where there is no migration agent. */
function agentText(reportId: Uint8Array): string {
  const none = reportId.every((byte) => byte === 0xff);
  return `${toHex(reportId)}${none ? ' (none)' : ''}`;
}

function versionText({ major, minor, build }: FirmwareVersion): string {
  return `${major}.${minor} build ${build}`;
}

function tcbRows(report: SnpReport, product: SnpProduct | undefined): readonly Row[] {
  return [
    ['reported', tcbText(report.reportedTcb, product)],
    ['committed', tcbText(report.committedTcb, product)],
    ['current', tcbText(report.currentTcb, product)],
    ['at launch', tcbText(report.launchTcb, product)],
    ['launch mitigations', mitigationText(report.launchMitigations)],
    ['current mitigations', mitigationText(report.currentMitigations)],
  ];
}

/** Raw bytes and components; both layouts where the product is not known. */
export function tcbText(raw: Uint8Array, product: SnpProduct | undefined): string {
  if (product) return `${toHex(raw)}: ${formatTcb(splitTcb(raw, product))}`;
  const [older, turin] = [formatTcb(splitTcb(raw, 'milan')), formatTcb(splitTcb(raw, 'turin'))];
  return `${toHex(raw)}: on Milan or Genoa ${older}; on Turin ${turin}`;
}

function mitigationText(vector: bigint | undefined): string {
  if (vector === undefined) return 'not stated (version 5 does)';
  const bits = bitsOf(vector);
  return `${hexNumber(vector)}${bits.length > 0 ? `: bits ${bits.join(', ')}` : ''}`;
}

function launchRows(report: SnpReport): readonly Row[] {
  return [
    ['measurement', toHex(report.measurement)],
    ['host data', toHex(report.hostData)],
    ['guest SVN', String(report.guestSvn)],
    ['family id', toHex(report.familyId)],
    ['image id', toHex(report.imageId)],
    ['id key', hexOr(report.idKeyDigest, 'none: no ID block')],
    ['author key', hexOr(report.authorKeyDigest, 'none')],
    ['author key enabled', yes(report.keyInfo.authorKeyEnabled)],
  ];
}

type Flag<T> = { readonly [K in keyof T]: T[K] extends boolean ? K : never }[keyof T];
/** Member, name with the bit, and what one and zero mean. */
type BitMeaning<T> = readonly [member: Flag<T>, name: string, one: string, zero: string];

const POLICY_BITS: readonly BitMeaning<GuestPolicy>[] = [
  ['smt', 'SMT (bit 16)', 'allowed: may run with simultaneous multithreading', 'not allowed'],
  ['migrationAgent', 'migration (bit 18)', 'allowed: may be bound to a migration agent', 'not allowed'],
  ['debug', 'debug (bit 19)', 'ALLOWED: the host may read and write guest memory', 'not allowed'],
  ['singleSocket', 'single socket (bit 20)', 'required', 'not required'],
  ['cxl', 'CXL (bit 21)', 'allowed: CXL devices or memory may be present', 'not allowed'],
  ['memoryAes256Xts', 'AES-256-XTS (bit 22)', 'required for memory', 'not required'],
  ['raplDisabled', 'RAPL off (bit 23)', 'required: no running average power limit', 'not required'],
  ['ciphertextHidingDram', 'ciphertext hiding (24)', 'required for DRAM', 'not required'],
  ['pageSwapDisabled', 'page swap off (bit 25)', 'required: pages are not moved or swapped', 'not required'],
];

const PLATFORM_BITS: readonly BitMeaning<PlatformInfo>[] = [
  ['smtEnabled', 'SMT (bit 0)', 'on', 'off'],
  ['tsmeEnabled', 'TSME (bit 1)', 'on: transparent memory encryption', 'off'],
  ['eccEnabled', 'ECC memory (bit 2)', 'on', 'off'],
  ['raplDisabled', 'RAPL (bit 3)', 'off', 'on: the host may measure power'],
  ['ciphertextHidingDramEnabled', 'ciphertext hiding (4)', 'on', 'off'],
  ['aliasCheckComplete', 'alias check (bit 5)', 'complete: no address stands for two places', 'not complete'],
  ['iommuWriteSafe', 'IOMMU write safe (6)', 'yes', 'no'],
  ['tioEnabled', 'trusted I/O (bit 7)', 'on', 'off'],
];
const FIRST_UNNAMED_PLATFORM_BIT = 8n;

function meanings<T>(flags: T, bits: readonly BitMeaning<T>[]): readonly Row[] {
  return bits.map(([member, name, one, zero]) => [name, flags[member] ? one : zero]);
}

function policyRows(policy: GuestPolicy): readonly Row[] {
  return [
    ['raw', hexNumber(policy.raw)],
    ['minimum ABI', `${policy.abiMajor}.${policy.abiMinor}`],
    ...meanings(policy, POLICY_BITS),
  ];
}

function platformRows(platform: PlatformInfo): readonly Row[] {
  const unnamed = (platform.raw >> FIRST_UNNAMED_PLATFORM_BIT) << FIRST_UNNAMED_PLATFORM_BIT;
  return [
    ['raw', hexNumber(platform.raw)],
    ...meanings(platform, PLATFORM_BITS),
    ['bits without a name', bitsOf(unnamed).join(', ') || 'none'],
  ];
}

/** A report with the certificate table of a host behind it. */
export function extendedReportSections(bytes: Uint8Array): readonly Section[] {
  const report = parseSnpReport(bytes.subarray(0, REPORT_BYTES));
  const table = bytes.subarray(REPORT_BYTES);
  const read = unlessRefused(() => readCertificateTable(table));
  const vek = read?.get('vcek') ?? read?.get('vlek');
  return [
    ...snpSections(report, 'report', vek),
    ...readable('certificate table', () => {
      const found = [...readCertificateTable(table)];
      const roles = found.map(([role]) => role).join(', ') || 'none';
      return [
        { title: 'certificate table', rows: [['certificates', roles]] },
        ...found.flatMap(([role, der]) =>
          readable(`${role} certificate`, () => [
            certificateSection(parseCertificate(der), `${role} certificate`),
          ]),
        ),
      ];
    }),
  ];
}

/** The report inside MSG_REPORT_RSP. */
export function reportResponseSections(bytes: Uint8Array): readonly Section[] {
  const report = unwrapReportResponse(bytes);
  const rows: readonly Row[] = [
    ['status', '0 (success)'],
    ['report', `${report.length} bytes`],
    ['bytes', String(bytes.length)],
  ];
  return [{ title: 'response', rows }, ...snpSections(parseSnpReport(report))];
}

/** The certificates that an Azure host keeps for its chip. */
export function thimSections(bytes: Uint8Array): readonly Section[] {
  const { certificates, tcb } = parseThimCertificates(bytes);
  const [vcek] = certificates;
  const product = vcek && productOfCertificate(vcek);
  const rows: readonly Row[] = [
    ['TCB', tcbText(tcb, product)],
    ['certificates', String(certificates.length)],
  ];
  return [{ title: 'host cache', rows }, ...certificateSections(certificates, 'certificate')];
}
