import { Refusal } from '../../attestation/errors.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { parseKeyset, type Keyset } from '../../attestation/keyset.ts';
import { parseCheckpoint, verifyCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { parseDocument } from '../../attestation/evidence/document.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import { readOpening } from './entryReader.ts';
import type { LocalFinding, Severity } from './findings.ts';
import { readFirstEntry, type ListedInstance } from './instanceFiles.ts';
import type { InstanceReport } from './report.ts';

/** What the `open` record of an instance says; its signature is verified with the other entries. */
export interface Opening {
  readonly instance: string;
  readonly created: number;
  /** Undefined where the record is not there or cannot be read. */
  readonly record: { readonly predecessor: Predecessor | undefined } | undefined;
}

export async function readOpenings(instances: readonly ListedInstance[]): Promise<readonly Opening[]> {
  const openings: Opening[] = [];
  for (const listed of instances) {
    const { created, instance } = listed.files;
    const entry = await readFirstEntry(listed);
    openings.push({ instance, created, record: entry && readOpening(entry) });
  }
  return openings;
}

/** Sizes of the log `origin` that its successors name: the tree has to give their roots. */
export function sizesNamed(openings: readonly Opening[], origin: string): readonly number[] {
  return openings.flatMap(({ record }) => {
    const named = record?.predecessor;
    const body = named?.origin === origin ? readBody(named) : undefined;
    return body ? [body.size] : [];
  });
}

function readBody({ checkpoint }: Predecessor): { readonly size: number; readonly root: string } | undefined {
  if (checkpoint.length === 0) return undefined;
  try {
    const { root, size } = parseCheckpoint(parseNote(checkpoint).text);
    return { size, root: toHex(root) };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** A finding with the instance that it is about. */
export type PlacedFinding = LocalFinding & { readonly instance: string };

export interface LineParts {
  readonly openings: readonly Opening[];
  readonly reports: readonly InstanceReport[];
  /** Whether an export of a time range was asked for: what lies before it may be absent. */
  readonly isRange: boolean;
  /** Keyset of an instance, from its first evidence document. */
  readonly keysetOf: (instance: string) => Promise<Keyset | undefined>;
  readonly crypto: CryptoProvider;
}

/** Walks the `open` records from instance to instance, oldest first. */
export async function judgeLine(parts: LineParts): Promise<readonly PlacedFinding[]> {
  const found: PlacedFinding[] = [...findForks(parts.openings)];
  const [oldest] = parts.openings.toSorted((a, b) => a.created - b.created);
  for (const opening of parts.openings) {
    const add = (code: LocalFinding['code'], severity: Severity, detail: string): void => {
      found.push({ check: 'instances.line', code, severity, detail, instance: opening.instance });
    };
    const own = parts.reports.find(({ instance }) => instance === opening.instance);
    // Whether it may be gone is judged with the other entries that are.
    if (!opening.record && own?.missing[0]?.from === 0) continue;
    if (!opening.record) {
      add('RECORD_MISPLACED', 'fail', 'its opening record is missing or cannot be read');
      continue;
    }
    const { predecessor } = opening.record;
    if (predecessor) await judgePredecessor(predecessor, parts, add);
    else if (opening !== oldest)
      add('INSTANCE_UNLINKED', 'warning', 'it names no predecessor, but earlier ones are here');
  }
  return found;
}

function findForks(openings: readonly Opening[]): readonly PlacedFinding[] {
  const successors = new Map<string, string[]>();
  for (const { instance, record } of openings) {
    const origin = record?.predecessor?.origin;
    if (origin !== undefined) successors.set(origin, [...(successors.get(origin) ?? []), instance]);
  }
  return [...successors]
    .filter(([, instances]) => instances.length > 1)
    .flatMap(([origin, instances]) =>
      instances.map((instance): PlacedFinding => {
        const detail = `${instances.length} instances name ${origin} as their predecessor: ${instances.join(', ')}`;
        return { check: 'instances.line', code: 'INSTANCE_FORK', severity: 'fail', detail, instance };
      }),
    );
}

type Add = (code: LocalFinding['code'], severity: Severity, detail: string) => void;

async function judgePredecessor(named: Predecessor, parts: LineParts, add: Add): Promise<void> {
  const report = parts.reports.find(({ origin }) => origin === named.origin);
  if (!report) {
    const severity = parts.isRange ? 'note' : 'warning';
    add('PREDECESSOR_ABSENT', severity, `it names ${named.origin}, which is not in the export`);
    return;
  }
  judgeEvidence(named, report, add);
  const body = readBody(named);
  if (!body) {
    const none = named.checkpoint.length === 0;
    if (none && report.checkpoint)
      add('PREDECESSOR_CONTINUED', 'warning', 'it found no checkpoint, one is here now');
    if (!none) add('PREDECESSOR_REPLACED', 'fail', 'the checkpoint that it names cannot be read');
    return;
  }
  await judgeCheckpoint(named, body, report, parts, add);
}

async function judgeCheckpoint(
  named: Predecessor,
  body: { readonly size: number; readonly root: string },
  report: InstanceReport,
  { crypto, keysetOf }: LineParts,
  add: Add,
): Promise<void> {
  const keyset = await keysetOf(report.instance);
  try {
    if (!keyset) throw new Refusal('EVIDENCE_INCOMPLETE', 'nothing vouches for the key of its log');
    await verifyCheckpoint(named.checkpoint, keyset.origin, keyset.log.x, crypto);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    add('PREDECESSOR_REPLACED', 'fail', `the checkpoint that it names: ${error.code}: ${error.message}`);
    return;
  }
  const root = body.size === 0 ? body.root : report.rootAt[body.size];
  const size = report.checkpoint?.size ?? 0;
  if (body.size > Math.max(size, report.entries)) {
    add('PREDECESSOR_TRUNCATED', 'fail', `it saw ${body.size} entries of ${named.origin}, ${size} are here`);
  } else if (root !== body.root) {
    const detail = `it saw the root ${body.root} at ${body.size} entries, the log here has ${root ?? 'none'}`;
    add('PREDECESSOR_REPLACED', root === undefined ? 'missing' : 'fail', detail);
  } else if (size > body.size) {
    const detail = `it saw the checkpoint of ${body.size} entries, one of ${size} is here`;
    add('PREDECESSOR_CONTINUED', 'warning', detail);
  }
}

/** The evidence that it found must be of the predecessor's line, and should be its end. */
function judgeEvidence({ evidenceDigest }: Predecessor, { documents }: InstanceReport, add: Add): void {
  const last = documents.at(-1);
  if (evidenceDigest.length === 0) {
    if (last) add('PREDECESSOR_CONTINUED', 'warning', 'it found no evidence document, some are here now');
    return;
  }
  const digest = toHex(evidenceDigest);
  const found = documents.find((document) => document.digest === digest);
  if (!found) add('PREDECESSOR_REPLACED', 'warning', `it found the evidence ${digest}, which is not here`);
  else if (last && found.seq < last.seq) {
    add(
      'PREDECESSOR_CONTINUED',
      'warning',
      `it found document ${found.seq} as the last, ${last.seq} is here`,
    );
  }
}

/** Keyset of the first evidence document of an instance; undefined where it cannot be read. */
export async function firstKeyset({ documents, files }: ListedInstance): Promise<Keyset | undefined> {
  const [seq] = documents;
  const encoded = seq === undefined ? undefined : await files.read(`evidence/${seq}.cbor`);
  try {
    return encoded && parseKeyset(parseDocument(encoded).encodedKeyset);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
