import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decode } from 'cbor-x';
import { fromBase64Url, fromHex } from '../../../../attestation/bytes/bytes.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import { certificateSpki } from '../../../../attestation/evidence/tpm/certificate.ts';
import { pointSpki, rsaSpki } from '../../../../attestation/evidence/tpm/key.ts';
import type { PcrBank } from '../../../../attestation/evidence/evidence.ts';
import {
  derEcdsaSignature,
  parseTpmtSignature,
  type TpmSignature,
} from '../../../../attestation/evidence/tpm/signature.ts';
import type { VouchedKey } from '../../../../attestation/evidence/tpm/ak.ts';

/** One quote of the corpus with what vouches for its key. */
export interface QuoteCase {
  readonly id: string;
  readonly message: Uint8Array;
  readonly signature: TpmSignature;
  readonly pcrs: readonly PcrBank[];
  readonly publicArea?: Uint8Array;
  readonly akSpki: Uint8Array;
  readonly certificates: readonly Uint8Array[];
  /** Certificates that the case has beside the evidence. */
  readonly added: readonly Uint8Array[];
  readonly vouched: VouchedKey | undefined;
  readonly at: number;
  readonly facts: QuoteFacts;
}

export interface QuoteFacts {
  readonly extraDataHex?: string;
  readonly pcrDigest?: string;
  readonly pcrSelection?: readonly (readonly [string, readonly number[]])[];
  readonly clock?: number;
  readonly resetCount?: number;
  readonly restartCount?: number;
  readonly safe?: number;
  readonly firmwareVersion?: string;
  readonly pcrs?: Readonly<Record<string, string>>;
}

export interface CaseJson {
  readonly verifyAt: string | null;
  readonly expected: { readonly verdict: string; readonly reasons: readonly string[] };
  readonly facts: { readonly tpmQuote?: QuoteFacts; readonly [name: string]: unknown };
}

/** Reads one case's files by name. */
export class CaseFiles {
  readonly #directory: string;
  readonly #names: ReadonlySet<string>;

