import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { RsaPublicKey, VmConfiguration } from '../../attestation/evidence/azure/claims.ts';
import { parseHclReport, type HclReport } from '../../attestation/evidence/azure/parse.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { rsaSpki } from '../../attestation/evidence/tpm/key.ts';
import { keyRows } from './inspectCertificate.ts';
import { readable, yes, type Section } from './inspectSection.ts';
import { snpSections } from './inspectSnp.ts';
import { localTdReportSections } from './inspectTdReport.ts';
import { secondsText, type Row } from './receiptText.ts';

/** What the paravisor of an Azure VM wrote, and the hardware report inside. `vek` is the certificate beside it. */
export function hclSections(bytes: Uint8Array, prefix = '', vek?: Uint8Array): readonly Section[] {
  const hcl = parseHclReport(bytes);
  const { claims } = hcl;
  return [
    { title: `${prefix}HCL report`, rows: reportRows(hcl) },
    { title: `${prefix}runtime claims`, rows: claimRows(hcl) },
    { title: `${prefix}VM configuration`, rows: vmRows(claims.vm) },
    ...rsaSections(`${prefix}attestation key`, claims.ak),
    ...(claims.ek ? rsaSections(`${prefix}endorsement key`, claims.ek) : []),
    ...hardwareSections(hcl, prefix, vek),
  ];
}

function reportRows({ version, platform, reportData, hash, claimsBytes }: HclReport): readonly Row[] {
  return [
    ['version', String(version)],
    ['hardware report', platform === 'snp' ? 'SNP report' : 'TDREPORT (a TD quote has to be made of it)'],
    ['report data', toHex(reportData)],
    ['claims bytes', String(claimsBytes.length)],
    ['hash of claims', `${toHex(nodeCrypto.hash(hash, claimsBytes))} (${hash})`],
  ];
}

function claimRows({ claims }: HclReport): readonly Row[] {
  return [
    ['user data', claims.userData ? toHex(claims.userData) : 'none'],
    ['keys', claims.ek ? 'HCLAkPub, HCLEkPub' : 'HCLAkPub'],
    ['claims not known here', claims.unknown.join(', ') || 'none'],
  ];
}

function vmRows(vm: VmConfiguration): readonly Row[] {
  const stated = (value: boolean | undefined) => (value === undefined ? 'not stated' : yes(value));
  return [
    ['VM unique id', vm.vmUniqueId],
    ['secure boot', yes(vm.secureBoot)],
    ['console enabled', yes(vm.consoleEnabled)],
    ['interactive console', stated(vm.interactiveConsoleEnabled)],
    ['TPM enabled', yes(vm.tpmEnabled)],
    ['TPM state persists', stated(vm.tpmPersisted)],
    ['filtered vPCI devices', stated(vm.filteredVpciDevicesAllowed)],
    [
      'root thumbprint',
      vm.rootCertThumbprint === undefined ? 'not stated' : vm.rootCertThumbprint || 'empty',
    ],
    ['current time', vm.currentTime === undefined ? 'not stated' : secondsText(vm.currentTime)],
  ];
}

function rsaSections(title: string, { n, e }: RsaPublicKey): readonly Section[] {
  return readable(title, () => [{ title, rows: keyRows(rsaSpki(n, e)) }]);
}

function hardwareSections(
  { platform, hardwareReport }: HclReport,
  prefix: string,
  vek: Uint8Array | undefined,
): readonly Section[] {
  if (platform === 'tdx') {
    const title = `${prefix}TDREPORT`;
    return readable(title, () => localTdReportSections(hardwareReport, title));
  }
  const title = `${prefix}report`;
  return readable(title, () => snpSections(parseSnpReport(hardwareReport), title, vek));
}
