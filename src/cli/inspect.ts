import type { Command } from 'commander';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { parseDisclosure } from '../../attestation/receipt/disclosure.ts';
import { parseAnchor } from '../../attestation/log/anchor.ts';
import { parseAttestation } from '../client/attestation.ts';
import { describeCollateral } from '../collateral/describe.ts';
import { parseCollateralFile } from '../../attestation/bundle/collateralFile.ts';
import { readCertificates } from './collateralCertificates.ts';
import { statementSection } from './collateralText.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, describeError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { readNamedManifest, type NamedManifest } from './inspectDeviceRims.ts';
import { NOTHING_BESIDE, reportSections, type Beside } from './inspectDeviceSet.ts';
import { disclosureSections } from './inspectDisclosure.ts';
import { documentSections } from './inspectEvidence.ts';
import { operatorSection } from './inspectOperator.ts';
import { EVIDENCE_SECTIONS } from './inspectRaw.ts';
import { checkpointSection } from './inspectCheckpoint.ts';
import { bundleSections, receiptSections, recordSection } from './inspectReceipt.ts';
import { shortened, type Section } from './inspectSection.ts';
import { anchorSections, timestampSections } from './inspectTimestamp.ts';
import { unknownText } from './inspectUnknown.ts';
import type { EvidenceKind } from '../../attestation/recognition/evidenceKinds.ts';
import { recognise, type Recognised, type ShownKind } from '../../attestation/recognition/recognise.ts';
import { printSection } from './sectionText.ts';
import { printable, stdout, wrap, type Terminal } from './terminal.ts';

const EXAMPLES = [
  ['what a bundle says', 'vouchsafe inspect bundle.cbor'],
  ['a quote, a certificate chain, a boot log: recognised by what is in it', 'vouchsafe inspect quote.bin'],
  [
    'each measurement of a GPU beside the reference values of two manifests',
    'vouchsafe inspect report.hex --rim driver.rim.xml --rim vbios.rim.xml',
  ],
  ['a GPU report with its certificates', 'vouchsafe inspect report.bin --chain chain.pem'],
  ['one value, for a script', "vouchsafe inspect bundle.cbor --json | jq '.sections[0]'"],
] as const;

const FORMATS = `
Recognised by content, also as hex or base64 text:
  ours      bundle, attestation answer, evidence document, receipt, record,
            checkpoint, anchor, policy, collateral, disclosure,
            operator statement
  AMD       SEV-SNP report, extended report, MSG_REPORT_RSP,
            certificates of an Azure host (THIM)
  Intel     TDX and SGX quotes, TCB info, enclave identity
  AWS       attestation documents of Nitro Enclaves and NitroTPM
  Azure     HCL report
  TPM 2.0   TPMS_ATTEST of a quote, TPMT_PUBLIC, TPMT_SIGNATURE
  NVIDIA    report of a GPU or NVSwitch, with or without its certificates;
            evidence of several (JSON); RIM; request to the attestation
            service (NRAS), its answer, single tokens (JWT), key set (JWKS)
  others    boot logs (TCG2, SHA-1, CCEL, dstack), CCEL table,
            X.509 certificates, CRLs and public keys (DER or PEM),
            OCSP responses, RFC 3161 timestamps`;

export interface InspectFlags {
  readonly json?: boolean;
  readonly rim?: readonly string[];
  readonly chain?: readonly string[];
}

export function inspectCommand(): Command {
  return newCommand('inspect', 'Show what a file says. Nothing is verified', EXAMPLES)
    .argument('<file>', 'evidence, certificates, collateral or any file of ours')
    .option('--rim <file>', 'compare measurements of devices with this manifest; may be repeated', repeated)
    .option('--chain <file>', 'certificates of a device report, leaf first, DER or PEM', repeated)
    .option('--json', 'print the values as JSON')
    .addHelpText('after', FORMATS)
    .action(runInspect);
}

async function runInspect(path: string, flags: InspectFlags): Promise<void> {
  const inspection = await inspectFile(path, flags);
  if (flags.json) stdout.line(inspectionJson(inspection));
  else printInspection(stdout, inspection, path);
}

/** What a file says, beside what the options name. */
export async function inspectFile(path: string, flags: InspectFlags): Promise<Inspection> {
  return inspectBytes(await readInput(path), path, await readBeside(flags));
}

async function readBeside({ rim = [], chain = [] }: InspectFlags): Promise<Beside> {
  const rims = await Promise.all(rim.map(readManifest));
  return { rims, chain: await readCertificates(chain) };
}

async function readManifest(path: string): Promise<NamedManifest> {
  const { kind, name, bytes } = recognise(await readInput(path));
  if (kind !== 'rim') throw new CliError(EXIT.unreadable, `${path} is no manifest: ${name}`);
  try {
    return readNamedManifest(bytes, path);
  } catch (error) {
    throw unreadable(error, path, name);
  }
}

/** What a file is and what it says of itself. */
export interface Inspection {
  readonly kind: ShownKind;
  readonly name: string;
  readonly encoding: Recognised['encoding'];
  readonly sections: readonly Section[];
}