  constructor(root: string, id: string) {
    this.#directory = join(root, id);
    this.#names = new Set(readdirSync(this.#directory));
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(join(this.#directory, name)));
  }

  json(): CaseJson {
    return JSON.parse(readFileSync(join(this.#directory, 'case.json'), 'utf8')) as CaseJson;
  }

  /** DER of each PEM block as it is, zero padding included. */
  pem(name: string): readonly Uint8Array[] {
    if (!this.has(name)) return [];
    const text = readFileSync(join(this.#directory, name), 'latin1');
    return [...text.matchAll(/-----BEGIN CERTIFICATE-----([^-]*)-----END/g)].map(
      ([, body]) => new Uint8Array(Buffer.from(body ?? '', 'base64')),
    );
  }

  pcrs(name: string): readonly PcrBank[] {
    const json = JSON.parse(readFileSync(join(this.#directory, name), 'utf8')) as Record<
      HashName,
      Record<string, string>
    >;
    return Object.entries(json).map(([hash, values]) => ({
      hash: hash as HashName,
      values: new Map(Object.entries(values).map(([index, value]) => [Number(index), fromHex(value)])),
    }));
  }
}

const AT_ANY_TIME = '2026-01-01T00:00:00Z';

function timeOf({ verifyAt }: CaseJson): number {
  return Date.parse(verifyAt ?? AT_ANY_TIME);
}

/** The JWK `HCLAkPub` of the JSON claims: variable data of a size at 0x4d0, from 0x4d4 on. */
function hclKey(report: Uint8Array): VouchedKey {
  const size = new DataView(report.buffer, report.byteOffset).getUint32(0x4d0, true);
  const claims = JSON.parse(Buffer.from(report.subarray(0x4d4, 0x4d4 + size)).toString('utf8')) as {
    keys: readonly Readonly<Record<'kid' | 'n' | 'e', string>>[];
  };
  const { n, e } = claims.keys.find(({ kid }) => kid === 'HCLAkPub')!;
  return { spki: rsaSpki(fromBase64Url(n), fromBase64Url(e)), source: 'HCLAkPub' };
}

export function azureCase(root: string, id: string): QuoteCase {
  const files = new CaseFiles(root, `azure/${id}`);
  const json = files.json();
  const vouched = hclKey(files.read('hcl_report.bin'));
  const leaf = files.pem(files.has('ak_cert.pem') ? 'ak_cert.pem' : 'ak_cert_padded.pem');
  return {
    id: `azure/${id}`,
    message: files.read('tpm_quote.msg'),
    signature: { scheme: 'rsassa', hash: 'sha256', signature: files.read('tpm_quote.sig') },
    pcrs: files.pcrs('pcrs.json'),
    akSpki: vouched.spki,
    certificates: [...leaf, ...files.pem('ak_intermediates.pem')],
    added: files.pem('azure_vtpm_root_2023.pem'),
    vouched,
    at: timeOf(json),
    facts: json.facts.tpmQuote ?? {},
  };
}

/** Payload of an untagged COSE_Sign1: the third of its four members. */
function nitroDocument(document: Uint8Array) {
  const [, , payload] = decode(document) as readonly [unknown, unknown, Uint8Array];
  return decode(payload) as {
    readonly public_key: Uint8Array;
    readonly nitrotpm_pcrs: Readonly<Record<string, Uint8Array>>;
  };
}

export function nitroCase(root: string, id: string): QuoteCase {
  const files = new CaseFiles(root, `aws/${id}`);
  const json = files.json();
  const document = nitroDocument(files.read('doc.cbor'));
  const values = Object.entries(document.nitrotpm_pcrs);
  const spki = pointSpki(new Uint8Array(document.public_key), 'P-256');
  return {
    id: `aws/${id}`,
    message: files.read('tpm_quote.msg'),
    signature: derEcdsaSignature(files.read('tpm_quote.sig.der'), 'sha256'),
    pcrs: [
      { hash: 'sha384', values: new Map(values.map(([i, value]) => [Number(i), new Uint8Array(value)])) },
    ],
    akSpki: spki,
    certificates: [],
    added: [],
    vouched: { spki, source: 'public_key of the NitroTPM document' },
    at: timeOf(json),
    facts: json.facts.tpmQuote ?? {},
  };
}

export function gcpCase(root: string): QuoteCase {
  const files = new CaseFiles(root, 'gcp/vtpm-quote-amd');
  const json = files.json();
  const certificates = files.pem('ak_chain.pem');
  return {
    id: 'gcp/vtpm-quote-amd',
    message: files.read('tpm_quote.msg'),
    signature: derEcdsaSignature(files.read('tpm_quote.sig.der'), 'sha256'),
    pcrs: files.pcrs('pcrs.json'),
    akSpki: certificateSpki(certificates[0]!),
    certificates,
    added: [],
    vouched: undefined,
    at: timeOf(json),
    facts: json.facts.tpmQuote ?? {},
  };
}

export function bareCase(root: string): QuoteCase {
  const files = new CaseFiles(root, 'tpm/quote-bare-ak');
  const json = files.json();
  return {
    id: 'tpm/quote-bare-ak',
    message: files.read('tpm_quote.msg'),
    signature: parseTpmtSignature(files.read('tpm_quote.tpmt_sig')),
    pcrs: files.pcrs('pcrs.json'),
    akSpki: files.read('ak_pub.der'),
    certificates: [],
    added: [],
    vouched: undefined,
    at: timeOf(json),
    facts: json.facts.tpmQuote ?? {},
  };
}

/** The quotes over each bank that a GCE case has; its issuers lie beside those of `gce-cos85-no-nonce`. */
export function gceCases(root: string, id: string): readonly QuoteCase[] {
  const files = new CaseFiles(root, `tpm/${id}`);
  const authorities = new CaseFiles(root, 'tpm/gce-cos85-no-nonce');
  const json = files.json();
  const stated = (json.facts['quotes'] ?? []) as readonly ({ readonly bank: string } & QuoteFacts)[];
  const certificate = files.read('ak_cert.der');
  return (['sha1', 'sha256', 'sha384'] as const)
    .filter((bank) => files.has(`quote_${bank}.msg`))
    .map((bank) => ({
      id: `tpm/${id} ${bank}`,
      message: files.read(`quote_${bank}.msg`),
      signature: parseTpmtSignature(files.read(`quote_${bank}.sig`)),
      pcrs: files.pcrs(`pcrs_${bank}.json`),
      ...(files.has('ak_pub.tpmt') && { publicArea: files.read('ak_pub.tpmt') }),
      akSpki: certificateSpki(certificate),
      certificates: [certificate],
      added: [authorities.read('tpm_ek_intermediate_2.crt'), authorities.read('tpm_ek_root_1.cer')],
      vouched: undefined,
      at: timeOf(json),
      facts: stated.find((quote) => quote.bank === bank) ?? {},
    }));
}
