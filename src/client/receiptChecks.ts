import {
  appraiseBundle,
  appraiseReceiptUnder,
  type JudgedDocument,
  type ReceiptResult,
} from '../../attestation/appraise.ts';
import { MAX_BUNDLE_BYTES } from '../../attestation/bundle/bundle.ts';
import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { fail } from '../../attestation/checks.ts';
import { Refusal } from '../../attestation/errors.ts';
import { documentDigest, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import { parseReceipt, type ParsedReceipt } from '../../attestation/receipt/receipt.ts';
import { decide, tierOf, type Verdict } from '../../attestation/verdict/verdict.ts';
import type { Answer } from './answer.ts';
import { ClientError } from './errors.ts';
import { readBody, rejection, send, type Service } from './http.ts';
import type { Renewal } from './renewal.ts';
import type { Trust } from './trust.ts';

/**
 * What each answer of `session.fetch` is checked against, from the quickest on:
 * `cited` its receipt, with the document that it cites, which is judged once; at best a warning, for nothing covers it;
 * `bundle` its bundle as it is at once, everything judged anew;
 * `covered` its bundle, once a later hardware report covers the receipt.
 */
export type ReceiptMode = 'cited' | 'bundle' | 'covered';

/** The judged receipt of an answer. */
export interface VerifiedAnswer extends ReceiptResult {
  readonly answer: Answer;
  /** As issued. */
  readonly encoded: Uint8Array;
  /** What it was judged by; undefined where the receipt alone was. */
  readonly bundle: Uint8Array | undefined;
}

/** Largest receipt, bytes. */
const MAX_RECEIPT_BYTES = 1024 * 1024;
/** A fresh bundle waits for the next evidence document. */
const BUNDLE_TIMEOUT_MS = 5 * 60_000;
/** Cited documents that a session keeps: a busy service makes one for each batch of nonces. */
const MAX_DOCUMENTS = 16;

export interface ReceiptRequest {
  /** Wait until a later hardware report covers it. */
  readonly fresh?: boolean;
  readonly authorization?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What the policy asks for at least: coverage, witnesses and time come with a bundle only. */
export function leastMode({ coverage, witnesses, timestamps }: Policy): ReceiptMode {
  const isTimed = timestamps !== 'none' && timestamps.required;
  return coverage === 'required' || witnesses !== 'none' || isTimed ? 'covered' : 'cited';
}

/** Fetches receipts and judges them under the evidence to which their requests were sealed. */
export class ReceiptChecks {
  readonly #service: Service;
  readonly #renewal: Renewal;
  readonly #documents = new Map<string, Promise<JudgedDocument | undefined>>();
  /** Evidence under which the documents were judged. */
  #judgedUnder: Trust | undefined;

  constructor(service: Service, renewal: Renewal) {
    this.#service = service;
    this.#renewal = renewal;
  }

  /** A receipt by id, as issued and not judged. */
  async fetchReceipt(id: string, request: ReceiptRequest = {}): Promise<Uint8Array> {
    return this.#get(`/v1/receipts/${receiptId(id)}`, request, MAX_RECEIPT_BYTES);
  }

  /** A receipt with everything that a verifier needs, as issued and not judged. */
  async fetchBundle(id: string, request: ReceiptRequest = {}): Promise<Uint8Array> {
    return this.#get(`/v1/receipts/${receiptId(id)}/bundle`, request, MAX_BUNDLE_BYTES);
  }

  /** Judges a bundle against an answer: content, nonce, and the keyset that was sealed to. */
  async judgeBundle(bundle: Uint8Array, answer: Answer): Promise<ReceiptResult> {
    const result = await appraiseBundle(bundle, exchangeOf(answer), this.#renewal.trust.context());
    return this.#ofSession(result, answer);
  }

  /** The receipt of an answer, fetched and judged; throws unless it is accepted. */
  async check(answer: Answer, mode: ReceiptMode, request: ReceiptRequest): Promise<VerifiedAnswer> {
    const id = answer.receiptId;
    if (id === undefined) {
      throw new ClientError('RECEIPT_MISSING', `HTTP ${answer.status} came without a receipt`);
    }
    if (mode !== 'cited') {
      const bundle = await this.fetchBundle(id, { ...request, fresh: mode === 'covered' });
      return this.#conclude(await this.judgeBundle(bundle, answer), answer, { bundle });
    }
    const encoded = answer.receipt ?? (await this.fetchReceipt(id, request));
    const parsed = parsedOrNone(encoded);
    const judged = await this.#documentOf(parsed, id, request);
    const context = this.#renewal.trust.context();
    const result = judged
      ? await appraiseReceiptUnder(judged, parsed ?? encoded, exchangeOf(answer), context)
      : await this.judgeBundle(await this.fetchBundle(id, request), answer);
    return this.#conclude(this.#ofSession(result, answer), answer, { encoded });
  }

  #conclude(
    result: ReceiptResult,
    answer: Answer,
    { encoded, bundle }: { readonly encoded?: Uint8Array; readonly bundle?: Uint8Array },
  ): VerifiedAnswer {
    const { verdict, receipt, cited } = result;
    if (verdict.decision !== 'accepted' || !receipt) throw refusal(verdict);
    const { trust } = this.#renewal;
    if (cited && hasDrifted(cited, trust)) this.#renewal.drift(trust);
    return { ...result, answer, encoded: encoded ?? receipt.encoded, bundle };
  }

  /**
   * The judged document that a receipt cites. Others ask the service for evidence, too, so that it often cites a newer
   * one than that of the session: each is judged once, with a bundle. Undefined where it was not accepted.
   */
  async #documentOf(
    receipt: ParsedReceipt | undefined,
    id: string,
    request: ReceiptRequest,
  ): Promise<JudgedDocument | undefined> {
    const { trust } = this.#renewal;
    const digest = receipt && toHex(receipt.claims.evidenceDigest);
    if (digest === undefined || digest === trust.digest) return trust.judged;
    // Nothing is believed for longer than the evidence of the session.
    if (this.#judgedUnder !== trust) this.#documents.clear();
    this.#judgedUnder = trust;
    const known = this.#documents.get(digest);
    if (known) return known;
    // Whoever asked first may give up: the others wait on.
    const judging = this.#judgeCited(digest, id, { ...request, signal: undefined });
    this.#documents.set(digest, judging);
    for (const oldest of this.#documents.keys()) {
      if (this.#documents.size <= MAX_DOCUMENTS) break;
      this.#documents.delete(oldest);
    }
    const forget = (): void => {
      if (this.#documents.get(digest) === judging) this.#documents.delete(digest);
    };
    judging.then((judged) => judged ?? forget(), forget);
    return judging;
  }

  /** Judges the document of a bundle apart from content, which is that of one answer among those who wait for it. */
  async #judgeCited(
    digest: string,
    id: string,
    request: ReceiptRequest,
  ): Promise<JudgedDocument | undefined> {
    const bundle = await this.fetchBundle(id, request);
    const context = this.#renewal.trust.context();
    const { verdict, cited, times } = await appraiseBundle(bundle, {}, context);
    const document = cited?.appraisal.document;
    // What is judged for an earlier time says nothing of another receipt.
    if (verdict.decision !== 'accepted' || !document || times.upper !== undefined) return undefined;
    return toHex(documentDigest(document.encoded, context.crypto)) === digest ? cited : undefined;
  }

  async #get(path: string, request: ReceiptRequest, maxBytes: number): Promise<Uint8Array> {
    const { fresh = false, authorization, signal } = request;
    const headers: Record<string, string> = fresh ? { 'vouchsafe-fresh': '?1' } : {};
    const exchange = { method: 'GET', path, headers, authorization, signal } as const;
    const response = await send(this.#service, { ...exchange, timeoutMs: BUNDLE_TIMEOUT_MS });
    if (response.status !== 200) throw await rejection(response);
    return readBody(response, maxBytes);
  }

  /**
   * A good receipt of another instance is not one for what was sealed to this one. The next generation of its keys is
   * this instance: what was sealed to the former one is still opened for a while.
   */
  #ofSession(result: ReceiptResult, { evidence }: Answer): ReceiptResult {
    const { receipt, verdict, cited } = result;
    const session = this.#renewal.hasAccepted(evidence) ? evidence : this.#renewal.trust.document;
    const own = session.statement.keysetDigest;
    if (!receipt || equalBytes(receipt.claims.keysetDigest, own)) return result;
    if (cited?.appraisal.document && follows(cited.appraisal.document.keyset, session)) return result;
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

/** Its signature is not checked. Undefined for what is no receipt: the appraisal says why. */
function parsedOrNone(encoded: Uint8Array): ParsedReceipt | undefined {
  try {
    return parseReceipt(encoded);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

export function refusal(verdict: Verdict): ClientError {
  const code = verdict.decision === 'not-judged' ? 'RECEIPT_NOT_JUDGED' : 'RECEIPT_REFUSED';
  const first = verdict.checks.find((check) => check.result === 'fail');
  return new ClientError(code, `${first?.code ?? code}: ${first?.reason ?? 'not accepted'}`, { verdict });
}

/** Whether a receipt shows that keys, machine or devices are no longer those of the evidence that is sealed to. */
function hasDrifted({ appraisal }: JudgedDocument, { judged, document }: Trust): boolean {
  if (!appraisal.document || appraisal === judged.appraisal) return false;
  if (follows(appraisal.document.keyset, document)) return true;
  if (!equalBytes(appraisal.document.keyset.instance, document.keyset.instance)) return false;
  return hardwareOf(appraisal) !== hardwareOf(judged.appraisal);
}

function hardwareOf({ machine, devices }: JudgedDocument['appraisal']): string {
  return [machine ?? new Uint8Array(0), ...devices.map(({ serial }) => serial)].map(toHex).join(' ');
}

/** Whether a keyset is of the generation right after that of the document (DESIGN section 3). */
function follows(next: EvidenceDocument['keyset'], { keyset, statement }: EvidenceDocument): boolean {
  return (
    next.generation === keyset.generation + 1 &&
    next.previous !== undefined &&
    equalBytes(next.previous, statement.keysetDigest) &&
    equalBytes(next.instance, keyset.instance) &&
    equalBytes(next.log.x, keyset.log.x)
  );
}

function receiptId(id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) throw new TypeError('a receipt id is 32 lower-case hex digits');
  return id;
}

function exchangeOf({ nonce, k, request, body, chunks }: Answer): Exchange {
  if (!k) return { nonce };
  return { nonce, opening: { k, request, response: body, ...(chunks ? { chunks } : {}) } };
}
