import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Answer } from './endpoint.ts';

/** How long others may keep an answer, and who. */
export const CACHE = {
  /** Never changes, and everybody may have it. */
  immutable: 'public, max-age=31536000, immutable',
  /** Never changes, and only who asked with this key may have it. */
  privately: 'private, max-age=31536000, immutable',
  /** Changes, and only who asked with this key may have it. */
  privatelyShortly: 'private, max-age=5, must-revalidate',
  /** Follows the log. */
  shortly: 'public, max-age=5, must-revalidate',
  never: 'no-store',
} as const;

/** An answer that caches may keep: a 304 without content where the asker has it already (RFC 9110 section 13). */
export function cacheable(
  { headers }: IncomingMessage,
  answer: Answer,
  control: (typeof CACHE)[keyof typeof CACHE],
): Answer {
  const etag = `"${createHash('sha256').update(answer.body).digest('base64url')}"`;
  const kept = {
    'cache-control': control,
    etag,
    ...(control.startsWith('private') && { vary: 'authorization' }),
  };
  if (!matches(headers['if-none-match'], etag)) return { ...answer, headers: kept };
  return { ...answer, status: 304, headers: kept, body: new Uint8Array(0) };
}

function matches(header: string | undefined, etag: string): boolean {
  const tags = (header ?? '').split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return tags.includes(etag) || tags.includes('*');
}
