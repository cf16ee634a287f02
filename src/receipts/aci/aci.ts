import { ACI_VERSION, aciDigest, type AciKeyset } from '../../../attestation/aci/keyset.ts';
import { aciSigningInput, type AciEvent, type AciUnsigned } from '../../../attestation/aci/receipt.ts';
import { aciReportData, aciStatement } from '../../../attestation/aci/statement.ts';
import { toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { aciIdentity, type AciIdentity, type AciKeys } from './identity.ts';
import { AciQuotes } from './quotes.ts';
import { AciReceiptStore } from './receiptStore.ts';

/** Our own event: the receipt of ours that is of the same answer. */
const OUR_EVENT = 'vouchsafe.receipt';

/** What the operator states of the source; nothing vouches for it. */
export interface AciProvenance {
  readonly repoUrl?: string | undefined;
  readonly repoCommit?: string | undefined;
  readonly imageDigest?: string | undefined;
}

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

/** Thrown where the platform has no report that ACI knows. */
export class AciPlatformError extends Error {
  constructor(platform: string) {
    super(`evidence of ${platform} has no form in ACI`);
    this.name = 'AciPlatformError';
  }
}

/** Attested Confidential Inference (aci/1) beside our own protocol, with reports and receipts of its own. */
export class Aci {
  readonly #parts: AciParts;
  readonly #quotes: AciQuotes;
  readonly #store: AciReceiptStore;
  #identity: { readonly of: AciKeys['signer']; readonly identity: AciIdentity } | undefined;
  /** The report without a nonce, which is good for as long as its keyset is in use. */
  #unasked: { readonly digest: string; readonly evidence: Promise<object> } | undefined;

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
    return describeReport(keyset, digest, reportData, await collected, this.#parts.provenance);
  }

  #unaskedEvidence(digest: string, reportData: Uint8Array): Promise<object> {
    if (this.#unasked?.digest !== digest) {
      const evidence = this.#evidence(reportData);
      this.#unasked = { digest, evidence };
      evidence.catch(() => (this.#unasked = undefined));
    }
    return this.#unasked.evidence;
  }

  async #evidence(reportData: Uint8Array): Promise<object> {
    return { ...describeEvidence(await this.#quotes.quote(reportData), reportData), ...this.#saidOfHardware() };
  }

  /** ACI has no word for hardware that is simulated: whoever reads the report is told all the same. */
  #saidOfHardware(): object {
    return { hardware: this.#parts.simulated ? 'SIMULATED' : 'hardware' };
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

interface DescribedEvidence {
  readonly teeType: 'tdx' | 'sev_snp';
  readonly evidence: object;
}

function describeReport(
  keyset: AciKeyset,
  digest: string,
  reportData: Uint8Array,
  described: object,
  { repoUrl, repoCommit, imageDigest }: AciProvenance,
): object {
  const { teeType, evidence, ...more } = described as DescribedEvidence;
  return {
    api_version: ACI_VERSION,
    workload_keyset_digest: digest,
    attestation: {
      tee_type: teeType,
      workload_keyset: keyset,
      report_data: toHex(reportData.subarray(0, 32)),
      source_provenance: {
        repo_url: repoUrl ?? null,
        repo_commit: repoCommit ?? null,
        image_digest: imageDigest ?? null,
        image_provenance: null,
      },
      evidence: { ...evidence, ...more },
    },
    service_capabilities: { supported_e2ee_versions: [], serving: 'direct' },
  };
}

function describeEvidence(cpu: CpuEvidence, reportData: Uint8Array): DescribedEvidence {
  switch (cpu.platform) {
    case 'tdx':
      return {
        teeType: 'tdx',
        evidence: { quote: toHex(cpu.report), quote_report_data: toHex(reportData) },
      };
    case 'snp':
      return {
        teeType: 'sev_snp',
        evidence: { report_b64: toBase64(cpu.report), certificates_b64: cpu.certificates.map(toBase64) },
      };
    default:
      throw new AciPlatformError(cpu.platform);
  }
}
