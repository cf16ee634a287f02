import type { CpuEvidence } from '../../attestation/evidence/evidence.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { bootLogSections } from './inspectBootLog.ts';
import { certificateSections } from './inspectCertificate.ts';
import { hclSections } from './inspectHcl.ts';
import { nitroSections } from './inspectNitro.ts';
import { tdxQuoteSections } from './inspectQuote.ts';
import { readable, type Section } from './inspectSection.ts';
import { snpSections } from './inspectSnp.ts';
import { tpmEvidenceSections } from './inspectTpm.ts';

/** The CPU part of an evidence document, whatever its platform. */
export function cpuSections(cpu: CpuEvidence, title: string): readonly Section[] {
  const prefix = `${title} `;
  switch (cpu.platform) {
    case 'snp':
      return [
        ...readable(title, () => snpSections(parseSnpReport(cpu.report), title, cpu.certificates[0])),
        ...certificateSections(cpu.certificates, `${title} certificate`),
      ];
    case 'tdx':
      return readable(title, () => tdxQuoteSections(cpu.report, prefix));
    case 'nitro':
    case 'nitrotpm':
      return readable(title, () => nitroSections(cpu.report, prefix));
    case 'azure-snp':
      return [
        ...readable(title, () => hclSections(cpu.report, prefix, cpu.certificates[0])),
        ...certificateSections(cpu.certificates, `${title} certificate`),
        ...tpmEvidenceSections(cpu.tpm, `${title} TPM`),
      ];
    case 'azure-tdx':
      return [
        ...readable(title, () => hclSections(cpu.report, prefix)),
        ...readable(`${prefix}quote`, () => tdxQuoteSections(cpu.quote, prefix)),
        ...tpmEvidenceSections(cpu.tpm, `${title} TPM`),
      ];
    case 'gcp-vtpm':
    case 'tpm':
      return tpmEvidenceSections(cpu.tpm, `${title} TPM`);
  }
}

/** The boot log beside it; only that of a bare TD is one of RTMRs by the platform alone. */
export function documentBootLogSections(
  log: Uint8Array | undefined,
  { platform }: CpuEvidence,
  prefix: string,
): readonly Section[] {
  if (!log) return [];
  const registers = platform === 'tdx' ? 'rtmr' : undefined;
  return readable(`${prefix}boot log`, () => bootLogSections(log, registers, prefix));
}
