import { createHash } from 'node:crypto';
import { z } from 'zod';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { HostingError } from '../hostingErrors.ts';
import { MAX_FILES } from '../release/pathSet.ts';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
const PREDICATE_TYPE = 'https://model_signing/signature/v1.0';

const hex = z.string().regex(/^[0-9a-f]{64}$/);
const TYPES = z.object({ _type: z.string(), predicateType: z.string() });
const STATEMENT = z.object({
  subject: z.array(z.object({ name: z.string(), digest: z.object({ sha256: hex }) })).length(1),
  predicate: z.object({
    serialization: z.object({ method: z.string(), hash_type: z.string() }),
    resources: z
      .array(z.object({ name: z.string().max(4096), algorithm: z.string(), digest: z.string() }))
      .min(1)
      .max(MAX_FILES),
  }),
});

/**
 * Files of a signed in-toto statement, path to hex SHA-256. OpenSSF Model Signing v1.0: the resources are in the
 * predicate, and the one subject is the SHA-256 over their digests in order. What the predicate says of paths that
 * the signer left out is not read: every file must be signed.
 */
export function parseStatement(payload: Uint8Array): ReadonlyMap<string, string> {
  const value = parseJson(payload);
  const types = TYPES.safeParse(value);
  if (!types.success || types.data._type !== STATEMENT_TYPE) throw invalid('it is no in-toto statement v1');
  if (types.data.predicateType !== PREDICATE_TYPE) throw unsupported(`predicate ${types.data.predicateType}`);
  const parsed = STATEMENT.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw invalid(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
  }
  const { subject, predicate } = parsed.data;
  const { method, hash_type: hashType } = predicate.serialization;
  if (method !== 'files' || hashType !== 'sha256') throw unsupported(`serialization ${method} with ${hashType}`);
  const files = readResources(predicate.resources);
  const root = createHash('sha256');
  for (const digest of files.values()) root.update(fromHex(digest));
  if (root.digest('hex') !== subject[0]?.digest.sha256) throw invalid('its subject is not the digest of its files');
  return files;
}

function readResources(
  resources: z.infer<typeof STATEMENT>['predicate']['resources'],
): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const { name, algorithm, digest } of resources) {
    if (algorithm !== 'sha256') throw unsupported(`digest algorithm ${algorithm}`);
    if (!hex.safeParse(digest).success) throw invalid('a digest is no SHA-256');
    if (files.has(name)) throw invalid('it names a file twice');
    files.set(name, digest);
  }
  return files;
}

function parseJson(payload: Uint8Array): unknown {
  try {
    return parseStrictJson(payload);
  } catch (error) {
    if (error instanceof JsonError) throw invalid(`it ${error.message}`);
    throw error;
  }
}

function invalid(detail: string): HostingError {
  return new HostingError('SIGNATURE_INVALID', `the signed statement cannot be used: ${detail}`);
}

function unsupported(what: string): HostingError {
  return new HostingError('SIGNATURE_UNSUPPORTED', `${what.slice(0, 200)} is not supported`);
}
