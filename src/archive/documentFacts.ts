import { X509Certificate } from 'node:crypto';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseHclReport } from '../../attestation/evidence/azure/parse.ts';
import { readChain } from '../../attestation/evidence/dcap/certificationData.ts';
import { readPckCertificate } from '../../attestation/evidence/dcap/pck.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import type { CpuEvidence, DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { parseNitroDocument } from '../../attestation/evidence/nitro/parse.ts';
import { parseDeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { parseTdxQuote } from '../../attestation/evidence/tdx/parse.ts';

/** What an evidence document says of its machine, for the index. Nothing is verified: it finds documents, it proves nothing. */
export interface DocumentFacts {
  readonly platform: string;
  /** Chip id of AMD, PPID of Intel in lower-case hex, module id of Nitro; undefined where none can be read. */
  readonly chip: string | undefined;
  /** Versions as the platform writes them; undefined where none can be read. */
  readonly tcb: string | undefined;
  readonly devices: readonly DeviceFacts[];
  readonly logSize: number;
  readonly final: boolean;
}

export interface DeviceFacts {
  readonly kind: 'gpu' | 'switch';
  /** Content of the leaf's serial INTEGER, lower-case hex, as receipts name the device. */
  readonly serial: string;
  readonly driver: string | undefined;
  readonly vbios: string | undefined;
}

type Machine = Pick<DocumentFacts, 'chip' | 'tcb'>;
const UNREADABLE: Machine = { chip: undefined, tcb: undefined };

/** Throws `Refusal` where the document itself cannot be parsed; a report that cannot leaves its facts out. */
export function documentFacts(encoded: Uint8Array): DocumentFacts {
  const { cpu, devices, statement } = parseDocument(encoded);
  return {
    platform: cpu.platform,
    ...(readable(() => machineOf(cpu)) ?? UNREADABLE),
    devices: devices.map(deviceFacts),
    logSize: statement.logSize,
    final: statement.final,
  };
}

function machineOf(cpu: CpuEvidence): Machine {
  switch (cpu.platform) {
    case 'snp':
      return snpFacts(cpu.report);
    case 'azure-snp':
      return snpFacts(parseHclReport(cpu.report).hardwareReport);
    case 'tdx':
      return tdxFacts(cpu.report);
    case 'azure-tdx':
      return tdxFacts(cpu.quote);
    case 'nitro':
    case 'nitrotpm':
      return { chip: parseNitroDocument(cpu.report).moduleId, tcb: undefined };
    case 'gcp-vtpm':
    case 'tpm':
      return UNREADABLE;
  }
}

/** TCB text `snp:` and the reported TCB_VERSION, 8 bytes in hex. */
function snpFacts(bytes: Uint8Array): Machine {
  const { chipId, reportedTcb } = parseSnpReport(bytes);
  return { chip: toHex(chipId), tcb: `snp:${toHex(reportedTcb)}` };
}

/** TCB text `tdx:` TEE_TCB_SVN, FMSPC, CPUSVN, PCESVN. The last three and the PPID are the PCK certificate's. */
function tdxFacts(bytes: Uint8Array): Machine {
  const { quote, report } = parseTdxQuote(bytes);
  const module = `tdx:${toHex(report.teeTcbSvn)}`;
  const pck = readable(() => {
    const chain = readChain(quote.signature.certification);
    return chain?.[0] && readPckCertificate(chain[0]);
  });
  if (!pck) return { chip: undefined, tcb: module };
  return { chip: pck.ppid, tcb: `${module} ${pck.fmspc} ${pck.cpuSvn} ${pck.pceSvn}` };
}

function deviceFacts({ kind, report, certificates: [leaf] }: DeviceEvidence): DeviceFacts {
  const parsed = readable(() => parseDeviceReport(report, kind));
  return {
    kind,
    serial: (leaf && serialOf(leaf)) ?? '',
    driver: parsed?.kind === 'gpu' ? parsed.driverVersion : undefined,
    vbios: parsed && (parsed.kind === 'gpu' ? parsed.vbiosVersion : parsed.biosVersion),
  };
}

function serialOf(certificate: Uint8Array): string | undefined {
  try {
    return new X509Certificate(certificate).serialNumber.toLowerCase();
  } catch {
    // OpenSSL refuses what is no certificate.
    return undefined;
  }
}

/** Undefined where the bytes are refused. */
function readable<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
