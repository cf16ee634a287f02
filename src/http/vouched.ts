import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { Outcome } from '../../attestation/receipt/claims.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { commit, COMMITMENT_KEY_BYTES, PARAMETER_ITEMS } from '../../attestation/receipt/commitment.ts';
import type { ArchivedContent } from '../archive/contentRecord.ts';
import type { IssuedReceipt, ReceiptDraft, ResponseContent } from '../receipts/draft.ts';
import type { ModelRunner } from '../engine/engine.ts';
import { pinEngine } from '../engine/pinned.ts';
import type { Admission } from './admission.ts';
import { errorBody, errorValue } from './dialect.ts';
import { COMPLETE, type Ending, endingOf, ServiceError, toServiceError } from './errors.ts';
import { type Chunk, EventStream } from './eventStream.ts';
import type { Call, InferenceRoute, Named } from './inference.ts';
import type { CountedAnswer } from './monitoring/activity.ts';
import { type Lifetime, untilAborted } from './lifetime.ts';
import { drawRandom } from './randomPool.ts';
import type { ReceiptNotice, Reply } from './reply.ts';
import type { ServiceRequest } from './request.ts';

const JSON_TYPE = 'application/json';
const FRAMED_TYPE = 'application/octet-stream';
const ID_BYTES = 16;
const NOTHING = new Uint8Array(0);

/** Where content goes that is kept; `src/archive` has the one of the service. */
export interface AnswerArchive {
  readonly keepsContent: boolean;
  /** Throws where content is to be kept and cannot be. */
  requireContent(): void;
  keep(content: ArchivedContent, tenant: string | undefined): Promise<void>;
}

/** A receipt as this room needs it: of the document that it cites, the digest. */
export type Issued = Omit<IssuedReceipt, 'cited'> & { readonly cited: { readonly digest: Uint8Array } };

/** Who issues the receipts of answers. */
export interface Voucher {
  /** The newest evidence document. */
  readonly head: { readonly digest: Uint8Array };
  requireIssuing(): void;
  issue(draft: ReceiptDraft): Promise<Issued>;
  /** Resolves when a document covers the log entry. */
  covered(index: number): Promise<void>;
}

export interface VouchedParts {
  readonly engine: ModelRunner;
  readonly vouching: Voucher;
  readonly admission: Pick<Admission, 'start' | 'finish'>;
  /** Undefined where nothing is archived. */
  readonly archive?: AnswerArchive | undefined;
  /** False only for benchmarks. */
  readonly receipts: boolean;
  /** Told of failures that nobody foresaw. */
  readonly onUnexpected: (error: unknown) => void;
  /** Told of each answer that has a receipt. */
  readonly onIssued: (answer: CountedAnswer) => void;
  /** Names an answer; drawn at random unless an answer is made again. */
  readonly identify?: () => AnswerIdentity;
}

/** What identifies an answer: its receipt id, and the key of its commitments. */
export interface AnswerIdentity {
  readonly id: Uint8Array;
  readonly k: Uint8Array;
}

/** How long the work on an answer is worth it. */
type Lifespan = Pick<Lifetime, 'signal' | 'gone' | 'failure'>;

/** What logs say of an answer. */
export interface Served {
  readonly model: string;
  readonly outcome: Outcome;
  readonly code: string | undefined;
}

/** How the work ended. `body` is undefined where the answer went to the stream. */
interface Result {
  readonly ending: Ending;
  readonly body: Uint8Array | undefined;
  /** Bytes of JSON in the body, where raw tensors follow. */
  readonly jsonLength?: number | undefined;
  /** Undefined where all went well. */
  readonly failure: ServiceError | undefined;
}

/** One request with what identifies its answer. */
interface Exchange {
  readonly request: ServiceRequest;
  readonly reply: Reply;
  readonly lifetime: Lifespan;
  readonly id: Uint8Array;
  readonly k: Uint8Array;
  readonly call: Call<unknown>;
  readonly route: InferenceRoute;
}

