import { randomBytes } from 'node:crypto';
import { fromHex, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { type Act, actSubject, MAX_ACTOR_LENGTH, MAX_RULE_LENGTH } from '../../attestation/receipt/record.ts';
import type { BlobStore } from './blobs.ts';
import { isLogError } from '../log/errors.ts';
import { type Detail, effectOf, parseDetail } from './effects.ts';
import { ArchiveError } from './errors.ts';
import { fileOf, fileStatement } from './mirrorRows.ts';
import {
  bytesOf,
  numberOf,
  optional,
  placeholders,
  type Row,
  type Sql,
  type Statement,
  textOf,
} from './sql.ts';

/** Signs and logs an act; resolves with its index when it is durable. */
export type RecordAct = (body: {
  readonly act: Act;
  readonly actor: string;
  readonly rule: string;
  readonly subject: Uint8Array;
  readonly count: number;
}) => Promise<number>;

export interface ActsParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly recordAct: RecordAct;
  /** The instance whose log takes the acts, 32 hex digits. */
  readonly instance: string;
  readonly now: () => number;
}

export interface ActRequest {
  readonly actor: string;
  readonly rule: string;
  /** What it is about: the log has their digest only, `acts/<digest>.cbor` has them. */
  readonly ids: readonly Uint8Array[];
  readonly detail: Detail;
}

/** An act as the archive knows it. */
export interface ActRow {
  readonly id: string;
  readonly time: number;
  readonly act: string;
  readonly actor: string;
  readonly rule: string;
  readonly subject: string;
  readonly count: number;
  readonly detail: unknown;
  /** `pending`: it was to be logged, and its effect is not there. */
  readonly state: string;
  readonly instance: string | undefined;
  readonly index: number | undefined;
}

/**
 * Everything that changes what the archive holds goes this way: written down with its ids, signed and logged, then
 * done. Callers are inside `sql.exclusive`, where they checked that it may be done.
 */
export class Acts {
  readonly #parts: ActsParts;
  /** What the database has still to take of acts of this process, by their ids. */
  readonly #left = new Map<string, readonly Statement[]>();

  constructor(parts: ActsParts) {
    this.#parts = parts;
  }

  /** True where an act is in the log, and the database did not take its effect. */
  get isBehind(): boolean {
    return this.#left.size > 0;
  }

  /** Finishes what the database did not take before. Callers are inside `sql.exclusive`, here, too. */
  async settle(): Promise<void> {
    for (const [id, statements] of this.#left) await this.#finish(id, statements);
  }

  /** Resolves with the id of the act once it has taken effect. */
  async perform({ actor, rule, ids, detail }: ActRequest): Promise<string> {
    requireNames(actor, rule);
    await this.settle();
    const { sql, blobs, recordAct, instance, now } = this.#parts;
    const id = toHex(randomBytes(16));
    const time = Math.floor(now() / 1000);
    const subject = actSubject(ids, nodeCrypto);
    const { act } = detail;
    const opened = encodeDc(ids);
    const file = fileOf(`acts/${toHex(subject)}.cbor`, opened);
    await blobs.put(file.digest, opened);
    await sql.batch([
      {
        text: `INSERT INTO archive_acts (id, time, act, actor, rule, subject, count, detail, state, instance)
          VALUES ${placeholders(10)}`,
        values: [
          id,
          time,
          act,
          actor,
          rule,
          subject,
          ids.length,
          JSON.stringify(detail),
          'pending',
          instance,
        ],
      },
    ]);
    let index: number;
    try {
      index = await recordAct({ act, actor, rule, subject, count: ids.length });
    } catch (error) {
      // A log that ended may have the entry all the same: the next start knows.
      if (!mayBeLogged(error)) {
        const dropped = { text: 'DELETE FROM archive_acts WHERE id = ?', values: [id] };
        await this.#finish(id, [dropped]).catch(() => undefined);
      }
      throw error;
    }
    await this.#finish(id, [
      ...effectOf(detail, { id, time, actor, rule }),
      fileStatement(instance, file),
      { text: `UPDATE archive_acts SET state = 'done', idx = ? WHERE id = ?`, values: [index, id] },
    ]);
    return id;
  }

  async #finish(id: string, statements: readonly Statement[]): Promise<void> {
    this.#left.set(id, statements);
    await this.#parts.sql.batch(statements);
    this.#left.delete(id);
  }

  /**
   * Acts that a crash interrupted: what the log has takes effect now, the rest never happened. Called when the logs of
   * former instances are in the index, inside `sql.exclusive`.
   */
  async resume(): Promise<void> {
    const { sql } = this.#parts;
    const rows = await sql.query({
      text: `SELECT a.* FROM archive_acts a JOIN archive_instances i ON i.instance = a.instance
        WHERE a.state = 'pending' AND i.complete = 1`,
    });
    for (const row of rows) {
      const { id, time, actor, rule, index } = toActRow(row);
      const statements =
        index === undefined
          ? [{ text: 'DELETE FROM archive_acts WHERE id = ?', values: [id] }]
          : [
              ...effectOf(parseDetail(textOf(row, 'detail')), { id, time, actor, rule }),
              { text: `UPDATE archive_acts SET state = 'done' WHERE id = ?`, values: [id] },
            ];
      await sql.batch(statements);
    }
  }
}

/** Every other failure is from before the entry had a place. */
function mayBeLogged(error: unknown): boolean {
  return isLogError(error, 'LOG_ENDED') || isLogError(error, 'LOG_DIVERGED');
}

/** Control characters, and halves of characters, which not every database takes. */
const UNWRITABLE = /[\p{Cc}\p{Cs}]/u;

function requireNames(actor: string, rule: string): void {
  const fits = (text: string, most: number): boolean =>
    text.length > 0 && text.length <= most && !UNWRITABLE.test(text);
  if (!fits(actor, MAX_ACTOR_LENGTH) || !fits(rule, MAX_RULE_LENGTH)) {
    throw new ArchiveError('ACT_REFUSED', 'actor or rule is empty, too long, or has control characters');
  }
}

export function toActRow(row: Row): ActRow {
  return {
    id: textOf(row, 'id'),
    time: numberOf(row, 'time'),
    act: textOf(row, 'act'),
    actor: textOf(row, 'actor'),
    rule: textOf(row, 'rule'),
    subject: toHex(bytesOf(row, 'subject')),
    count: numberOf(row, 'count'),
    detail: JSON.parse(textOf(row, 'detail')) as unknown,
    state: textOf(row, 'state'),
    instance: optional(row, 'instance', textOf),
    index: optional(row, 'idx', numberOf),
  };
}

/** Ids as bytes: hex ids as what they stand for, names as UTF-8. */
export function idBytes(id: string): Uint8Array {
  return /^(?:[0-9a-f]{2})+$/.test(id) ? fromHex(id) : utf8(id);
}
