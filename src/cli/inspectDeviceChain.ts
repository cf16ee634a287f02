import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { chipOf, firmwareIdOf } from '../../attestation/evidence/nvidia/certificates.ts';
import type { DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { certificateSections } from './inspectCertificate.ts';
import { readable, readableRows, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** Certificates that were shown, by their SHA-256, with the titles under which they were. */
export type ShownCertificates = Map<string, string>;

/** What a chain says of its device, compared with the report, and each certificate that was not shown before. */
export function chainSections(
  certificates: readonly Uint8Array[],
  report: DeviceReport | undefined,
  title: string,
  shown: ShownCertificates,
): readonly Section[] {
  const listed = certificates.map((der, i) => {
    const digest = toHex(nodeCrypto.hash('sha256', der));
    const before = shown.get(digest);
    const name = `${title} certificate ${i + 1}`;
    if (before === undefined) shown.set(digest, name);
    return { der, name, before };
  });
  const repeated = listed.flatMap(({ before }, i): readonly Row[] =>
    before === undefined ? [] : [[`certificate ${i + 1}`, `as ${before}`]],
  );
  const about = readable(`${title} chain`, () => [
    {
      title: `${title} chain`,
      rows: [...chainRows(certificates.map(parseCertificate), report), ...repeated],
    },
  ]);
  const own = listed.filter(({ before }) => before === undefined);
  return [...about, ...own.flatMap(({ der, name }) => certificateSections([der], name).map(withoutNumber))];
}

/** One certificate at a time is shown as number 1 of its title. */
function withoutNumber({ title, ...section }: Section): Section {
  return { ...section, title: title.replace(/ 1$/, '') };
}

function chainRows(chain: readonly Certificate[], report: DeviceReport | undefined): readonly Row[] {
  const [leaf, bootRom] = chain;
  return [
    ['certificates', `${chain.length} (leaf first)`],
    ...(leaf ? leafRows(leaf, report) : []),
    ...(bootRom ? pdiRows(bootRom, report) : []),
  ];
}

function leafRows(leaf: Certificate, report: DeviceReport | undefined): readonly Row[] {
  const serial = toHex(leaf.serial);
  return [
    ['leaf serial', serial],
    ['UEID', BigInt(`0x${serial || '0'}`).toString()],
    ...readableRows('certified chip', () => [['certified chip', chipOf(leaf)]]),
    ...readableRows('certified firmware', () => [['certified firmware', firmwareText(leaf, report)]]),
  ];
}

function firmwareText(leaf: Certificate, report: DeviceReport | undefined): string {
  const certified = firmwareIdOf(leaf);
  if (!certified) return 'not stated';
  const reported = report?.firmwareId;
  if (!reported) return toHex(certified);
  const equal = equalBytes(certified, reported);
  return `${toHex(certified)} (${equal ? 'that of the report' : 'NOT that of the report'})`;
}

/** The serial of the boot ROM without its first byte. */
function pdiRows({ serial }: Certificate, report: DeviceReport | undefined): readonly Row[] {
  const pdi = toHex(serial.subarray(1));
  const own = report?.kind === 'switch' ? report.pdi : undefined;
  const note = own === undefined ? '' : ` (${own === pdi ? 'that of the report' : 'NOT that of the report'})`;
  return [
    ['boot ROM serial', toHex(serial)],
    ['PDI', `${pdi || 'none'}${note}`],
  ];
}