function drawIdentity(): AnswerIdentity {
  const random = drawRandom(ID_BYTES + COMMITMENT_KEY_BYTES);
  return { id: random.subarray(0, ID_BYTES), k: random.subarray(ID_BYTES) };
}

function failureChunk({ route, call }: Exchange, failure: ServiceError): Chunk {
  return call.stream.failure(failure) ?? { text: JSON.stringify(errorValue(route.dialect, failure)) };
}

/** The one place where answers are made and vouched for. Order: run, sign, append, sync, send (DESIGN section 6). */
export class Vouched {
  readonly #parts: VouchedParts;

  constructor(parts: VouchedParts) {
    this.#parts = parts;
  }

  /**
   * Answers one request and says how that ended. Throws `ServiceError` where it is not admitted or cannot be vouched
   * for.
   */
  async serve(
    route: InferenceRoute,
    request: ServiceRequest,
    reply: Reply,
    lifetime: Lifespan,
  ): Promise<Served> {
    const { engine, vouching, receipts, admission } = this.#parts;
    const named = route.name(request, engine);
    if (receipts) {
      vouching.requireIssuing();
      this.#parts.archive?.requireContent();
    }
    await admission.start(lifetime.signal);
    let exchange: Exchange;
    let result: Result;
    try {
      exchange = this.#open(route, request, reply, lifetime, named);
      result = await this.#run(exchange);
    } finally {
      admission.finish();
    }
    if (result.body) await this.#sendBody(exchange, result, result.body);
    else await this.#endStream(exchange, result);
    return { model: named.model.id, outcome: result.ending.outcome, code: result.failure?.code };
  }

