import { equalBytes, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { type CheckpointBody, parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { emptyRoot, verifyConsistency } from '../../attestation/log/merkle.ts';
import {
  formatNote,
  type Note,
  type NoteSignature,
  parseNote,
  verifyNote,
} from '../../attestation/log/note.ts';
import { ed25519Verifier, type Vkey } from '../../attestation/log/vkey.ts';
import type { WitnessKey } from './key.ts';
import type { LogList } from './logList.ts';
import type { Records } from './records.ts';
import { type AddCheckpoint, parseAddCheckpoint, SIZE_TYPE } from './request.ts';
import type { ServiceKeys } from './serviceKeys.ts';

const sha256 = sha256With(nodeCrypto);

/** Answer to add-checkpoint; the table of statuses is that of C2SP tlog-witness v1.0.0. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422 | 503;
  readonly type: string;
  readonly body: Uint8Array;
}

/** What operators are told of one request. */
export interface WitnessEvent {
  readonly status: number;
  readonly origin: string | undefined;
  readonly reason: string;
}

export interface WitnessParts {
  readonly key: WitnessKey;
  readonly records: Records;
  readonly logs: { current(): Promise<LogList> };
  readonly services: ServiceKeys;
  readonly now: () => number;
  readonly onEvent: (event: WitnessEvent) => void;
}

/** A request that is refused, with the status that says so. */
class Refused extends Error {
  readonly status: 400 | 403 | 404 | 422 | 503;
  constructor(status: Refused['status'], message: string) {
    super(message);
    this.status = status;
  }
}

interface Submission {
  readonly request: AddCheckpoint;
  readonly note: Note;
  readonly body: CheckpointBody;
}

interface SignedSubmission extends Submission {
  /** Those of known keys of the log, verified. Others were not looked at. */
  readonly signatures: readonly NoteSignature[];
}

/**
 * Cosigns heads of logs that it knows, each only where it follows from the one before: whoever shows another history
 * of a log finds no cosignature for it. It sees heads and no entries.
 */
export class Witness {
  readonly #parts: WitnessParts;
  /** End of the work on each log: checking and storing a head is one step. */
  readonly #work = new Map<string, Promise<unknown>>();

  constructor(parts: WitnessParts) {
    this.#parts = parts;
  }

  get vkey(): Vkey {
    return this.#parts.key.vkey;
  }

  /** The newest cosigned checkpoint by the hash of its origin; undefined where there is none. */
  checkpointOf(hash: string): Promise<Uint8Array | undefined> {
    return this.#parts.records.noteOf(hash);
  }

  /** Answers add-checkpoint. */
  async addCheckpoint(bytes: Uint8Array): Promise<WitnessAnswer> {
    let origin: string | undefined;
    try {
      const received = readSubmission(bytes);
      ({ origin } = received.body);
      const submission = await this.#requireSigned(received);
      if (submission.request.oldSize > submission.body.size) {
        throw new Refused(400, 'the old size is above that of the checkpoint');
      }
      const answer = await this.#inTurn(origin, () => this.#decide(submission));
      this.#tell({ status: answer.status, origin, reason: `a head of ${submission.body.size} entries` });
      return answer;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#tell({ status: error.status, origin, reason: error.message });
      return text(error.status, `${error.message}\n`);
    }
  }

  async #requireSigned(received: Submission): Promise<SignedSubmission> {
    const { note } = received;
    const keys = await this.#keysOf(received.body.origin);
    if (keys.length === 0) throw new Refused(404, 'the log is not known here');
    try {
      const known = keys.map((vkey) => ed25519Verifier(vkey, nodeCrypto));
      const { signers } = await verifyNote(note, known);
      const isVerified = ({ name, keyId }: NoteSignature) =>
        signers.some((signer) => signer.name === name && signer.keyId === keyId);
      return { ...received, signatures: note.signatures.filter(isVerified) };
    } catch (error) {
      if (error instanceof Refusal) throw new Refused(403, 'no known key of the log signed the checkpoint');
      throw error;
    }
  }

  async #keysOf(origin: string): Promise<readonly Vkey[]> {
    const { logs, services, records } = this.#parts;
    const list = await logs.current();
    const listed = list.logs.filter(({ name }) => name === origin);
    if (listed.length > 0) return listed;
    if (list.services.length === 0) return [];
    const learned = await records.learnedKey(origin);
    if (learned) return [learned];
    const found = await services.keyOf(origin, list.services);
    if (!found) return [];
    return this.#inTurn(origin, async () => {
      // The first key counts, whoever asked meanwhile.
      const first = (await records.learnedKey(origin)) ?? found;
      if (first === found) await records.learnKey(found);
      return [first];
    });
  }

  /** Compares with what is recorded, and records before it answers. Runs alone for its log. */
  async #decide({ request, note, body, signatures }: SignedSubmission): Promise<WitnessAnswer> {
    const { key, records, now } = this.#parts;
    const recorded = await records.head(body.origin);
    const size = recorded?.body.size ?? 0;
    if (request.oldSize !== size) return text(409, `${size}\n`, SIZE_TYPE);
    try {
      requireExtension(recorded?.body, request, body);
    } catch (error) {
      if (error instanceof Refused) await records.keepContradiction(body.origin, request.checkpoint);
      throw error;
    }
    const time = Math.floor(now() / 1000);
    if (time < (recorded?.time ?? 0)) throw new Refused(503, 'the clock of the witness went back');
    const cosignature = key.cosign(note.signedBytes, time);
    const cosigned = formatNote(note.text, [...signatures, cosignature]);
    await records.write(body.origin, { body, note: cosigned, time });
    return text(200, signatureLines(formatNote(note.text, [cosignature]), note.text));
  }

  #inTurn<T>(origin: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#work.get(origin) ?? Promise.resolve()).then(work);
    const settled = turn.catch(() => undefined);
    this.#work.set(origin, settled);
    void settled.then(() => {
      if (this.#work.get(origin) === settled) this.#work.delete(origin);
    });
    return turn;
  }

  #tell(event: WitnessEvent): void {
    this.#parts.onEvent(event);
  }
}

