import { toHex } from '../../attestation/bytes/bytes.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { LogRecord } from '../../attestation/receipt/record.ts';
import { digestOf } from './blobs.ts';
import type { DocumentFacts } from './documentFacts.ts';
import { entryFacts } from './entryFacts.ts';
import { placeholders, type SqlValue, type Statement } from './sql.ts';

/** A file of an instance that became a blob. */
export interface MirroredFile {
  readonly path: string;
  readonly digest: Uint8Array;
  readonly size: number;
  /** Of a checkpoint that a later one replaces. */
  readonly partial: boolean;
}

export function fileOf(path: string, bytes: Uint8Array, partial = false): MirroredFile {
  return { path, digest: digestOf(bytes), size: bytes.length, partial };
}

/** A path has one row: what is mutable (`checkpoint`, anchors) takes its new digest. */
export function fileStatement(instance: string, { path, digest, size, partial }: MirroredFile): Statement {
  return {
    text: `INSERT INTO archive_files (instance, path, digest, size, partial) VALUES ${placeholders(5)}
      ON CONFLICT (instance, path) DO UPDATE SET digest = excluded.digest, size = excluded.size,
      partial = excluded.partial`,
    values: [instance, path, digest, size, partial ? 1 : 0],
  };
}

export interface MirroredDocument {
  readonly seq: number;
  readonly digest: Uint8Array;
  /** Guest clock of the last entry below it, seconds: a claim. */
  readonly time: number;
  readonly facts: DocumentFacts;
  readonly note: Uint8Array | undefined;
}

export function documentStatements(
  instance: string,
  { seq, digest, time, facts, note }: MirroredDocument,
): readonly Statement[] {
  const { platform, chip, tcb, devices, logSize, final } = facts;
  return [
    {
      text: `INSERT INTO archive_documents
        (instance, seq, digest, time, platform, chip, tcb, log_size, final, note)
        VALUES ${placeholders(10)} ON CONFLICT DO NOTHING`,
      values: [
        instance,
        seq,
        digest,
        time,
        platform,
        chip ?? null,
        tcb ?? null,
        logSize,
        final ? 1 : 0,
        note ?? null,
      ],
    },
    ...devices.map(({ kind, serial, driver, vbios }, place) => ({
      text: `INSERT INTO archive_devices (instance, seq, place, kind, serial, driver, vbios)
        VALUES ${placeholders(7)} ON CONFLICT DO NOTHING`,
      values: [instance, seq, place, kind, serial, driver ?? null, vbios ?? null],
    })),
  ];
}

/** What the index knows beside the entry itself. */
export interface EntryContext {
  readonly instance: string;
  /** Number of the evidence document with this digest; undefined where it is not known. */
  readonly seqOf: (digest: Uint8Array) => number | undefined;
  /** Name of the key that made the request; the log has a commitment only. */
  readonly tenantOf: (receipt: string) => string | undefined;
  /** The policy that was registered last. */
  readonly policy: Uint8Array | undefined;
}

const ENTRY_COLUMNS =
  'instance, idx, kind, iat, receipt, model, manifest, tenant, outcome, config, cited, policy';

/** The rows of entries from index `first` on, and what follows from records among them. */
export function entryStatements(
  entries: readonly Uint8Array[],
  first: number,
  context: EntryContext,
): readonly Statement[] {
  if (entries.length === 0) return [];
  const rows: SqlValue[][] = [];
  const more: Statement[] = [];
  for (const [i, entry] of entries.entries()) {
    const facts = entryFacts(entry);
    const at = first + i;
    if (facts.kind === 'record') {
      rows.push(recordRow(facts.record, at, context));
      more.push(...recordStatements(facts.record, at, context.instance));
    } else if (facts.kind === 'receipt') {
      const { claims } = facts;
      const tenant = context.tenantOf(toHex(claims.id)) ?? null;
      rows.push([
        context.instance,
        at,
        'receipt',
        claims.issuedAt,
        claims.id,
        claims.model,
        claims.manifestDigest,
        tenant,
        claims.outcome,
        claims.configDigest,
        context.seqOf(claims.evidenceDigest) ?? null,
        context.policy ?? null,
      ]);
    } else {
      rows.push([context.instance, at, 'unknown', 0, null, null, null, null, null, null, null, null]);
    }
  }
  const text = `INSERT INTO archive_entries (${ENTRY_COLUMNS})
    VALUES ${placeholders(12, rows.length)} ON CONFLICT DO NOTHING`;
  return [{ text, values: rows.flat() }, ...more];
}

function recordRow(record: LogRecord, index: number, { instance, seqOf, policy }: EntryContext): SqlValue[] {
  const cited = record.kind === 'epoch' ? (seqOf(record.evidenceDigest) ?? null) : null;
  return [
    instance,
    index,
    record.kind,
    record.issuedAt,
    null,
    null,
    null,
    null,
    null,
    null,
    cited,
    policy ?? null,
  ];
}

function recordStatements(record: LogRecord, index: number, instance: string): readonly Statement[] {
  if (record.kind === 'act') return actStatements(record, index, instance);
  if (record.kind !== 'open' || !record.predecessor) return [];
  const { origin, checkpoint, evidenceDigest } = record.predecessor;
  const head = headOf(checkpoint);
  return [
    {
      text: `UPDATE archive_instances SET predecessor = ?, predecessor_size = ?, predecessor_root = ?,
        predecessor_evidence = ? WHERE instance = ?`,
      values: [origin, head?.size ?? null, head?.root ?? null, evidenceDigest, instance],
    },
  ];
}

/** An act of this archive has its row already, with the ids that the log has no part of. */
function actStatements(
  { act, actor, rule, subject, count, issuedAt }: Extract<LogRecord, { kind: 'act' }>,
  index: number,
  instance: string,
): readonly Statement[] {
  return [
    {
      // One row for one entry: two acts may be about the same.
      text: `UPDATE archive_acts SET idx = ? WHERE id = (SELECT a.id FROM archive_acts a
        WHERE a.instance = ? AND a.subject = ? AND a.act = ? AND a.idx IS NULL ORDER BY a.time, a.id LIMIT 1)
        AND NOT EXISTS (SELECT 1 FROM archive_acts b WHERE b.instance = ? AND b.idx = ?)`,
      values: [index, instance, subject, act, instance, index],
    },
    {
      text: `INSERT INTO archive_acts (id, time, act, actor, rule, subject, count, detail, state, instance, idx)
        VALUES ${placeholders(11)} ON CONFLICT DO NOTHING`,
      values: [
        `${instance}/${index}`,
        issuedAt,
        act,
        actor,
        rule,
        subject,
        count,
        '{}',
        'done',
        instance,
        index,
      ],
    },
  ];
}

/** Size and root of a signed note, unverified; undefined where it is none. */
export function headOf(note: Uint8Array): { readonly size: number; readonly root: Uint8Array } | undefined {
  if (note.length === 0) return undefined;
  try {
    const { size, root } = parseCheckpoint(parseNote(note).text);
    return { size, root };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
