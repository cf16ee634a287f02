import { toHex } from '../../attestation/bytes/bytes.ts';
import { readPckCertificate, SGX_EXTENSION, type PckIdentity } from '../../attestation/evidence/dcap/pck.ts';
import { chipOf, firmwareIdOf } from '../../attestation/evidence/nvidia/certificates.ts';
import { readVekCertificate } from '../../attestation/evidence/snp/certificate.ts';
import { formatTcb, splitTcb } from '../../attestation/evidence/snp/product.ts';
import {
  readPurposes,
  readSubjectKeyId,
  readTpmName,
  SUBJECT_ALT_NAME,
} from '../../attestation/evidence/tpm/certificate.ts';
import { readGoogleInstance } from '../../attestation/evidence/tpm/google.ts';
import type { Certificate } from '../../attestation/x509/certificate.ts';
import { readOnly, TAG } from '../../attestation/x509/der.ts';
import { readableRows, yes } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const SUBJECT_KEY_ID = '2.5.29.14';
const AMD_ARC = '1.3.6.1.4.1.3704.1.';
const AMD_PRODUCT = `${AMD_ARC}2`;
const GOOGLE_INSTANCE = '1.3.6.1.4.1.11129.2.1.21';
const COMPOSITE_DEVICE_ID = '2.23.133.5.4.1';
/** NVIDIA's responders have it among the purposes. */
const OCSP_NO_CHECK = '1.3.6.1.5.5.7.48.1.5';
const DICE_TCB_INFO = '2.23.133.5.4.1.1';

const NAMES: Readonly<Record<string, string>> = {
  [SUBJECT_KEY_ID]: 'subjectKeyIdentifier',
  [KEY_USAGE]: 'keyUsage',
  [SUBJECT_ALT_NAME]: 'subjectAltName',
  '2.5.29.9': 'subjectDirectoryAttributes',
  '2.5.29.19': 'basicConstraints',
  '2.5.29.30': 'nameConstraints',
  '2.5.29.31': 'cRLDistributionPoints',
  '2.5.29.32': 'certificatePolicies',
  '2.5.29.35': 'authorityKeyIdentifier',
  [EXTENDED_KEY_USAGE]: 'extKeyUsage',
  '1.3.6.1.5.5.7.1.1': 'authorityInfoAccess',
  [OCSP_NO_CHECK]: 'OCSP no check',
  [SGX_EXTENSION]: 'Intel SGX',
  [GOOGLE_INSTANCE]: 'Google instance',
  [COMPOSITE_DEVICE_ID]: 'DICE composite device id',
  [DICE_TCB_INFO]: 'DICE TCB info',
  [`${AMD_ARC}1`]: 'AMD structure version',
  [AMD_PRODUCT]: 'AMD product',
  [`${AMD_ARC}3.1`]: 'AMD bootloader SVN',
  [`${AMD_ARC}3.2`]: 'AMD TEE SVN',
  [`${AMD_ARC}3.3`]: 'AMD SNP SVN',
  ...Object.fromEntries([4, 5, 6, 7].map((arc) => [`${AMD_ARC}3.${arc}`, `AMD reserved SVN ${arc}`])),
  [`${AMD_ARC}3.8`]: 'AMD microcode SVN',
  [`${AMD_ARC}3.9`]: 'AMD FMC SVN',
  [`${AMD_ARC}4`]: 'AMD hwid',
  [`${AMD_ARC}5`]: 'AMD CSP id',
};

/** Bits of KeyUsage (RFC 5280 section 4.2.1.3), the highest of the first byte first. */
const USAGES = [
  'digitalSignature', 'nonRepudiation', 'keyEncipherment', 'dataEncipherment', 'keyAgreement', 'keyCertSign', 'cRLSign',
  'encipherOnly', 'decipherOnly',
]; // prettier-ignore

const PURPOSES: Readonly<Record<string, string>> = {
  '1.3.6.1.5.5.7.3.1': 'TLS server',
  '1.3.6.1.5.5.7.3.2': 'TLS client',
  '1.3.6.1.5.5.7.3.3': 'code signing',
  '1.3.6.1.5.5.7.3.8': 'time stamping',
  '1.3.6.1.5.5.7.3.9': 'OCSP signing',
  [OCSP_NO_CHECK]: 'OCSP no check (an extension, no purpose)',
  '2.23.133.8.1': 'TPM endorsement key',
  '2.23.133.8.3': 'TPM attestation key',
};