function readSubmission(bytes: Uint8Array): Submission {
  try {
    const request = parseAddCheckpoint(bytes);
    const note = parseNote(request.checkpoint);
    return { request, note, body: parseCheckpoint(note.text) };
  } catch (error) {
    if (error instanceof Refusal) throw new Refused(400, error.message);
    throw error;
  }
}

/** Throws 422 where the head does not follow from the recorded one. */
function requireExtension(
  recorded: CheckpointBody | undefined,
  { oldSize, path }: AddCheckpoint,
  body: CheckpointBody,
): void {
  if (body.size === 0 && !equalBytes(body.root, emptyRoot(sha256))) {
    throw new Refused(422, 'the root of an empty log is another');
  }
  if ((oldSize === 0 || oldSize === body.size) && path.length > 0) {
    throw new Refused(422, 'nothing is to be proved between these sizes');
  }
  if (!recorded || oldSize === 0) return;
  if (oldSize === body.size) {
    if (equalBytes(recorded.root, body.root)) return;
    throw new Refused(422, 'a head of this size with another root was cosigned');
  }
  try {
    verifyConsistency(sha256, { size1: oldSize, size2: body.size, path }, recorded.root, body.root);
  } catch (error) {
    if (error instanceof Refusal) throw new Refused(422, error.message);
    throw error;
  }
}

/** The lines below the text of a note. */
function signatureLines(note: Uint8Array, noteText: string): string {
  return Buffer.from(note)
    .toString('utf8')
    .slice(noteText.length + 1);
}

function text(
  status: WitnessAnswer['status'],
  body: string,
  type = 'text/plain; charset=utf-8',
): WitnessAnswer {
  return { status, type, body: utf8(body) };
}
