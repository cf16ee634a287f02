import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import type { Sha256 } from '../../attestation/crypto/provider.ts';
import { LogError } from './errors.ts';
import { evidencePath } from './layout.ts';
import type { LogFiles } from './storage.ts';

/** The newest evidence document of a log. */
export interface EvidenceHead {
  readonly seq: number;
  /** SHA-256 of the document. */
  readonly digest: Uint8Array;
}

/** Evidence documents of one log, written once and in order. The head's digest lives in memory. */
export class EvidenceStore {
  readonly #files: LogFiles;
  readonly #sha256: Sha256;
  #head: EvidenceHead | undefined;

  constructor(files: LogFiles, sha256: Sha256) {
    this.#files = files;
    this.#sha256 = sha256;
  }

  get head(): EvidenceHead | undefined {
    return this.#head;
  }

  async write(seq: number, document: Uint8Array): Promise<void> {
    const next = this.#head ? this.#head.seq + 1 : 0;
    if (seq !== next) throw new LogError('EVIDENCE_REFUSED', `document ${seq} was given, ${next} is next`);
    await this.check();
    await this.#files.write(evidencePath(seq), document);
    this.#head = { seq, digest: this.#sha256(document) };
  }

  async read(seq: number): Promise<Uint8Array> {
    if (!this.#head || seq > this.#head.seq) {
      throw new LogError('LOG_OUT_OF_RANGE', `there is no evidence document ${seq}`);
    }
    const document = await this.#files.read(evidencePath(seq));
    if (!document) throw new LogError('LOG_CORRUPT', `evidence document ${seq} is missing`);
    return document;
  }

  /** Refuses as `LOG_DIVERGED` where the newest document as stored is not the one that was written. */
  async check(): Promise<void> {
    if (!this.#head) return;
    const { seq, digest } = this.#head;
    const document = await this.#files.read(evidencePath(seq));
    if (!document || !equalBytes(this.#sha256(document), digest)) {
      throw new LogError('LOG_DIVERGED', `evidence document ${seq} is no longer ${toHex(digest)}`);
    }
  }
}
