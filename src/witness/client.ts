import { fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { verifyCosignature } from '../../attestation/log/cosignature.ts';
import { formatNote, type NoteSignature, parseNote, parseSignature } from '../../attestation/log/note.ts';
import { parseVkey, type Vkey } from '../../attestation/log/vkey.ts';
import {
  askOutsider,
  type Confirmation,
  type Outsider,
  type OutsiderAnswer,
  OutsiderError,
  type OutsiderErrorCode,
  type SignedHead,
} from '../receipts/outsider.ts';
import { encodeAddCheckpoint, parseSize, SIZE_TYPE } from './request.ts';

/** A witness may answer with lines of several keys. */
const MAX_ANSWER_BYTES = 16 * 1024;
const MAX_LINES = 16;
const TIMEOUT_MS = 10_000;

/** The log's side: where consistency proofs come from. */
export interface ProofSource {
  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]>;
}

export interface WitnessClientOptions {
  /** Submission prefix. */
  readonly url: string;
  /** Type 0x04. */
  readonly vkey: Vkey;
  readonly log: ProofSource;
  readonly timeoutMs?: number;
}

/** The client of a witness as the configuration names it. */
export function makeWitnessClient(
  { url, vkey }: { readonly url: string; readonly vkey: string },
  log: ProofSource,
): WitnessClient {
  return new WitnessClient({ url, vkey: parseVkey(vkey, sha256With(nodeCrypto)), log });
}

const REFUSALS: Readonly<Record<number, OutsiderErrorCode>> = {
  400: 'REQUEST_REFUSED',
  403: 'LOG_KEY_REFUSED',
  404: 'LOG_UNKNOWN',
  409: 'CONTRADICTED',
  422: 'CONTRADICTED',
};

/** Has a witness cosign heads of this log (C2SP tlog-witness). */
export class WitnessClient implements Outsider {
  readonly kind = 'witness';
  readonly #options: WitnessClientOptions;
  /** Size that the witness cosigned last: a new instance has a new log. */
  #cosigned = 0;

  constructor(options: WitnessClientOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.vkey.name;
  }

  async confirm(head: SignedHead, signal: AbortSignal): Promise<Confirmation> {
    const first = await this.#submit(head, signal);
    const recorded = this.#recordedSize(first);
    if (recorded === undefined) return this.#accept(head, first);
    // The witness knows better, for instance where its answer was lost: once more from there.
    if (recorded > head.size) {
      const detail = `it has cosigned ${recorded} entries of this log, which has ${head.size}`;
      throw this.#error('CONTRADICTED', detail);
    }
    this.#cosigned = recorded;
    return this.#accept(head, await this.#submit(head, signal));
  }

  async #submit({ size, note }: SignedHead, signal: AbortSignal): Promise<OutsiderAnswer> {
    const { url, log, timeoutMs = TIMEOUT_MS } = this.#options;
    const oldSize = this.#cosigned;
    const needsProof = oldSize > 0 && oldSize < size;
    const path = needsProof ? await log.consistencyProof(oldSize, size) : [];
    return askOutsider({
      url: `${url.replace(/\/$/, '')}/add-checkpoint`,
      type: 'text/plain; charset=utf-8',
      body: encodeAddCheckpoint({ oldSize, path, checkpoint: note }),
      maxBytes: MAX_ANSWER_BYTES,
      signal,
      timeoutMs,
    });
  }

  /** The size that a 409 names; undefined for other answers. */
  #recordedSize({ status, type, body }: OutsiderAnswer): number | undefined {
    if (status !== 409 || type !== SIZE_TYPE) return undefined;
    return this.#reading(() => {
      const text = fromUtf8(body);
      return parseSize(text.endsWith('\n') ? text.slice(0, -1) : text);
    });
  }

  async #accept(head: SignedHead, answer: OutsiderAnswer): Promise<Confirmation> {
    const { status, body } = answer;
    // Another size again: somebody else has submitted a head of this log meanwhile.
    const refusal = this.#recordedSize(answer) === undefined ? REFUSALS[status] : undefined;
    if (refusal) throw this.#error(refusal, `it answers ${status}`);
    if (status !== 200) throw this.#error('STATUS', `it answers ${status}`);
    const signature = this.#reading(() => this.#ownLine(body));
    await this.#requireValid(head, signature);
    this.#cosigned = head.size;
    return { kind: 'cosignature', signature };
  }

  /** The line of the configured key; those of others are ignored. */
  #ownLine(body: Uint8Array): NoteSignature {
    const text = fromUtf8(body);
    const lines = text.split('\n').slice(0, -1);
    if (!text.endsWith('\n') || lines.length > MAX_LINES) {
      throw new Refusal('MALFORMED', 'its answer is not a few lines');
    }
    const { name, keyId } = this.#options.vkey;
    const own = lines.map(parseSignature).find((line) => line.name === name && line.keyId === keyId);
    if (!own) throw new Refusal('SIGNATURE_INVALID', 'no line is by the configured key');
    return own;
  }

  async #requireValid({ text }: SignedHead, signature: NoteSignature): Promise<void> {
    try {
      await verifyCosignature(parseNote(formatNote(text, [signature])), this.#options.vkey, nodeCrypto);
    } catch (error) {
      if (error instanceof Refusal) throw this.#error('ANSWER_INVALID', error.message, error);
      throw error;
    }
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof Refusal) throw this.#error('ANSWER_INVALID', error.message, error);
      throw error;
    }
  }

  #error(code: OutsiderErrorCode, detail: string, cause?: unknown): OutsiderError {
    return new OutsiderError(code, `witness ${this.name}: ${detail}`, { cause });
  }
}
