import { createHash } from 'node:crypto';

/** What keeps requests together: who asks, and in which conversation. */
export interface Pin {
  readonly apiKey: string | undefined;
  /** What the caller calls it; undefined where it has no name. */
  readonly conversation: string | undefined;
}

/**
 * Upstreams in the order in which one conversation asks them (rendezvous hashing): the same one first while the list is
 * the same, so that its cached prefixes help; without it, only its own conversations move. No table is kept.
 */
export function orderFor<T extends { readonly url: string }>(
  pin: Pin,
  upstreams: readonly T[],
): readonly T[] {
  const of = digest(pin.apiKey ?? '', pin.conversation ?? '');
  return upstreams
    .map((upstream) => ({ upstream, score: digest(of, upstream.url) }))
    .sort((one, other) => (one.score < other.score ? 1 : -1))
    .map(({ upstream }) => upstream);
}

/** Of the lengths, too: no two lists of texts are one. */
function digest(...texts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(`${text.length}:${text}`);
  return hash.digest('hex');
}