/** Reads any file; a `CliError` says what one that cannot be read looks like. */
export function inspectBytes(bytes: Uint8Array, path: string, beside = NOTHING_BESIDE): Inspection {
  const { kind, name, encoding, bytes: content } = recognise(bytes);
  if (kind === 'unknown' || lacksLabel(kind, content)) {
    throw new CliError(EXIT.unreadable, `${path} is no file that is known here: ${unknownText(bytes)}`);
  }
  refuseUnused(kind, beside, `${path} is another kind of file: ${name}`);
  try {
    return { kind, name, encoding, sections: sectionsOf(kind, content, beside) };
  } catch (error) {
    throw unreadable(error, path, name);
  }
}

const WITH_DEVICES: readonly ShownKind[] = [
  'bundle',
  'disclosure',
  'attestation',
  'document',
  'device-report',
  'device-report-chain',
  'device-evidence',
  'nras-request',
];

/** What was named beside a file and says nothing of it was not meant for it. */
function refuseUnused(kind: ShownKind, { rims, chain }: Beside, but: string): void {
  if (rims.length > 0 && !WITH_DEVICES.includes(kind)) {
    throw new CliError(EXIT.misuse, `--rim goes with evidence of devices; ${but}`);
  }
  if (chain.length > 0 && kind !== 'device-report' && kind !== 'device-report-chain') {
    throw new CliError(EXIT.misuse, `--chain goes with a device report; ${but}`);
  }
}

/** Every JSON object is taken for an attestation answer and every CBOR map for a bundle until it is to be shown. */
const LABELS: ReadonlyMap<ShownKind, string> = new Map([
  ['attestation', '"vouchsafe/attestation/'],
  ['bundle', 'vouchsafe/bundle/'],
]);

function lacksLabel(kind: ShownKind, bytes: Uint8Array): boolean {
  const label = LABELS.get(kind);
  return label !== undefined && !Buffer.from(bytes).includes(label);
}

function unreadable(error: unknown, path: string, name: string): unknown {
  const described = describeError(error);
  if (!described) return error;
  const message = `${path} looks like this: ${name}. It cannot be read: ${described.message}`;
  return new CliError(EXIT.unreadable, message, described.advice);
}

/** Stable: members may be added, none is renamed. A name that occurs twice in a section holds a list. */
export function inspectionJson({ kind, encoding, sections }: Inspection): string {
  const value = { kind, verified: false, ...(encoding && { encoding }), sections: sections.map(toJson) };
  return withoutControls(JSON.stringify(value, undefined, 2));
}

function toJson({ title, rows, entries }: Section): object {
  if (entries) return { title, entries };
  const values = new Map<string, string | string[]>();
  for (const [name, value] of rows) {
    const before = values.get(name);
    values.set(name, before === undefined ? value : [before, value].flat());
  }
  return { title, ...Object.fromEntries(values) };
}

/** What JSON leaves as it is and a terminal would act on, as escapes: the value stays the same. */
function withoutControls(json: string): string {
  return json.replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from({ length: character.length }, (_, i) => escaped(character.charCodeAt(i))).join(''),
  );
}

function escaped(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

export function printInspection(terminal: Terminal, inspection: Inspection, path: string): void {
  const { c, columns } = terminal;
  const { name, encoding, sections } = inspection;
  const written = encoding === undefined ? '' : `, written as ${encoding}`;
  for (const line of wrap(`${name}${written} ${printable(path)}`, columns)) terminal.line(c.bold(line));
  terminal.line(c.yellow('What the file says of itself: nothing here is verified.'));
  for (const { title, rows } of sections) {
    const short = rows.map(([label, value]) => [label, shortened(value)] as const);
    printSection(terminal, { title: shortened(title), rows: short });
  }
}

type ReadableKind = Exclude<ShownKind, 'unknown'>;

function sectionsOf(kind: ReadableKind, bytes: Uint8Array, beside: Beside): readonly Section[] {
  return isEvidence(kind) ? EVIDENCE_SECTIONS[kind](bytes, beside) : ownSections(kind, bytes, beside);
}

function isEvidence(kind: ReadableKind): kind is EvidenceKind {
  return Object.hasOwn(EVIDENCE_SECTIONS, kind);
}

function ownSections(
  kind: Exclude<ReadableKind, EvidenceKind>,
  bytes: Uint8Array,
  beside: Beside,
): readonly Section[] {
  switch (kind) {
    case 'bundle':
      return bundleSections(parseBundle(bytes), beside.rims);
    case 'attestation': {
      const { document, answers } = parseAttestation(bytes);
      return [
        { title: 'answer', rows: [['answers nonce', answers]] },
        ...documentSections(parseDocument(document), '', beside.rims),
      ];
    }
    case 'document':
      return documentSections(parseDocument(bytes), '', beside.rims);
    case 'receipt':
      return receiptSections(bytes);
    case 'record':
      return [recordSection(bytes)];
    case 'checkpoint':
      return [checkpointSection(bytes)];
    case 'device-report':
      return reportSections(bytes, beside);
    case 'policy':
      return [{ title: 'policy', rows: [['text', fromUtf8(bytes).replaceAll(/\s+/g, ' ')]] }];
    case 'disclosure':
      return disclosureSections(parseDisclosure(bytes), beside.rims);
    case 'operator-statement':
      return [operatorSection(bytes)];
    case 'timestamp':
      return timestampSections(bytes);
    case 'anchor':
      return anchorSections(parseAnchor(bytes));
    case 'collateral':
      return describeCollateral(parseCollateralFile(bytes)).map((each) => statementSection(each, Date.now()));
  }
}
