import { toHex } from '../../attestation/bytes/bytes.ts';
import { ALG, type CoseKey } from '../../attestation/cose/key.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { documentDigest, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import { parseDeviceReport, type DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import {
  parseSnpReport,
  type FirmwareVersion,
  type SnpReport,
} from '../../attestation/evidence/snp/parse.ts';
import { instanceUrn, type Keyset } from '../../attestation/keyset.ts';
import { secondsText, type Row } from './receiptText.ts';

/** One block of what a file says. */
export interface Section {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** A document with everything in it; a report that cannot be read says why. */
export function documentSections(document: EvidenceDocument, prefix = ''): readonly Section[] {
  const { keyset, cpu, devices, encoded } = document;
  const head: Section = {
    title: `${prefix}document`,
    rows: [
      ['digest', toHex(documentDigest(encoded, nodeCrypto))],
      ['bytes', String(encoded.length)],
      ['platform', cpu.platform],
      ['devices', devices.map(({ kind }) => kind).join(', ') || 'none'],
      ['time anchor', document.timeAnchor ? `${document.timeAnchor.length} bytes` : 'none'],
    ],
  };
  return [
    head,
    { title: `${prefix}statement`, rows: statementRows(document) },
    { title: `${prefix}keyset`, rows: keysetRows(keyset) },
    ...readable(`${prefix}cpu`, () => snpSections(parseSnpReport(cpu.report), `${prefix}cpu`)),
    ...devices.flatMap(({ kind, report }, i) => {
      const title = `${prefix}device ${i}`;
      return readable(title, () => [deviceSection(parseDeviceReport(report, kind), title)]);
    }),
  ];
}

function readable(title: string, read: () => readonly Section[]): readonly Section[] {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return [{ title, rows: [['unreadable', `${error.code}: ${error.message}`]] }];
  }
}

function statementRows({ statement }: EvidenceDocument): readonly Row[] {
  return [
    ['seq', String(statement.seq)],
    ['final', yes(statement.final)],
    ['keyset digest', toHex(statement.keysetDigest)],
    ['nonces', String(statement.nonceCount)],
    ['nonce root', toHex(statement.nonceRoot)],
    ['log size', String(statement.logSize)],
    ['log root', toHex(statement.logRoot)],
    ['previous', statement.previous ? toHex(statement.previous) : 'none'],
  ];
}

function keysetRows(keyset: Keyset): readonly Row[] {
  return [
    ['instance', instanceUrn(keyset.instance)],
    ['generation', String(keyset.generation)],
    ['software', `${keyset.software.name} ${keyset.software.version}`],
    ['ends', secondsText(keyset.notAfter)],
    ['receipt key', keyText(keyset.receipt)],
    ['log key', keyText(keyset.log)],
    ['log origin', keyset.origin],
    ['inclusion key', keyText(keyset.inclusion)],
    ...keyset.hpke.map(({ kem, kdf, aead, publicKey }): Row => {
      const suite = [kem, kdf, aead].map((id) => `0x${id.toString(16).padStart(4, '0')}`).join(' ');
      return ['HPKE key', `${toHex(publicKey)} (suite ${suite})`];
    }),
    ['TLS key', keyset.tlsSpki ? toHex(keyset.tlsSpki) : 'none: TLS does not end in the VM'],
  ];
}

function keyText(key: CoseKey): string {
  const name = Object.entries(ALG).find(([, alg]) => alg === key.alg)?.[0] ?? `alg ${String(key.alg)}`;
  return `${name} ${toHex(key.x)}`;
}

/** A CPU report, and in a block of its own what the guest was launched with. */
export function snpSections(report: SnpReport, title = 'report'): readonly Section[] {
  return [
    { title, rows: snpRows(report) },
    { title: `${title} launch`, rows: launchRows(report) },
  ];
}

function snpRows(report: SnpReport): readonly Row[] {
  const { cpuid } = report;
  return [
    ['version', String(report.version)],
    [
      'processor',
      cpuid
        ? `family 0x${hex(cpuid.family)}, model 0x${hex(cpuid.model)}, stepping ${cpuid.stepping}`
        : 'not stated',
    ],
    ['chip id', toHex(report.chipId)],
    ['signed with', report.keyInfo.signingKey],
    ['reported TCB', toHex(report.reportedTcb)],
    ['committed TCB', toHex(report.committedTcb)],
    ['current TCB', toHex(report.currentTcb)],
    ['firmware', `${versionText(report.currentVersion)}, committed ${versionText(report.committedVersion)}`],
    ['platform', flagText(report.platformInfo)],
    ['report data', toHex(report.reportData)],
    ['report id', toHex(report.reportId)],
  ];
}

function launchRows(report: SnpReport): readonly Row[] {
  return [
    ['measurement', toHex(report.measurement)],
    ['launch TCB', toHex(report.launchTcb)],
    ['policy', flagText(report.policy)],
    ['VMPL', report.vmpl === 0xffffffff ? 'host' : String(report.vmpl)],
    ['guest SVN', String(report.guestSvn)],
    ['family id', toHex(report.familyId)],
    ['image id', toHex(report.imageId)],
    ['host data', toHex(report.hostData)],
    ['id key', toHex(report.idKeyDigest)],
    ['author key', toHex(report.authorKeyDigest)],
  ];
}

/** The raw bits, and the names of those that are set. */
function flagText(flags: object): string {
  const { raw } = flags as { raw: bigint };
  const set = Object.entries(flags).filter(([, value]) => value === true);
  return `0x${raw.toString(16)}${set.length > 0 ? `: ${set.map(([name]) => name).join(', ')}` : ''}`;
}

export function deviceSection(report: DeviceReport, title: string): Section {
  const own: readonly Row[] =
    report.kind === 'gpu'
      ? [
          ['chip', report.chipInfo === undefined ? report.chip : `${report.chip} ${report.chipInfo}`],
          ['mode', report.mode],
          ['driver', report.driverVersion],
          ['VBIOS', report.vbiosVersion],
          ['project', `${report.project} ${report.projectSku}, chip SKU ${report.chipSku}`],
        ]
      : [
          ['BIOS', report.biosVersion],
          ['locked', yes(report.locked)],
        ];
  return {
    title,
    rows: [
      ['kind', report.kind],
      ...own,
      ['nonce', toHex(report.nonce)],
      ['firmware id', report.firmwareId ? toHex(report.firmwareId) : 'not stated'],
      ['measurements', String(report.measurements.length)],
    ],
  };
}

function versionText({ major, minor, build }: FirmwareVersion): string {
  return `${major}.${minor} build ${build}`;
}

function hex(value: number): string {
  return value.toString(16);
}

function yes(value: boolean): string {
  return value ? 'yes' : 'no';
}
