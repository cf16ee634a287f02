import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CorpusEncodings {
  readonly certificates: readonly Uint8Array[];
  readonly crls: readonly Uint8Array[];
}

/** Texts inside texts: a PEM chain in a JSON string in base64 is three deep. */
const MAX_DEPTH = 3;
const PEM = /-----BEGIN (?:CERTIFICATE|X509 CRL)-----(.*?)-----END/gs;
const BASE64 = /[A-Za-z0-9+/_-]{300,}={0,2}/g;
const HEX = /(?:[0-9a-fA-F]{2}){200,}/g;

/** Every certificate and CRL below the folder, whatever file, text or evidence holds it, each once. */
export function corpusEncodings(root: string): CorpusEncodings {
  const certificates = new Map<string, Uint8Array>();
  const crls = new Map<string, Uint8Array>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    for (const { kind, der } of search(readFileSync(join(entry.parentPath, entry.name)), 0)) {
      const digest = createHash('sha256').update(der).digest('hex');
      (kind === 'certificate' ? certificates : crls).set(digest, new Uint8Array(der));
    }
  }
  return { certificates: [...certificates.values()], crls: [...crls.values()] };
}

interface Found {
  readonly kind: 'certificate' | 'crl';
  readonly der: Buffer;
}

function* search(bytes: Buffer, depth: number): Generator<Found> {
  yield* encodingsIn(bytes);
  if (depth === MAX_DEPTH) return;
  for (const inner of textsIn(bytes.toString('latin1'))) yield* search(inner, depth + 1);
}

/** Candidates by their first bytes: a SEQUENCE that opens as a tbsCertificate or tbsCertList does. */
function* encodingsIn(bytes: Buffer): Generator<Found> {
  for (let at = bytes.indexOf(0x30); at !== -1; at = bytes.indexOf(0x30, at + 1)) {
    const outer = header(bytes, at);
    const tbs = outer && header(bytes, outer.start);
    if (!outer || !tbs || outer.end > bytes.length || tbs.end >= outer.end || bytes[outer.start] !== 0x30)
      continue;
    const opening = bytes.subarray(tbs.start, tbs.start + 5).toString('hex');
    if (opening.startsWith('a0030201')) yield { kind: 'certificate', der: bytes.subarray(at, outer.end) };
    if (opening.startsWith('02010130')) yield { kind: 'crl', der: bytes.subarray(at, outer.end) };
  }
}

/** Bounds of the content of the element at the offset, where its length takes one to three bytes. */
function header(bytes: Buffer, at: number): { readonly start: number; readonly end: number } | undefined {
  const first = bytes[at + 1] ?? 0x80;
  const lengthBytes = first < 0x80 ? 0 : first - 0x80;
  const start = at + 2 + lengthBytes;
  if (first === 0x80 || lengthBytes > 2 || start > bytes.length) return undefined;
  return { start, end: start + (lengthBytes === 0 ? first : bytes.readUIntBE(at + 2, lengthBytes)) };
}

function* textsIn(text: string): Generator<Buffer> {
  const unescaped = text.includes('%2B') || text.includes('%0A') ? unescapePercent(text) : text;
  for (const [, body = ''] of unescaped.matchAll(PEM)) {
    yield Buffer.from(body.replaceAll(/\\[nr]|\s/g, ''), 'base64');
  }
  for (const [run] of unescaped.replaceAll(/\\[nr]|[\r\n]+[ \t]*/g, '').matchAll(BASE64)) {
    yield Buffer.from(run, 'base64');
  }
  for (const [run] of text.matchAll(HEX)) yield Buffer.from(run, 'hex');
}

function unescapePercent(text: string): string {
  return text.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
