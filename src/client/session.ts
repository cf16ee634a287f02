import { appraiseBundle, type ReceiptResult } from '../../attestation/appraise.ts';
import { MAX_BUNDLE_BYTES, parseBundle } from '../../attestation/bundle/bundle.ts';
import { equalBytes, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { ENCAPSULATED_KEY_HEADER, SEALED_CONTENT_TYPE, sealRequest } from '../../attestation/channel/hpke.ts';
import { encodeSealedRequest } from '../../attestation/channel/sealed.ts';
import { fail } from '../../attestation/checks.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { parseDocument, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import { decide, tierOf, type Verdict } from '../../attestation/verdict/verdict.ts';
import { AnswerStream, type Answer } from './answer.ts';
import { freshNonce } from './attestation.ts';
import { ClientError } from './errors.ts';
import { fetchManifest, fetchModels, type OfferedModel } from './models.ts';
import { readBody, rejection, send, wirePath, type Service } from './http.ts';
import { openResponse } from './sealedResponse.ts';
import { sendPlain } from './unbound.ts';

/** Largest receipt, bytes. */
const MAX_RECEIPT_BYTES = 1024 * 1024;
const ANSWER_TIMEOUT_MS = 10 * 60_000;
/** A fresh bundle waits for the next evidence document. */
const BUNDLE_TIMEOUT_MS = 5 * 60_000;

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

export interface Verification extends ReceiptResult {
  readonly bundle: Uint8Array;
}

/** What `connect` made sure of before the session. */
export interface SessionParts {
  readonly service: Service;
  /** Of the accepted evidence. */
  readonly verdict: Verdict;
  readonly document: EvidenceDocument;
  readonly context: () => AppraisalContext;
}

/** A service whose evidence was accepted. Everything is sealed to the keys of that evidence. */
export class Session {
  readonly #parts: SessionParts;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  /** Verdict over the evidence that this session rests on. */
  get verdict(): Verdict {
    return this.#parts.verdict;
  }

  /** The verified evidence document. */
  get document(): EvidenceDocument {
    return this.#parts.document;
  }

  /** Lower-case hex. */
  get keysetDigest(): string {
    return toHex(this.document.statement.keysetDigest);
  }

  /** The models that the service says it has. Not sealed: the receipt says which one answered. */
  async models(): Promise<readonly OfferedModel[]> {
    return fetchModels(this.#parts.service);
  }

  /** Encoded manifest of a model, not judged: what a receipt states is its SHA-256. */
  async manifest(model: string): Promise<Uint8Array> {
    return fetchManifest(this.#parts.service, model);
  }

  /** Sends one sealed POST request and opens the whole answer. An HTTP error inside the seal is an answer too. */
  async send(request: ClientRequest): Promise<Answer> {
    const stream = await this.stream(request);
    return stream.finish();
  }

  /** Sends one sealed POST request; the answer is read chunk by chunk as it comes. */
  async stream(request: ClientRequest): Promise<AnswerStream> {
    const { service, document } = this.#parts;
    const { contentType = 'application/json', signal } = request;
    const [path, body, nonce] = [wirePath(request.path), bytesOf(request.body), freshNonce()];
    const hpke = document.keyset.hpke[0];
    if (!hpke) throw new ClientError('BAD_ANSWER', 'the verified keyset has no HPKE key');
    const inner = encodeSealedRequest({ nonce, method: 'POST', path, contentType, body });
    const sealed = await sealRequest(hpke.publicKey, inner);
    const headers = { 'content-type': SEALED_CONTENT_TYPE, [ENCAPSULATED_KEY_HEADER]: toHex(sealed.enc) };
    const outer = { method: 'POST', path, headers, body: sealed.body, timeoutMs: ANSWER_TIMEOUT_MS } as const;
    const response = await send(service, { ...outer, signal });
    return new AnswerStream(await openResponse(sealed, response), nonce, body);
  }

  /** Sends one request in the clear, to this machine only: whoever serves the port reads it. */
  async sendUnbound(request: ClientRequest): Promise<Answer> {
    const { contentType = 'application/json', signal } = request;
    const [path, body] = [wirePath(request.path), bytesOf(request.body)];
    return sendPlain(this.#parts.service, {
      method: 'POST',
      path,
      headers: { 'content-type': contentType },
      body,
      timeoutMs: ANSWER_TIMEOUT_MS,
      signal,
    });
  }

  /** A receipt by id (32 hex), as issued and not judged. */
  async receipt(id: string, options: BundleOptions = {}): Promise<Uint8Array> {
    return this.#fetch(`/v1/receipts/${receiptId(id)}`, options, MAX_RECEIPT_BYTES);
  }

  /** A receipt with everything that a verifier needs, as issued and not judged. */
  async bundle(id: string, options: BundleOptions = {}): Promise<Uint8Array> {
    return this.#fetch(`/v1/receipts/${receiptId(id)}/bundle`, options, MAX_BUNDLE_BYTES);
  }

  /** Judges a bundle against an answer of this session: content, nonce, and the keyset that was sealed to. */
  async judge(bundle: Uint8Array, answer: Answer): Promise<Verification> {
    const result = await appraiseBundle(bundle, exchangeOf(answer), this.#parts.context());
    return { ...this.#sameKeyset(result, bundle), bundle };
  }

  /**
   * Fetches and judges the bundle of an answer; throws unless it is accepted. Where the policy requires coverage, it
   * waits for the hardware report that covers the receipt.
   */
  async verify(answer: Answer, options: BundleOptions = {}): Promise<Verification> {
    if (answer.receiptId === undefined) {
      throw new ClientError('RECEIPT_MISSING', `HTTP ${answer.status} came without a receipt`);
    }
    const { fresh = this.#parts.context().policy.coverage === 'required' } = options;
    const result = await this.judge(await this.bundle(answer.receiptId, { fresh }), answer);
    const { verdict } = result;
    if (verdict.decision === 'accepted') return result;
    const code = verdict.decision === 'refused' ? 'RECEIPT_REFUSED' : 'RECEIPT_NOT_JUDGED';
    const first = verdict.checks.find((check) => check.result === 'fail');
    throw new ClientError(code, `${first?.code ?? code}: ${first?.reason ?? 'not accepted'}`, { verdict });
  }

  async #fetch(path: string, { fresh = false }: BundleOptions, maxBytes: number): Promise<Uint8Array> {
    const headers: Record<string, string> = fresh ? { 'vouchsafe-fresh': '?1' } : {};
    const request = { method: 'GET', path, headers, timeoutMs: BUNDLE_TIMEOUT_MS } as const;
    const response = await send(this.#parts.service, request);
    if (response.status !== 200) throw await rejection(response);
    return readBody(response, maxBytes);
  }

  /**
   * A good receipt of another instance is not one for what was sealed to this one. The next generation of its keys is
   * this instance: what was sealed to the former one is still opened for a while.
   */
  #sameKeyset(result: ReceiptResult, bundle: Uint8Array): ReceiptResult {
    const { receipt, verdict } = result;
    const own = this.document.statement.keysetDigest;
    if (!receipt || equalBytes(receipt.claims.keysetDigest, own)) return result;
    if (follows(citedKeyset(bundle), this.document)) return result;
    const reason = `the receipt is of keyset ${toHex(receipt.claims.keysetDigest)}, this session of ${toHex(own)}`;
    const refused = fail('receipt.keyset', 'receipt', 'KEYSET_MISMATCH', reason);
    const checks = verdict.checks.map((check) => (check.id === 'receipt.keyset' ? refused : check));
    const { simulated } = verdict;
    return {
      ...result,
      verdict: { ...verdict, checks, decision: decide(checks), tier: tierOf(checks, simulated) },
    };
  }
}

/** Keyset of the cited document; it verified with the receipt. */
function citedKeyset(bundle: Uint8Array): Keyset {
  return parseDocument(parseBundle(bundle).cited).keyset;
}

/** Whether a keyset is of the generation right after that of the document (DESIGN section 3). */
function follows(next: Keyset, { keyset, statement }: EvidenceDocument): boolean {
  return (
    next.generation === keyset.generation + 1 &&
    next.previous !== undefined &&
    equalBytes(next.previous, statement.keysetDigest) &&
    equalBytes(next.instance, keyset.instance) &&
    equalBytes(next.log.x, keyset.log.x)
  );
}

function bytesOf(body: Uint8Array | string): Uint8Array {
  return typeof body === 'string' ? utf8(body) : body;
}

function receiptId(id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) throw new TypeError('a receipt id is 32 lower-case hex digits');
  return id;
}

function exchangeOf({ nonce, k, request, body, chunks }: Answer): Exchange {
  if (!k) return { nonce };
  return { nonce, opening: { k, request, response: body, ...(chunks ? { chunks } : {}) } };
}
