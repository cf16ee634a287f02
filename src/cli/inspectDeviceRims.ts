import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { NVDEC0_INDEX } from '../../attestation/evidence/nvidia/indices.ts';
import { compareMeasurements, type Comparison } from '../../attestation/evidence/nvidia/measurements.ts';
import type { DeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { driverRimId, vbiosRimId } from '../../attestation/evidence/nvidia/rim.ts';
import type { ReferenceMeasurement } from '../../attestation/evidence/nvidia/swid.ts';
import { attributeOf } from '../../attestation/evidence/nvidia/xml.ts';
import { measurementsOf, namesOf, readRimFile } from './inspectRimFile.ts';
import { rangesText, readable, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

/** A manifest that the caller named, with the values that it gives. */
export interface NamedManifest {
  /** The file, as the caller called it. */
  readonly file: string;
  readonly product: string;
  readonly version: string;
  readonly edition: string;
  readonly measurements: ReadonlyMap<number, ReferenceMeasurement>;
  /** What each index is called. */
  readonly names: ReadonlyMap<string, string>;
  /** Why the verifier would not judge by it. */
  readonly refused: string | undefined;
}

/** Refuses a file without values; nothing of it is verified. */
export function readNamedManifest(bytes: Uint8Array, file: string): NamedManifest {
  const rim = readRimFile(bytes);
  const of = (name: string) => (rim.meta && attributeOf(rim.meta, name)) ?? 'not stated';
  return {
    file,
    product: of('product'),
    version: of('colloquialVersion'),
    edition: of('edition'),
    measurements: measurementsOf(rim),
    names: namesOf(rim),
    refused: rim.refusal && `${rim.refusal.code}: ${rim.refusal.message}`,
  };
}

/** Part of the device that a manifest is for: a VBIOS version is five bytes in hex, a driver's is decimal. */
type Part = 'driver' | 'VBIOS' | 'BIOS';

function partOf({ version, edition }: NamedManifest): Part {
  if (edition === 'SWITCH') return 'BIOS';
  return /^[0-9a-f]{2}(?:\.[0-9a-f]{2}){4}$/i.test(version) ? 'VBIOS' : 'driver';
}

/** Indices that any of the manifests gives values for. */
export function comparedIndices(rims: readonly NamedManifest[]): readonly number[] {
  return rims.flatMap(({ measurements }) =>
    [...measurements].flatMap(([index, { active }]) => (active ? [index] : [])),
  );
}

/**
 * Each measurement beside what the manifests say of it; none without manifests. In brief, people get those that are
 * not equal.
 */
export function comparisonSections(
  report: DeviceReport,
  rims: readonly NamedManifest[],
  title: string,
  inBrief = false,
): readonly Section[] {
  if (rims.length === 0) return [];
  return readable(`${title} comparison`, () => {
    const comparison = compareMeasurements(report, rims);
    const entries = entriesOf(report, rims, comparison);
    return [
      { title: `${title} comparison`, rows: summaryRows(report, rims, comparison) },
      { title: `${title} compared by RIM index`, rows: compared(entries, inBrief), entries },
    ];
  });
}

function summaryRows(
  report: DeviceReport,
  rims: readonly NamedManifest[],
  { equal, mismatched, conflicting, skipped }: Comparison,
): readonly Row[] {
  const judged = [...equal, ...mismatched, ...conflicting, ...skipped];
  const others = report.measurements.flatMap((_, index) => (judged.includes(index) ? [] : [index]));
  return [
    ...rims.map((rim): Row => ['manifest', `${rim.file}: ${forText(rim, report)}`]),
    ...missingRows(report, rims),
    ['equal', countText(equal)],
    ['differs', countText(mismatched)],
    ...(conflicting.length > 0 ? [['two sources', countText([...new Set(conflicting)])] as const] : []),
    ...(skipped.length > 0 ? [['NVDEC0 is off', countText(skipped)] as const] : []),
    ['in no manifest', countText(others)],
  ];
}

function countText(indices: readonly number[]): string {
  return indices.length === 0
    ? '0'
    : `${indices.length}: index ${rangesText(indices.toSorted((a, b) => a - b))}`;
}

/** Whether the manifest is for this device by chip and version; a stale one of the right version still differs. */
function forText(rim: NamedManifest, report: DeviceReport): string {
  const part = partOf(rim);
  const what = `${part} RIM of ${rim.product} ${rim.version}`;
  const runs = versionsOf(report)[part];
  const notes = [
    ...(productsOf(report).includes(rim.product)
      ? []
      : [`NOT of this chip, ${productsOf(report).join(' or ')}`]),
    ...(runs?.toUpperCase() === rim.version.toUpperCase() ? [] : [`NOT of this version, ${runs ?? 'none'}`]),
    ...(rim.refused === undefined ? [] : [`the verifier refuses it: ${rim.refused}`]),
  ];
  return `${what} (${notes.join('; ') || 'for this chip and version'})`;
}

function versionsOf(report: DeviceReport): Readonly<Partial<Record<Part, string>>> {
  return report.kind === 'gpu'
    ? { driver: report.driverVersion, VBIOS: report.vbiosVersion }
    : { BIOS: report.biosVersion };
}

function productsOf(report: DeviceReport): readonly string[] {
  if (report.kind === 'switch') return ['LS10'];
  const { chip, chipInfo } = report;
  return chipInfo === undefined || chip === 'GH100' ? [chip] : [chipInfo, chip];
}

/** Ids of the manifests that were not named. */
function missingRows(report: DeviceReport, rims: readonly NamedManifest[]): readonly Row[] {
  const named = rims.map(partOf);
  const needed: readonly (readonly [Part, string | undefined])[] =
    report.kind === 'gpu'
      ? [
          ['driver', driverRimId(report)],
          ['VBIOS', vbiosRimId(report)],
        ]
      : [['BIOS', vbiosRimId(report)]];
  return needed.flatMap(([part, id]): readonly Row[] =>
    named.includes(part) || id === undefined ? [] : [['not named', `${part} RIM ${id}`]],
  );
}

/** One for each index of the report, and for those that only a manifest has. */
function entriesOf(
  report: DeviceReport,
  rims: readonly NamedManifest[],
  comparison: Comparison,
): readonly Entry[] {
  const last = Math.max(report.measurements.length - 1, ...comparedIndices(rims));
  return Array.from({ length: last + 1 }, (_, index) => index).flatMap((index): readonly Entry[] => {
    const sources = rims.filter(({ measurements }) => measurements.get(index)?.active);
    const got = report.measurements[index];
    if (!got && sources.length === 0) return [];
    const expected = sources.flatMap(({ measurements }) => measurements.get(index)?.alternatives ?? []);
    const alternative = expected.findIndex((value) => got && equalBytes(value, got)) + 1;
    const name = sources[0]?.names.get(String(index));
    return [
      {
        index: String(index),
        ...resultOf(index, comparison),
        ...(name === undefined ? {} : { name }),
        manifest: sources.map((rim) => `${partOf(rim)} RIM`).join(', ') || 'none',
        got: got ? toHex(got) : 'not measured',
        expected: expected.map(toHex).join(' ') || 'nothing',
        ...(alternative > 0 && expected.length > 1
          ? { alternative: `${alternative} of ${expected.length}` }
          : {}),
      },
    ];
  });
}

function resultOf(index: number, { equal, mismatched, conflicting, skipped }: Comparison): Entry {
  if (conflicting.includes(index)) return { result: 'not judged', reason: 'two manifests give values' };
  if (skipped.includes(index)) return { result: 'not judged', reason: 'NVDEC0 is off' };
  if (equal.includes(index)) return { result: 'equal' };
  if (mismatched.includes(index)) return { result: 'differs' };
  return {
    result: 'not judged',
    reason: index === NVDEC0_INDEX ? 'no manifest judges NVDEC0' : 'in no manifest',
  };
}

/** What is in no manifest is said by its indices: the values stand with the measurements. */
function compared(entries: readonly Entry[], inBrief: boolean): readonly Row[] {
  const isIn = ({ manifest }: Entry) => manifest !== 'none';
  const indices = (chosen: (entry: Entry) => boolean) =>
    rangesText(entries.filter(chosen).map(({ index }) => Number(index)));
  const isBrief = ({ result }: Entry) => inBrief && result === 'equal';
  return [
    ...entries.filter((entry) => isIn(entry) && !isBrief(entry)).flatMap(comparedRows),
    ...(entries.some(isBrief) ? [['equal', `index ${indices(isBrief)}`] as const] : []),
    ...(entries.every(isIn) ? [] : [['in no manifest', `index ${indices((each) => !isIn(each))}`] as const]),
  ];
}

function comparedRows({ index = '', result = '', reason, manifest = '', ...rest }: Entry): readonly Row[] {
  const { got = '', expected = '', alternative } = rest;
  const head = `${index}, ${manifest}`;
  if (result === 'equal' && alternative === undefined) return [[head, `${got} (equal)`]];
  const said = {
    equal: `equal, alternative ${alternative ?? ''}`,
    differs: 'DIFFERS',
  }[result];
  return [
    [head, said ?? `${result}: ${reason ?? ''}`],
    ['  got', got],
    ...expected.split(' ').map((value, i): Row => [i === 0 ? '  expected' : '  or', value]),
  ];
}