  #open(
    route: InferenceRoute,
    request: ServiceRequest,
    reply: Reply,
    lifetime: Lifespan,
    { model, input }: Named<unknown>,
  ): Exchange {
    const { engine, receipts, identify = drawIdentity } = this.#parts;
    const { id, k } = identify();
    const notice = receipts ? (): ReceiptNotice => this.#notice(id, k) : undefined;
    const parameters: Call<unknown>['parameters'] = new Map();
    const stream = new EventStream(reply, id, k, notice);
    if (this.#parts.archive?.keepsContent) stream.keepChunks();
    const call: Call<unknown> = {
      model,
      input,
      engine: pinEngine(engine, model, {
        scope: request.tenant ?? '',
        // Rows that shared a run may round otherwise than alone.
        onRows: (rows) => parameters.set('batch_rows', String(rows)),
      }),
      receiptId: toHex(id),
      signal: lifetime.signal,
      stream,
      parameters,
      commitParameter: (name, value) => {
        const bytes = utf8(JSON.stringify(value));
        parameters.set(name, commit(k, id, 'parameter', PARAMETER_ITEMS[name], bytes, nodeCrypto));
      },
      usage: new Map(),
    };
    return { request, reply, lifetime, id, k, call, route };
  }

  /** What a stream says before it begins; the receipt may cite a newer document. */
  #notice(id: Uint8Array, k: Uint8Array): ReceiptNotice {
    return { id, k, evidence: this.#parts.vouching.head.digest };
  }

  async #run({ route, call, lifetime }: Exchange): Promise<Result> {
    try {
      const answer = await route.answer(call);
      // The work may end without having heard of it. What is not sent is not committed to.
      if (lifetime.gone) throw new ServiceError('CANCELLED', 'the client went away');
      if (answer === undefined || answer instanceof Uint8Array) {
        return { ending: COMPLETE, body: answer, failure: undefined };
      }
      return { ending: COMPLETE, body: answer.bytes, jsonLength: answer.jsonLength, failure: undefined };
    } catch (error) {
      const failure = lifetime.failure ?? toServiceError(error);
      const ending = endingOf(failure);
      if (!ending) throw failure;
      if (failure.code === 'INTERNAL') this.#parts.onUnexpected(error);
      const body = failure.code === 'CANCELLED' ? NOTHING : errorBody(route.dialect, failure);
      return { ending, body: call.stream.begun ? undefined : body, failure };
    }
  }

  async #sendBody(
    exchange: Exchange,
    { ending, failure, jsonLength }: Result,
    body: Uint8Array,
  ): Promise<void> {
    const { reply, lifetime, id, k } = exchange;
    const issued = await this.#issue(exchange, ending, { kind: 'body', body });
    const covered = issued && (await this.#covered(exchange, issued));
    if (lifetime.gone) return;
    const receipt = issued && { id, k, evidence: issued.cited.digest, covered, encoded: issued.encoded };
    const status = failure?.status ?? 200;
    const contentType = jsonLength === undefined ? JSON_TYPE : FRAMED_TYPE;
    const head = { status, contentType, jsonLength, retryAfter: failure?.retryAfter, receipt, failure };
    await reply.send(head, body);
  }

  async #endStream(exchange: Exchange, { ending, failure }: Result): Promise<void> {
    const { stream } = exchange.call;
    if (failure) {
      const { text, event } = failureChunk(exchange, failure);
      if (failure.code !== 'CANCELLED') stream.data(text, event);
    } else {
      stream.commitDone();
    }
    const issued = await this.#issueStream(exchange, ending);
    if (!issued.failed) {
      if (!failure) stream.done();
      await this.#sendReceipt(exchange, issued.receipt);
    }
    await stream.end();
  }

  async #issueStream(
    exchange: Exchange,
    ending: Ending,
  ): Promise<{ readonly failed: boolean; readonly receipt: Issued | undefined }> {
    const { stream } = exchange.call;
    const content = stream.content();
    try {
      const receipt = content && (await this.#issue(exchange, ending, content));
      return { failed: false, receipt };
    } catch (error) {
      // Without its last chunk the client knows that the answer is not whole.
      stream.unvouched(failureChunk(exchange, toServiceError(error)));
      return { failed: true, receipt: undefined };
    }
  }

  async #sendReceipt(exchange: Exchange, receipt: Issued | undefined): Promise<void> {
    if (!receipt) return;
    await this.#covered(exchange, receipt);
    exchange.call.stream.receipt(receipt.id, receipt.encoded);
  }

  /** Undefined where no receipts are issued. */
  async #issue(
    { request, id, k, call }: Exchange,
    { outcome, reason }: Ending,
    response: ResponseContent,
  ): Promise<Issued | undefined> {
    if (!this.#parts.receipts) return undefined;
    const { nonce, channel, method, path, tenant } = request;
    const { model, parameters, usage } = call;
    const draft = { id, k, nonce, channel, method, path, model, parameters, tenant, outcome, reason, usage };
    await this.#archive({ request, id, k, call }, response);
    const issued = await this.#parts.vouching.issue({ ...draft, request: request.bytes, response });
    this.#parts.onIssued(draft);
    return issued;
  }

  /** Content is durable before its receipt is: no receipt speaks of an answer whose content was to be kept and is not. */
  async #archive(
    { request, id, k, call }: Pick<Exchange, 'request' | 'id' | 'k' | 'call'>,
    response: ResponseContent,
  ): Promise<void> {
    const { archive } = this.#parts;
    if (!archive?.keepsContent) return;
    const kept: ArchivedContent['response'] =
      response.kind === 'body' ? response : { kind: 'stream', chunks: call.stream.chunks };
    await archive.keep({ receipt: id, k, request: request.bytes, response: kept }, request.tenant);
  }

  /** Whether the receipt is covered, where the client waits for that; undefined where it does not. */
  async #covered({ request, lifetime }: Exchange, { index }: Issued): Promise<boolean | undefined> {
    if (!request.fresh) return undefined;
    const waited = this.#parts.vouching.covered(index).then(() => true);
    return (await untilAborted(waited, lifetime.signal)) ?? false;
  }
}
