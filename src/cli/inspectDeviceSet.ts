import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseDeviceReport, type DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { certificateSections } from './inspectCertificate.ts';
import { deviceSections, type DeviceOptions } from './inspectDevice.ts';
import { chainSections, type ShownCertificates } from './inspectDeviceChain.ts';
import {
  parseEitherKind,
  pemCertificates,
  readDeviceFile,
  type ReadDevice,
} from '../../attestation/recognition/deviceFile.ts';
import { comparedIndices, comparisonSections, type NamedManifest } from './inspectDeviceRims.ts';
import { readable, readableRows, type Section } from './inspectSection.ts';
import { splitReportAndChain } from '../../attestation/recognition/reportWithChain.ts';
import type { Row } from './receiptText.ts';

/** What the caller named beside the file. */
export interface Beside {
  /** Manifests to compare measurements with. */
  readonly rims: readonly NamedManifest[];
  /** Certificates of a report that lies alone, DER, leaf first. */
  readonly chain: readonly Uint8Array[];
}

export const NOTHING_BESIDE: Beside = { rims: [], chain: [] };

/** A report alone. */
export function reportSections(bytes: Uint8Array, { rims, chain }: Beside): readonly Section[] {
  const report = parseEitherKind(bytes);
  return [
    ...oneDevice(report, 'device', { rims }),
    ...(chain.length > 0 ? chainSections(chain, report, 'device', new Map()) : []),
  ];
}

/** A report, and the PEM text of its certificates behind it. */
export function reportWithChainSections(
  bytes: Uint8Array,
  { rims, chain: named }: Beside,
): readonly Section[] {
  const { report, chain } = splitReportAndChain(bytes);
  return reportSections(report, { rims, chain: [...pemCertificates(fromUtf8(chain)), ...named] });
}

/** What a collector wrote, or what the attestation service is asked with. */
export function deviceFileSections(bytes: Uint8Array, { rims }: Beside): readonly Section[] {
  const { rows, nonce, devices } = readDeviceFile(bytes);
  return [
    { title: 'devices', rows: [['devices', String(devices.length)], ...rows, ...devices.flatMap(lineOf)] },
    ...deviceSetSections(devices, { rims, asked: nonce }),
  ];
}

/** One device in a line; why it cannot be read stands with it. */
function lineOf(read: () => ReadDevice, i: number): readonly Row[] {
  const name = `device ${i}`;
  return readableRows(name, () => {
    const report = parse(read());
    if (report instanceof Refusal) throw report;
    if (report.kind === 'switch') return [[name, `switch, BIOS ${report.biosVersion}`]];
    const { chip, mode, driverVersion, vbiosVersion, nvdec0 } = report;
    const engine = `NVDEC0 ${nvdec0 ? 'on' : 'off'}`;
    return [[name, `gpu ${chip}, ${mode}, driver ${driverVersion}, VBIOS ${vbiosVersion}, ${engine}`]];
  });
}

interface SetOptions {
  readonly rims: Beside['rims'];
  /** In front of each title. */
  readonly prefix?: string;
  readonly asked?: string | undefined;
  /** Of each chain show the leaf alone. */
  readonly leavesOnly?: boolean;
}

/** Devices one after the other; one that cannot be read does not hide the others. */
export function deviceSetSections(
  devices: readonly (() => ReadDevice)[],
  { prefix = '', ...options }: SetOptions,
): readonly Section[] {
  const shown: ShownCertificates = new Map();
  const first = new Map<DeviceReport['kind'], DeviceOptions['like']>();
  return devices.flatMap((read, i) => {
    const title = `${prefix}device ${i}`;
    return readable(title, () => {
      const device = read();
      const parsed = parse(device);
      const report = parsed instanceof Refusal ? undefined : parsed;
      const like = report && first.get(report.kind);
      if (report && !like) first.set(report.kind, { report, title });
      return [
        ...readable(title, () => oneDevice(parsed, title, { ...options, like })),
        ...besideSections(device, title),
        ...certificatesOf(device, report, title, options.leavesOnly ? undefined : shown),
      ];
    });
  });
}

function parse({ kind, report }: ReadDevice): DeviceReport | Refusal {
  try {
    return kind ? parseDeviceReport(report, kind) : parseEitherKind(report);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function oneDevice(
  report: DeviceReport | Refusal,
  title: string,
  { rims, ...options }: DeviceOptions & Pick<SetOptions, 'rims'>,
): readonly Section[] {
  if (report instanceof Refusal) throw report;
  return [
    ...deviceSections(report, title, { ...options, compared: comparedIndices(rims) }),
    ...comparisonSections(report, rims, title, options.like !== undefined),
  ];
}

/** What stands beside a report in the file: nobody signed it. */
function besideSections({ encoding, beside = [] }: ReadDevice, title: string): readonly Section[] {
  const rows: readonly Row[] = [...(encoding ? [['written as', encoding] as const] : []), ...beside];
  return rows.length > 0 ? [{ title: `${title} entry`, rows }] : [];
}

function certificatesOf(
  { certificates }: ReadDevice,
  report: DeviceReport | undefined,
  title: string,
  shown: ShownCertificates | undefined,
): readonly Section[] {
  if (certificates.length === 0) return [];
  if (shown) return chainSections(certificates, report, title, shown);
  return certificateSections(certificates.slice(0, 1), `${title} certificate`);
}
