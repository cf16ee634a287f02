import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { ReferenceMeasurement } from '../../attestation/evidence/nvidia/swid.ts';
import { attributeOf, type XmlElement } from '../../attestation/evidence/nvidia/xml.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { certificateSections } from './inspectCertificate.ts';
import { measurementsOf, namesOf, readRimFile, type RimFile, type SignaturePart } from './inspectRimFile.ts';
import { rangesText, readable, readableRows, timeText, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** A manifest: what it is for, who signed it, and the values of each index. */
export function rimSections(bytes: Uint8Array): readonly Section[] {
  const file = readRimFile(bytes);
  return [
    { title: 'manifest', rows: manifestRows(file, bytes) },
    ...(file.signature ? signatureSections(file.signature) : []),
    ...readable('reference values', () => [valueSection(file)]),
  ];
}

function manifestRows(file: RimFile, bytes: Uint8Array): readonly Row[] {
  const { root, meta, foreign } = file;
  return [
    ['tagId', attribute(root, 'tagId')],
    ['name', attribute(root, 'name')],
    ['product', attribute(meta, 'product')],
    ['edition', attribute(meta, 'edition')],
    ['version', attribute(meta, 'colloquialVersion')],
    ['revision', attribute(meta, 'revision')],
    ['tag version', attribute(root, 'tagVersion')],
    ['payload type', attribute(meta, 'PayloadType')],
    ...makerRows(meta),
    ...readableRows('indices', () => countRows(measurementsOf(file))),
    ['foreign parts', foreign.join(', ') || 'none'],
    ['layout', layoutText(file)],
    ['SHA-256', toHex(nodeCrypto.hash('sha256', bytes))],
    ['bytes', String(bytes.length)],
  ];
}

/** The number of certificates is judged with the chain. */
function layoutText({ refusal, foreign }: RimFile): string {
  if (refusal) return `the verifier refuses it: ${refusal.code}: ${refusal.message}`;
  return foreign.length === 0 ? 'as NVIDIA writes it' : 'the verifier reads it and refuses its chain';
}

function attribute(element: XmlElement | undefined, name: string): string {
  return (element && attributeOf(element, name)) || 'not stated';
}

/** In the namespace of the TCG, whose prefix the file chooses. */
function makerRows(meta: XmlElement | undefined): readonly Row[] {
  const of = (name: string) => meta?.attributes.find(({ localName }) => localName === name)?.value;
  const maker = of('FirmwareManufacturer');
  return maker ? [['firmware maker', `${maker} (id ${of('FirmwareManufacturerId') ?? 'not stated'})`]] : [];
}

function countRows(measurements: ReadonlyMap<number, ReferenceMeasurement>): readonly Row[] {
  const indices = (chosen: (measurement: ReferenceMeasurement) => boolean) =>
    [...measurements].flatMap(([index, each]) => (chosen(each) ? [index] : [])).toSorted((a, b) => a - b);
  const several = indices(({ active, alternatives }) => active && alternatives.length > 1);
  return [
    ['indices', String(measurements.size)],
    ['active', rangesText(indices(({ active }) => active))],
    ['inactive', rangesText(indices(({ active }) => !active))],
    ['with alternatives', rangesText(several)],
  ];
}

function signatureSections({ algorithms, certificates, digestMatches }: SignaturePart): readonly Section[] {
  const [signer] = certificates;
  return [
    {
      title: 'signature',
      rows: [
        ...algorithms.map(([element, algorithm]): Row => [ALGORITHM_ROWS[element] ?? 'algorithm', algorithm]),
        ['digest', DIGEST_TEXTS[String(digestMatches)] ?? 'none'],
        ['certificates', `${certificates.length} (signer first)`],
        ...(signer ? readableRows('signer', () => signerRows(signer)) : []),
      ],
    },
    ...certificateSections(certificates, 'signature certificate'),
  ];
}

const ALGORITHM_ROWS: Readonly<Record<string, string>> = {
  CanonicalizationMethod: 'canonical form',
  SignatureMethod: 'signature',
  Transform: 'transform',
  DigestMethod: 'digest method',
};

const DIGEST_TEXTS: Readonly<Record<string, string>> = {
  true: 'that of the manifest (the signature over it is not verified)',
  false: 'NOT that of the manifest',
};

function signerRows(der: Uint8Array): readonly Row[] {
  const { subject, notBefore, notAfter } = parseCertificate(der);
  return [
    ['signer', subject || 'empty'],
    ['signer valid', `${timeText(notBefore)} to ${timeText(notAfter)}`],
  ];
}

/** Active values for people, all of them for programs: those of inactive indices carry no meaning. */
function valueSection(file: RimFile): Section {
  const names = namesOf(file);
  const measurements = [...measurementsOf(file)].toSorted(([a], [b]) => a - b);
  const rows = measurements.flatMap(([index, { active, alternatives }]): readonly Row[] => {
    if (!active) return [];
    const of = alternatives.length > 1 ? ` of ${alternatives.length}` : '';
    return alternatives.map((value, i) => [`${index}${of === '' ? '' : ` (${i + 1}${of})`}`, toHex(value)]);
  });
  return {
    title: 'reference values',
    rows: rows.length > 0 ? rows : [['none', 'no index is active']],
    entries: measurements.map(([index, { active, alternatives }]): Entry => ({
      index: String(index),
      name: names.get(String(index)) ?? 'not stated',
      active: active ? 'yes' : 'no',
      values: alternatives.map(toHex).join(' '),
    })),
  };
}
