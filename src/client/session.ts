import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { ReceiptResult } from '../../attestation/appraise.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import type { Answer, AnswerStream } from './answer.ts';
import { ClientError } from './errors.ts';
import { wirePath } from './http.ts';
import { fetchManifest, fetchModels, type OfferedModel } from './models.ts';
import { leastMode, ReceiptChecks, refusal, type ReceiptMode, type VerifiedAnswer } from './receiptChecks.ts';
import type { ReceiptStore } from './receiptStore.ts';
import { exchangeSealed, type SealedWay } from './sealedExchange.ts';
import { SessionFetch, type FetchLike } from './sessionFetch.ts';
import { sendPlain } from './unbound.ts';

const ANSWER_TIMEOUT_MS = 10 * 60_000;

export interface ClientRequest {
  /** With query, from `/`. */
  readonly path: string;
  readonly body: Uint8Array | string;
  /** `application/json` by default. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
}

export interface BundleOptions {
  /** Wait until a later hardware report covers the receipt. */
  readonly fresh?: boolean;
}

/** A receipt that was judged by its bundle. */
export interface Verification extends ReceiptResult {
  readonly bundle: Uint8Array;
}

/** What `connect` made sure of before the session. */
export interface SessionParts extends SealedWay {
  readonly policy: Policy;
  readonly now: () => number;
  readonly receipts: ReceiptMode | undefined;
  readonly store: ReceiptStore | undefined;
  readonly onReceipt: ((verification: VerifiedAnswer) => void) | undefined;
}

/** A service whose evidence was accepted. Everything is sealed to the keys of that evidence. */
export class Session {
  /**
   * A `fetch` for any client of the service's API, also apart from this object. POST requests go sealed; whole answers
   * are given once their receipts are accepted, of streams the end.
   */
  readonly fetch: FetchLike;
  readonly #parts: SessionParts;
  readonly #checks: ReceiptChecks;
  readonly #fetching: SessionFetch;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    this.#checks = new ReceiptChecks(parts.service, parts.renewal);
    this.#fetching = new SessionFetch({ ...parts, checks: this.#checks });
    this.fetch = (input, init) => this.#fetching.fetch(input, init);
  }

  /** Verdict over the evidence that this session rests on: the newest that was accepted. */
  get verdict(): Verdict {
    return this.#parts.renewal.trust.verdict;
  }

  /** The verified evidence document. */
  get document(): EvidenceDocument {
    return this.#parts.renewal.trust.document;
  }

  /** Lower-case hex. */
  get keysetDigest(): string {
    return toHex(this.document.statement.keysetDigest);
  }

  /** Address of the API as OpenAI's clients want it. */
  get baseURL(): string {
    return `${this.#parts.service.base}/v1`;
  }

  /** Asks for new evidence and judges it. Throws a `ClientError` unless it is accepted. */
  async renew(): Promise<Verdict> {
    const { renewal } = this.#parts;
    return (await renewal.renew(renewal.trust)).verdict;
  }

  /** The models that the service says it has. Not sealed: the receipt says which one answered. */
  async models(): Promise<readonly OfferedModel[]> {
    await this.#parts.renewal.current();
    return fetchModels(this.#parts.service);
  }

  /** Encoded manifest of a model, not judged: what a receipt states is its SHA-256. */
  async manifest(model: string): Promise<Uint8Array> {
    await this.#parts.renewal.current();
    return fetchManifest(this.#parts.service, model);
  }

  /** Sends one sealed POST request and opens the whole answer. An HTTP error inside the seal is an answer too. */
  async send(request: ClientRequest): Promise<Answer> {
    const stream = await this.stream(request);
    return stream.finish();
  }

  /** Sends one sealed POST request; the answer is read chunk by chunk as it comes. */
  async stream(request: ClientRequest): Promise<AnswerStream> {
    const { contentType = 'application/json', signal } = request;
    const [path, body] = [wirePath(request.path), bytesOf(request.body)];
    return exchangeSealed(this.#parts, { path, body, contentType, signal });
  }

  /** Sends one request in the clear, to this machine only: whoever serves the port reads it. */
  async sendUnbound(request: ClientRequest): Promise<Answer> {
    const { service, renewal } = this.#parts;
    const { contentType = 'application/json', signal } = request;
    const [path, body] = [wirePath(request.path), bytesOf(request.body)];
    const headers = { 'content-type': contentType };
    const exchange = { method: 'POST', path, headers, body, timeoutMs: ANSWER_TIMEOUT_MS, signal } as const;
    return sendPlain(service, exchange, (await renewal.current()).document);
  }

  /** A receipt by id (32 hex), as issued and not judged. */
  async receipt(id: string, options: BundleOptions = {}): Promise<Uint8Array> {
    return this.#checks.fetchReceipt(id, options);
  }

  /** A receipt with everything that a verifier needs, as issued and not judged. */
  async bundle(id: string, options: BundleOptions = {}): Promise<Uint8Array> {
    return this.#checks.fetchBundle(id, options);
  }

  /** Judges a bundle against an answer of this session: content, nonce, and the keyset that was sealed to. */
  async judge(bundle: Uint8Array, answer: Answer): Promise<Verification> {
    return { ...(await this.#checks.judgeBundle(bundle, answer)), bundle };
  }

  /**
   * Fetches and judges the bundle of an answer; throws unless it is accepted. Where the policy requires coverage, it
   * waits for the hardware report that covers the receipt.
   */
  async verify(answer: Answer, options: BundleOptions = {}): Promise<Verification> {
    if (answer.receiptId === undefined) {
      throw new ClientError('RECEIPT_MISSING', `HTTP ${answer.status} came without a receipt`);
    }
    const { fresh = leastMode(this.#parts.policy) === 'covered' } = options;
    const result = await this.judge(await this.bundle(answer.receiptId, { fresh }), answer);
    if (result.verdict.decision === 'accepted') return result;
    throw refusal(result.verdict);
  }

  /**
   * The judged receipt of a response of `session.fetch`: of a stream, once its end was read. It rejects where the
   * receipt is refused, and gives undefined where there is none, as of a page that is read openly.
   */
  verificationOf(response: Response): Promise<VerifiedAnswer | undefined> {
    return this.#fetching.verificationOf(response);
  }
}

function bytesOf(body: Uint8Array | string): Uint8Array {
  return typeof body === 'string' ? utf8(body) : body;
}
