import { useEffect, useState } from 'preact/hooks';
import { ApiFailure, ConsoleApi } from './api.ts';
import type { FeedEntry, Sample, Status } from './report.ts';

const POLL_MS = 2000;
/** Two samples are `sample_seconds` apart: asking more often brings nothing. */
const POLLS_PER_SERIES = 2;
const MOST_SAMPLES = 720;
const MOST_ENTRIES = 200;

/** What the page knows of the service. */
export interface Live {
  readonly status: Status | undefined;
  readonly samples: readonly Sample[];
  /** By falling index. */
  readonly entries: readonly FeedEntry[];
  /** Why the last question had no answer; undefined after a good one. */
  readonly failure: ApiFailure | undefined;
  /** When the last good answer came, by this machine's clock, in milliseconds. */
  readonly answeredAt: number | undefined;
}

const NOTHING: Live = {
  status: undefined,
  samples: [],
  entries: [],
  failure: undefined,
  answeredAt: undefined,
};

/** Asks again and again while the page is seen and `paused` is false; each time with what is new only. */
export function useLive(key: string, paused: boolean): { readonly live: Live; readonly older: () => void } {
  const [live, setLive] = useState(NOTHING);
  useEffect(() => {
    setLive(NOTHING);
  }, [key]);
  useEffect(() => {
    if (paused) return undefined;
    const end = new AbortController();
    const poller = new Poller(new ConsoleApi(key, end.signal), (change) => {
      if (!end.signal.aborted) setLive(change);
    });
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = async (): Promise<void> => {
      if (!document.hidden) await poller.poll();
      // A key that is refused is not tried again.
      if (!end.signal.aborted && !poller.isRefused) timer = setTimeout(() => void again(), POLL_MS);
    };
    void again();
    return () => {
      end.abort();
      clearTimeout(timer);
    };
  }, [key, paused]);
  const older = (): void => {
    const last = live.entries.at(-1);
    if (last) void loadOlder(key, last.index, setLive);
  };
  return { live, older };
}

type Change = (live: Live) => Live;

class Poller {
  readonly #api: ConsoleApi;
  readonly #apply: (change: Change) => void;
  #polls = 0;
  #nextSample = 0;
  #newest: number | undefined;
  #instance: string | undefined;
  isRefused = false;

  constructor(api: ConsoleApi, apply: (change: Change) => void) {
    this.#api = api;
    this.#apply = apply;
  }

  async poll(): Promise<void> {
    try {
      const status = await this.#api.status();
      // Another instance has another log, and counts its samples anew.
      if (status.instance !== this.#instance) {
        [this.#instance, this.#newest, this.#nextSample, this.#polls] = [status.instance, undefined, 0, 0];
      }
      this.#apply((live) => ({ ...live, status, failure: undefined, answeredAt: Date.now() }));
      await this.#feed();
      if (this.#polls++ % POLLS_PER_SERIES === 0) await this.#series();
    } catch (error) {
      if (!(error instanceof ApiFailure)) throw error;
      this.isRefused = error.kind === 'key' || error.kind === 'role';
      this.#apply((live) => ({ ...live, failure: error }));
    }
  }

  async #feed(): Promise<void> {
    const newest = this.#newest;
    const { entries, skipped } = await this.#api.receipts(
      newest === undefined ? undefined : { after: newest },
    );
    const last = entries.at(-1);
    if (last) this.#newest = last.index;
    else if (newest !== undefined) return;
    // What does not follow on what is shown takes its place.
    const anew = newest === undefined || skipped > 0;
    const fresh = [...entries].reverse();
    this.#apply((live) => ({
      ...live,
      entries: anew ? fresh : [...fresh, ...live.entries].slice(0, MOST_ENTRIES),
    }));
  }

  async #series(): Promise<void> {
    const asked = this.#nextSample;
    const { first, next, samples } = await this.#api.series(asked);
    this.#nextSample = next;
    const anew = asked === 0 || first !== asked;
    this.#apply((live) => ({
      ...live,
      samples: anew ? samples : [...live.samples, ...samples].slice(-MOST_SAMPLES),
    }));
  }
}

/** Entries before those that are shown. What fails is said by the next question of the poller. */
async function loadOlder(key: string, before: number, apply: (change: Change) => void): Promise<void> {
  try {
    const { entries } = await new ConsoleApi(key).receipts({ before });
    apply((live) => ({ ...live, entries: [...live.entries, ...[...entries].reverse()] }));
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    apply((live) => ({ ...live, failure: error }));
  }
}
