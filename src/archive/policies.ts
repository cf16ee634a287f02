import { fromUtf8, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import type { Acts } from './acts.ts';
import { type BlobStore, digestOf } from './blobs.ts';
import { ArchiveError } from './errors.ts';
import { bytesOf, numberOf, type Sql } from './sql.ts';

export const MAX_POLICY_BYTES = 1024 * 1024;

interface PolicyParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly acts: Acts;
}

export interface RegisteredPolicy {
  readonly digest: string;
  readonly registered: number;
}

/** Registers the policy that receipts are indexed under from now on. Resolves with its digest in hex. */
export async function registerPolicy(
  { sql, blobs, acts }: PolicyParts,
  request: { readonly actor: string; readonly rule: string; readonly json: Uint8Array },
): Promise<string> {
  const { actor, rule, json } = request;
  const digest = digestOfPolicy(json);
  const blob = digestOf(json);
  await blobs.put(blob, json);
  const detail = { act: 'policy-registered', policy: toHex(digest), blob: toHex(blob) } as const;
  await sql.exclusive(() => acts.perform({ actor, rule, ids: [digest], detail }));
  return toHex(digest);
}

/** The policy that was registered last; undefined where none was. */
export async function currentPolicy(sql: Sql): Promise<Uint8Array | undefined> {
  const [row] = await sql.query({
    text: 'SELECT digest FROM archive_policies ORDER BY registered DESC, digest LIMIT 1',
  });
  return row && bytesOf(row, 'digest');
}

/** Newest first. */
export async function listPolicies(sql: Sql, limit: number): Promise<readonly RegisteredPolicy[]> {
  const rows = await sql.query({
    text: 'SELECT digest, registered FROM archive_policies ORDER BY registered DESC, digest LIMIT ?',
    values: [limit],
  });
  return rows.map((row) => ({
    digest: toHex(bytesOf(row, 'digest')),
    registered: numberOf(row, 'registered'),
  }));
}

/** The text of a registered policy. */
export async function readPolicy(
  { sql, blobs }: Pick<PolicyParts, 'sql' | 'blobs'>,
  digest: Uint8Array,
): Promise<string> {
  const [row] = await sql.query({
    text: 'SELECT blob FROM archive_policies WHERE digest = ?',
    values: [digest],
  });
  if (!row) throw new ArchiveError('NOT_FOUND', 'no policy with this digest is registered');
  const bytes = await blobs.get(bytesOf(row, 'blob'));
  if (!bytes) throw new ArchiveError('BLOB_DAMAGED', 'the text of the policy is missing');
  return fromUtf8(bytes);
}

function digestOfPolicy(json: Uint8Array): Uint8Array {
  if (json.length > MAX_POLICY_BYTES) throw new ArchiveError('POLICY_INVALID', 'the policy is too large');
  try {
    return policyDigest(parsePolicy(parseStrictJson(json)), nodeCrypto);
  } catch (error) {
    if (error instanceof Refusal || error instanceof JsonError) {
      throw new ArchiveError('POLICY_INVALID', error.message, error);
    }
    throw error;
  }
}
