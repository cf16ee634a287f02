import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fromUtf8, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { type CheckpointBody, parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { verifyCosignature } from '../../attestation/log/cosignature.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { encodeVkey, parseVkey, type Vkey } from '../../attestation/log/vkey.ts';
import { makeFolder, readIfPresent, writeInFolder } from '../log/files.ts';
import { WitnessError } from './errors.ts';

const sha256 = sha256With(nodeCrypto);
/** A log that contradicts itself is convicted by one pair of heads. */
const MAX_CONTRADICTIONS = 16;

/** The newest head of a log that this witness cosigned. */
export interface RecordedHead {
  readonly body: CheckpointBody;
  /** Signed note with the log's signatures and our cosignature. */
  readonly note: Uint8Array;
  /** Of our cosignature, seconds since 1970. */
  readonly time: number;
}

/** Lower-case hex that stands for an origin in paths (C2SP tlog-witness, monitor retrieval). */
export function originHash(origin: string): string {
  return toHex(sha256(utf8(origin)));
}

/**
 * What a witness remembers, durably: `heads/<hash>` the newest cosigned checkpoint of each log, `keys/<hash>` the
 * first key of logs that services named, `contradictions/<hash>-<digest>` heads that a log signed against its own history.
 * Our own cosignature is checked when a head is read, so that only who holds the key could have written it; an older
 * file put back is not noticed, and lets a log fork from there.
 */
export class Records {
  readonly #directory: string;
  readonly #vkey: Vkey;
  readonly #heads = new Map<string, RecordedHead>();

  constructor(directory: string, vkey: Vkey) {
    this.#directory = directory;
    this.#vkey = vkey;
  }

  /** Undefined where nothing of the log was cosigned. */
  async head(origin: string): Promise<RecordedHead | undefined> {
    const hash = originHash(origin);
    const known = this.#heads.get(hash);
    if (known) return known;
    const note = await readIfPresent(join(this.#directory, 'heads', hash));
    if (!note) return undefined;
    const head = await this.#readHead(origin, note);
    this.#heads.set(hash, head);
    return head;
  }

  async #readHead(origin: string, bytes: Uint8Array): Promise<RecordedHead> {
    try {
      const note = parseNote(bytes);
      const body = parseCheckpoint(note.text);
      if (body.origin !== origin) throw new Refusal('CHECKPOINT_MISMATCH', `it is of ${body.origin}`);
      const { time } = await verifyCosignature(note, this.#vkey, nodeCrypto);
      return { body, note: bytes, time };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const detail = `the record of ${origin}: ${error.message}`;
      throw new WitnessError('STATE_CORRUPT', detail, { cause: error });
    }
  }

  /** Durable when it resolves: only then may the cosignature leave this process. */
  async write(origin: string, head: RecordedHead): Promise<void> {
    const hash = originHash(origin);
    await writeInFolder(join(this.#directory, 'heads', hash), head.note);
    this.#heads.set(hash, head);
  }

  /** What a monitor gets: the newest cosigned checkpoint by the hash of its origin. */
  async noteOf(hash: string): Promise<Uint8Array | undefined> {
    return this.#heads.get(hash)?.note ?? (await readIfPresent(join(this.#directory, 'heads', hash)));
  }

  async learnedKey(origin: string): Promise<Vkey | undefined> {
    const line = await readIfPresent(join(this.#directory, 'keys', originHash(origin)));
    return line && parseVkey(fromUtf8(line).trim(), sha256);
  }

  async learnKey(vkey: Vkey): Promise<void> {
    const path = join(this.#directory, 'keys', originHash(vkey.name));
    await writeInFolder(path, utf8(`${encodeVkey(vkey)}\n`));
  }

  /** Keeps a head that the log signed and that does not follow from the recorded one. */
  async keepContradiction(origin: string, note: Uint8Array): Promise<void> {
    const folder = join(this.#directory, 'contradictions');
    const prefix = `${originHash(origin)}-`;
    await makeFolder(folder);
    const kept = (await readdir(folder)).filter((name) => name.startsWith(prefix));
    const name = prefix + toHex(sha256(note)).slice(0, 16);
    if (kept.length >= MAX_CONTRADICTIONS || kept.includes(name)) return;
    await writeInFolder(join(folder, name), note);
  }
}
