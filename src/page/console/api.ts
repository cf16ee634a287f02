import type { FeedPage, SeriesPage, Status } from './report.ts';

/** Why the service did not answer a question. */
export type FailureKind = 'key' | 'role' | 'unreachable' | 'unfit';

/** Says what a person can do. */
const WORDS: Readonly<Record<FailureKind, string>> = {
  key: 'The service does not know this key. The admin key is needed: keys.adminKeySha256 in its configuration has the SHA-256 of it.',
  role: 'The service knows this key, but it is not the admin key. The console needs the admin key.',
  unreachable:
    'The service does not answer. Look whether it runs, and whether something between stands in the way.',
  unfit: 'What came is no answer of this version of the service. Load this page again.',
};

export class ApiFailure extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind) {
    super(WORDS[kind]);
    this.name = 'ApiFailure';
    this.kind = kind;
  }
}

const TIMEOUT_MS = 10_000;
/** A status with 64 devices and hundreds of statements stays far below. */
const MOST_CHARACTERS = 4_000_000;

/** Asks this page's own service; the key goes nowhere else. */
export class ConsoleApi {
  readonly #key: string;
  readonly #signal: AbortSignal | undefined;

  /** No answer is waited for once `signal` aborts. */
  constructor(key: string, signal?: AbortSignal) {
    this.#key = key;
    this.#signal = signal;
  }

  status(): Promise<Status> {
    return this.#ask<Status>('status', 'vouchsafe/console/1');
  }

  series(from: number): Promise<SeriesPage> {
    return this.#ask<SeriesPage>(`series?from=${from}`, 'vouchsafe/console-series/1');
  }

  /** The newest entries after an index, or before one. */
  receipts(place: { readonly after: number } | { readonly before: number } | undefined): Promise<FeedPage> {
    const query = Object.entries(place ?? {}).map(([name, index]) => `?${name}=${index}`);
    return this.#ask<FeedPage>(`receipts${query.join('')}`, 'vouchsafe/console-receipts/1');
  }

  async #ask<Value extends { readonly format: string }>(path: string, format: string): Promise<Value> {
    const { status, text } = await this.#fetch(`/v1/console/${path}`);
    if (status === 401) throw new ApiFailure('key');
    if (status === 403) throw new ApiFailure('role');
    if (status !== 200) throw new ApiFailure(status >= 500 ? 'unreachable' : 'unfit');
    return parse(text, format) as Value;
  }

  async #fetch(path: string): Promise<{ readonly status: number; readonly text: string }> {
    const end = new AbortController();
    const abort = (): void => {
      end.abort();
    };
    const timer = setTimeout(abort, TIMEOUT_MS);
    this.#signal?.addEventListener('abort', abort);
    try {
      const answer = await fetch(path, {
        headers: { authorization: `Bearer ${this.#key}` },
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        signal: end.signal,
      });
      return { status: answer.status, text: await answer.text() };
    } catch {
      throw new ApiFailure('unreachable');
    } finally {
      clearTimeout(timer);
      this.#signal?.removeEventListener('abort', abort);
    }
  }
}

/** The service is this page's own: beyond the name of the format its answer is taken as it is, and shown as text. */
function parse(text: string, format: string): object {
  if (text.length > MOST_CHARACTERS) throw new ApiFailure('unfit');
  try {
    const value = JSON.parse(text) as { readonly format?: unknown } | null;
    if (value?.format === format) return value;
  } catch {
    // No JSON is no answer of the service either.
  }
  throw new ApiFailure('unfit');
}
