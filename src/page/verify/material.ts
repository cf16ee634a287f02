import { fromBase64Url, fromHex, fromUtf8 } from '../../../attestation/bytes/bytes.ts';
import { includesBytes } from '../../../attestation/bytes/search.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { isRawEvidence } from '../../../attestation/raw/files.ts';
import type { Exchange } from '../../../attestation/receipt/appraise.ts';
import { recognise, type Recognised, type ShownKind } from '../../../attestation/recognition/recognise.ts';
import { ClientError } from '../../client/errors.ts';
import { streamChunks } from '../../client/events.ts';
import { PageFailure } from './failure.ts';
import type { ExchangeParts, GivenFile, Request } from './protocol.ts';

/** Names under which `vouchsafe ask --save` keeps an exchange: they say what a file is, its bytes do not. */
const EXCHANGE_FILES: Readonly<Record<string, keyof ExchangeParts>> = {
  'request.bin': 'request',
  'response.bin': 'response',
  'commitment-key.txt': 'commitmentKey',
};
const NONCE_FILE = 'nonce.txt';
/** Kept beside them, and no part of a verdict. */
const PASSED_OVER = ['manifest.cbor'];

const MAX_FILES = 64;
/** All files of one appraisal, bytes: two bundles of the largest size. */
const MAX_BYTES = 64 * 1024 * 1024;

export type KnownFile = Recognised & { readonly file: string; readonly given: Uint8Array };

/** Files by their part in the appraisal. */
export interface Material {
  readonly main: KnownFile | undefined;
  /** The evidence document or attestation answer beside a receipt or a disclosure. */
  readonly evidence: KnownFile | undefined;
  /** Reports of vendors, where nothing of ours is there to judge. */
  readonly raw: readonly KnownFile[];
  /** What vendors say. */
  readonly beside: readonly KnownFile[];
  readonly exchange: Exchange;
}

/** What is judged as a whole, the most telling first. */
const MAIN: readonly ShownKind[] = ['bundle', 'disclosure', 'receipt', 'attestation', 'document'];
const EVIDENCE: readonly ShownKind[] = ['attestation', 'document'];
const BESIDE: readonly ShownKind[] = [
  'collateral',
  'certificates',
  'thim-certificates',
  'crl',
  'tcb-info',
  'qe-identity',
  'ocsp-response',
  'rim',
];

/** Sorts what was given; refuses what is not known and what would have no part in the verdict. */
export function sortFiles(files: readonly GivenFile[], request: Request): Material {
  if (files.length === 0) throw new PageFailure('NOTHING_GIVEN', 'there is no file');
  const total = files.reduce((sum, { bytes }) => sum + bytes.length, 0);
  if (files.length > MAX_FILES || total > MAX_BYTES) {
    throw new PageFailure('FILES_TOO_MANY', `more than ${MAX_FILES} files, or more than ${MAX_BYTES} bytes`);
  }
  const { rest, parts, nonce } = takeExchange(files, request);
  const known = rest.map(knownFile);
  const ours = MAIN.flatMap((kind) => known.filter((each) => each.kind === kind));
  const [main] = ours;
  const evidence =
    main && !EVIDENCE.includes(main.kind) ? ours.find(({ kind }) => EVIDENCE.includes(kind)) : undefined;
  // In a document of ours the log of measured boot is inside.
  const beside = known.filter(({ kind }) => BESIDE.includes(kind) || (!main && kind === 'boot-log'));
  const raw = main ? [] : known.filter(({ kind }) => isRawEvidence(kind));
  const used = [main, evidence, ...raw, ...beside];
  const stray = known.find((each) => !used.includes(each));
  if (stray)
    throw new PageFailure('FILE_NOT_ALONE', `${stray.file} (${stray.name}) is not judged with the rest`);
  if (!main && raw.length === 0) throw alone(beside[0]);
  return { main, evidence, raw, beside, exchange: exchangeOf(parts, nonce) };
}

function alone(file: KnownFile | undefined): PageFailure {
  return file
    ? new PageFailure('FILE_NOT_ALONE', `${file.file} (${file.name}) vouches for nothing alone`)
    : new PageFailure('NOTHING_GIVEN', 'there is nothing to judge');
}

/** Every JSON object is taken for an attestation answer and every CBOR map for a bundle: unless they say so, no. */
function knownFile({ name, bytes }: GivenFile): KnownFile {
  const found = recognise(bytes);
  const lacks = (kind: ShownKind, label: string) => found.kind === kind && !includesBytes(found.bytes, label);
  const isUnknown =
    found.kind === 'unknown' ||
    lacks('attestation', '"vouchsafe/attestation/') ||
    lacks('bundle', 'vouchsafe/bundle/');
  if (isUnknown) {
    const start = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
    throw new PageFailure(
      'FILE_UNKNOWN',
      `${name}: ${bytes.length} bytes that begin with ${start || 'nothing'}`,
    );
  }
  return { ...found, file: name, given: bytes };
}

function takeExchange(files: readonly GivenFile[], request: Request) {
  let parts: ExchangeParts = request.exchange ?? {};
  let nonce = request.nonce;
  const rest = files.filter(({ name, bytes }) => {
    const part = Object.hasOwn(EXCHANGE_FILES, name) ? EXCHANGE_FILES[name] : undefined;
    if (part !== undefined) {
      parts = { ...parts, [part]: part === 'commitmentKey' ? fromUtf8(bytes).trim() : bytes };
    } else if (name === NONCE_FILE && nonce === '') nonce = fromUtf8(bytes).trim();
    return part === undefined && name !== NONCE_FILE && !PASSED_OVER.includes(name);
  });
  return { rest, parts, nonce };
}

/** The three parts of the content go together. */
function exchangeOf({ request, response, commitmentKey }: ExchangeParts, nonce: string): Exchange {
  const chosen = hexField(nonce, 'the nonce', 32);
  const known = chosen ? { nonce: chosen } : {};
  const given = [request, response, commitmentKey || undefined].filter((part) => part !== undefined);
  if (given.length === 0) return known;
  if (!request || !response || !commitmentKey) {
    throw new PageFailure('INPUT_INVALID', 'request, response and commitment key go together');
  }
  const k = base64UrlField(commitmentKey, 'the commitment key');
  return { ...known, opening: { k, request, response, chunks: chunksOf(response) } };
}

/** Of a response that was a stream; a body has none. */
function chunksOf(response: Uint8Array): readonly Uint8Array[] {
  try {
    return streamChunks(response);
  } catch (error) {
    if (error instanceof ClientError) return [];
    throw error;
  }
}

/** Bytes of a field of hex; undefined for an empty one. `bytes` is the length that it must have. */
export function hexField(text: string, what: string, bytes?: number): Uint8Array | undefined {
  const compact = text.replaceAll(/\s/g, '').toLowerCase();
  if (compact === '') return undefined;
  const wanted = bytes === undefined ? 'hex digits' : `${2 * bytes} hex digits`;
  if (!/^(?:[0-9a-f]{2})+$/.test(compact) || (bytes !== undefined && compact.length !== 2 * bytes)) {
    throw new PageFailure('INPUT_INVALID', `${what} is not ${wanted}`);
  }
  return fromHex(compact);
}

function base64UrlField(text: string, what: string): Uint8Array {
  try {
    return fromBase64Url(text.trim());
  } catch (error) {
    if (error instanceof Refusal) throw new PageFailure('INPUT_INVALID', `${what} is not base64url`);
    throw error;
  }
}