/** An extension whose content is known here, and what it says. */
const READERS: readonly (readonly [oid: string, name: string, read: (of: Certificate) => readonly Row[]])[] =
  [
    [KEY_USAGE, 'key usage', usageRows],
    [EXTENDED_KEY_USAGE, 'purposes', purposeRows],
    [SUBJECT_KEY_ID, 'subject key id', keyIdRows],
    [AMD_PRODUCT, 'AMD endorsement', vekRows],
    [SGX_EXTENSION, 'Intel SGX', (certificate) => pckRows(readPckCertificate(certificate))],
    [SUBJECT_ALT_NAME, 'TPM', tpmRows],
    [GOOGLE_INSTANCE, 'Google instance', googleRows],
    [COMPOSITE_DEVICE_ID, 'firmware id', deviceRows],
    [DICE_TCB_INFO, 'firmware id', deviceRows],
  ];

/** What known extensions say, then the names of all. */
export function extensionRows(certificate: Certificate): readonly Row[] {
  const { extensions } = certificate;
  const known = READERS.filter(([oid]) => extensions.has(oid));
  const list = [...extensions].map(([oid, { critical }]) => {
    const name = Object.hasOwn(NAMES, oid) ? NAMES[oid] : undefined;
    return `${name ?? oid}${critical ? ' (critical)' : ''}`;
  });
  return [
    ...known.flatMap(([, name, read]) => readableRows(name, () => read(certificate))),
    ['extensions', list.join(', ') || 'none'],
  ];
}

function usageRows({ extensions }: Certificate): readonly Row[] {
  const value = extensions.get(KEY_USAGE)?.value ?? new Uint8Array();
  const [, ...bytes] = readOnly(value, TAG.bitString, 'keyUsage').content;
  const names = USAGES.filter((_, bit) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0);
  return [['key usage', names.join(', ') || 'none']];
}

function purposeRows(certificate: Certificate): readonly Row[] {
  const purposes = readPurposes(certificate) ?? [];
  const names = purposes.map((oid) => (Object.hasOwn(PURPOSES, oid) ? (PURPOSES[oid] ?? oid) : oid));
  return [['purposes', names.join(', ') || 'none']];
}

function keyIdRows(certificate: Certificate): readonly Row[] {
  const id = readSubjectKeyId(certificate);
  return id ? [['subject key id', toHex(id)]] : [];
}

function vekRows(certificate: Certificate): readonly Row[] {
  const { kind, product, tcb, hwid, cspId } = readVekCertificate(certificate);
  return [
    ['endorses', `${kind} of ${product}`],
    ['TCB', `${toHex(tcb)}: ${formatTcb(splitTcb(tcb, product))}`],
    ...(hwid ? [['hwid', toHex(hwid)] as const] : []),
    ...(cspId === undefined ? [] : [['CSP id', cspId] as const]),
  ];
}

function pckRows(pck: PckIdentity): readonly Row[] {
  const { configuration, platformInstanceId } = pck;
  const flag = (value: boolean | undefined) => (value === undefined ? 'not stated' : yes(value));
  return [
    ['FMSPC', pck.fmspc],
    ['PCE id', pck.pceId],
    ['PPID', pck.ppid],
    ['TCB components', pck.tcbComponents.join(' ')],
    ['PCE SVN', String(pck.pceSvn)],
    ['CPUSVN', pck.cpuSvn],
    ['SGX type', pck.sgxType],
    ...(platformInstanceId === undefined ? [] : [['platform instance', platformInstanceId] as const]),
    ...(configuration
      ? ([
          ['dynamic platform', flag(configuration.dynamicPlatform)],
          ['cached keys', flag(configuration.cachedKeys)],
          ['SMT enabled', flag(configuration.smtEnabled)],
        ] as const)
      : []),
  ];
}

/** Other certificates have alternative names too: those that name no TPM give no rows. */
function tpmRows(certificate: Certificate): readonly Row[] {
  const name = readTpmName(certificate);
  if (!name) return [];
  return [['TPM', `${name.manufacturer} model ${name.model} version ${name.version}`]];
}

function googleRows(certificate: Certificate): readonly Row[] {
  const instance = readGoogleInstance(certificate);
  if (!instance) return [];
  const { security } = instance;
  return [
    ['Google zone', instance.zone],
    ['Google project', `${instance.projectId} (number ${instance.projectNumber})`],
    ['Google instance', `${instance.instanceName} (id ${instance.instanceId})`],
    ...(security
      ? ([
          ['security version', String(security.version)],
          ['production', yes(security.production)],
          ['TPM data encrypted', yes(security.tpmDataAlwaysEncrypted)],
          ['suspend/resume off', yes(security.suspendResumeAlwaysDisabled)],
          ['VMTD off', yes(security.vmtdAlwaysDisabled)],
          ['always in yarn', yes(security.alwaysInYarn)],
        ] as const)
      : []),
  ];
}

function deviceRows(certificate: Certificate): readonly Row[] {
  const firmwareId = firmwareIdOf(certificate);
  return [
    ['firmware id', firmwareId ? toHex(firmwareId) : 'not stated'],
    ...readableRows('NVIDIA chip', () => [['NVIDIA chip', chipOf(certificate)]]),
  ];
}
