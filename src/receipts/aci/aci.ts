import { ACI_VERSION, aciDigest } from '../../../attestation/aci/keyset.ts';
import { aciSigningInput, type AciEvent, type AciUnsigned } from '../../../attestation/aci/receipt.ts';
import { aciReportData, aciStatement } from '../../../attestation/aci/statement.ts';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { type AciEvidence, type AciProvenance, describeEvidence, describeReport } from './describe.ts';
import { aciIdentity, type AciIdentity, type AciKeys } from './identity.ts';
import { AciQuotes } from './quotes.ts';
import { AciReceiptStore } from './receiptStore.ts';

/** Our own event: the receipt of ours that is of the same answer. */
const OUR_EVENT = 'vouchsafe.receipt';

/** Our own receipts, as this protocol refers to them. */
export interface OurReceipts {
  indexOf(id: string, tenant: string | undefined): number;
  receipt(id: string, tenant: string | undefined): Promise<Uint8Array>;
  /** Throws where nothing is signed now. */
  requireIssuing(): void;
}

export interface AciParts {
  /** Keys of the generation in use. */
  readonly keys: () => AciKeys;
  /** One of the calls of the collector, which are serial. */
  readonly collectCpu: (reportData: Uint8Array) => Promise<CpuEvidence>;
  readonly receipts: OurReceipts;
  readonly provenance: AciProvenance;
  /** True where the evidence comes from simulated hardware. */
  readonly simulated: boolean;
  /** Origin of our log. */
  readonly origin: string;
  readonly now: () => number;
}

/** One exchange, whose body hashes were computed over the bytes as they were. */
export interface AciExchange {
  /** Of the generation that was in use when the request came. */
  readonly identity: AciIdentity;
  /** Id of our receipt, and of this one: 32 hex digits. */
  readonly id: string;
  readonly tenant: string | undefined;
  readonly chatId: string | null;
  readonly model: string | null;
  readonly endpoint: string;
  readonly method: string;
  readonly request: Uint8Array;
  /** False where the request was refused before it was used. */
  readonly forwarded: boolean;
  /** SHA-256 of all bytes of the answer. */
  readonly responseHash: Uint8Array;
}

/** Attested Confidential Inference (aci/1) beside our own protocol, with reports and receipts of its own. */
export class Aci {
  readonly #parts: AciParts;
  readonly #quotes: AciQuotes;
  readonly #store: AciReceiptStore;
  #identity: { readonly of: AciKeys['signer']; readonly identity: AciIdentity } | undefined;
  /** The report without a nonce, which is good for as long as its keyset is in use. */
  #unasked: { readonly digest: string; readonly evidence: Promise<AciEvidence> } | undefined;

  constructor(parts: AciParts) {
    this.#parts = parts;
    this.#quotes = new AciQuotes(parts.collectCpu);
    this.#store = new AciReceiptStore(parts.now);
  }

  /** The generation in use. */
  get identity(): AciIdentity {
    const keys = this.#parts.keys();
    if (this.#identity?.of !== keys.signer) this.#identity = { of: keys.signer, identity: aciIdentity(keys) };
    return this.#identity.identity;
  }

  /**
   * The attestation report for a nonce of 64 lower-case hex digits, or for none. Throws `VouchingError` and
   * `AciPlatformError`.
   */
  async report(nonce: string | null): Promise<object> {
    this.#parts.receipts.requireIssuing();
    const { keyset, digest } = this.identity;
    const reportData = aciReportData(aciStatement(digest, nonce), nodeCrypto);
    const collected = nonce === null ? this.#unaskedEvidence(digest, reportData) : this.#evidence(reportData);
    return describeReport(
      { keyset, digest, reportData, provenance: this.#parts.provenance },
      await collected,
    );
  }

  #unaskedEvidence(digest: string, reportData: Uint8Array): Promise<AciEvidence> {
    if (this.#unasked?.digest === digest) return this.#unasked.evidence;
    const kept = { digest, evidence: this.#evidence(reportData) };
    this.#unasked = kept;
    kept.evidence.catch(() => {
      if (this.#unasked === kept) this.#unasked = undefined;
    });
    return kept.evidence;
  }

  async #evidence(reportData: Uint8Array): Promise<AciEvidence> {
    const cpu = await this.#quotes.quote(reportData);
    return describeEvidence(cpu, reportData, this.#parts.simulated);
  }

  /** Has a receipt made of an answer that goes out now. */
  issue(exchange: AciExchange): void {
    const made = this.#make(exchange).catch(() => undefined);
    this.#store.put(exchange.id, exchange.tenant, made);
  }

  /** A receipt by id, for the tenant that made the request; undefined where there is none. */
  receipt(id: string, tenant: string | undefined): Promise<Uint8Array | undefined> {
    return this.#store.find(id, tenant);
  }

  async #make(exchange: AciExchange): Promise<Uint8Array> {
    const { identity, id, tenant, chatId, model, endpoint, method } = exchange;
    const { receipts, origin, now } = this.#parts;
    const ours = await receipts.receipt(id, tenant);
    const unsigned: AciUnsigned = {
      api_version: ACI_VERSION,
      receipt_id: id,
      chat_id: chatId,
      model,
      workload_keyset_digest: identity.digest,
      endpoint,
      method,
      served_at: Math.floor(now() / 1000),
      event_log: [
        ...bodyEvents(exchange),
        {
          type: OUR_EVENT,
          receipt_digest: aciDigest(ours, nodeCrypto),
          log_origin: origin,
          log_index: receipts.indexOf(id, tenant),
        },
      ],
      key_id: identity.keyId,
    };
    const signature = toHex(identity.signer.sign(aciSigningInput(unsigned)));
    return utf8(canonicalJson({ ...unsigned, signature }));
  }
}

/** A direct service uses the bytes that it received: there is no rewrite. */
function bodyEvents({ request, forwarded, responseHash }: AciExchange): readonly AciEvent[] {
  const body_hash = aciDigest(request, nodeCrypto);
  return [
    { type: 'request.received', body_hash },
    ...(forwarded ? [{ type: 'request.forwarded', body_hash }] : []),
    { type: 'response.returned', body_hash: `sha256:${toHex(responseHash)}` },
  ];
}
