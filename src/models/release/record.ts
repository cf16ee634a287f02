import { createHash } from 'node:crypto';
import { z } from 'zod';
import { compareBytes, fromHex, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { HostingError } from '../hostingErrors.ts';
import { MAX_FILES, MAX_PATH_LENGTH, PathSet } from './pathSet.ts';
import { isReference, LATEST, referenceOf } from './names.ts';

const FORMAT = 'vouchsafe/release/1';
const DIGEST_LABEL = 'vouchsafe/release-digest/1';
/** A record of 4,096 files with long paths has some 3 MB. */
export const MAX_RECORD_BYTES = 0x80_0000;

const hex = z.string().regex(/^[0-9a-f]{64}$/);
const text = z.string().max(4096);

const FILE = z.strictObject({
  path: z.string().min(1).max(MAX_PATH_LENGTH),
  size: z.int().min(0),
  sha256: hex,
});
const SOURCE = z.strictObject({
  kind: z.enum(['folder', 'archive', 'web', 'hugging-face', 'oci']),
  /** As it was asked for. */
  from: text,
  /** What that was at the time: a commit, or the digest of a manifest or an archive. */
  resolved: text.optional(),
});
const SIGNER = z.strictObject({
  kind: z.enum(['key', 'certificate']),
  /** SHA-256 of the SubjectPublicKeyInfo that verified. */
  spkiSha256: hex,
  subject: text.optional(),
});
const RECORD = z.strictObject({
  format: z.literal(FORMAT),
  name: z.string(),
  version: z.string(),
  /** Names the content: paths, sizes and digests, and nothing else. */
  digest: hex,
  added: z.iso.datetime(),
  /** Releases of one store count up. */
  sequence: z.int().min(1),
  source: SOURCE,
  signer: SIGNER.optional(),
  files: z.array(FILE).min(1).max(MAX_FILES),
});

export type ReleaseFile = z.infer<typeof FILE>;
export type ReleaseSource = z.infer<typeof SOURCE>;
export type ReleaseSigner = z.infer<typeof SIGNER>;
export type ReleaseRecord = z.infer<typeof RECORD>;

/** A record with its digest, files in the order of their paths. */
export function makeRecord(facts: Omit<ReleaseRecord, 'format' | 'digest'>): ReleaseRecord {
  const files = sorted(facts.files);
  return { format: FORMAT, ...facts, files, digest: releaseDigest(files) };
}

/** Bytes of a record, which must be such that it can be read again: a release whose record cannot is none. */
export function encodeRecord(record: ReleaseRecord): Uint8Array {
  const reference = referenceOf(record);
  const bytes = utf8(`${JSON.stringify(record, undefined, 2)}\n`);
  if (bytes.length > MAX_RECORD_BYTES) {
    throw malformed(reference, `would have ${bytes.length} bytes, at most ${MAX_RECORD_BYTES}`);
  }
  parseRecord(bytes, reference);
  return bytes;
}

/** Reads a record that must be the one of this release. The disk may be the attacker's. */
export function parseRecord(bytes: Uint8Array, reference: string): ReleaseRecord {
  const parsed = RECORD.safeParse(parseJson(bytes, reference));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw malformed(reference, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
  }
  const record = parsed.data;
  if (referenceOf(record) !== reference || !isReference(reference) || record.version === LATEST) {
    throw malformed(reference, 'names another release');
  }
  const paths = new PathSet();
  for (const { path } of record.files) paths.add(path);
  if (releaseDigest(record.files) !== record.digest) throw malformed(reference, 'does not have its digest');
  return record;
}

function parseJson(bytes: Uint8Array, reference: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw malformed(reference, error.message);
    throw error;
  }
}

function malformed(reference: string, detail: string): HostingError {
  return new HostingError('RECORD_MALFORMED', `${reference}: the record ${detail}`);
}

/** Hex SHA-256 of `dc(["vouchsafe/release-digest/1", [[path, size, sha256], ...]])`, sorted by the bytes of the paths. */
export function releaseDigest(files: readonly ReleaseFile[]): string {
  const lines = sorted(files).map(({ path, size, sha256 }) => [path, size, fromHex(sha256)]);
  const encoded = encodeDc([DIGEST_LABEL, lines]);
  return toHex(new Uint8Array(createHash('sha256').update(encoded).digest()));
}

function sorted(files: readonly ReleaseFile[]): ReleaseFile[] {
  return [...files].sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)));
}
