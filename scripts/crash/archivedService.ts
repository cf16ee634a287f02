import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import type { ConfigOverrides } from '../../src/config/load.ts';
import { SETTINGS } from '../../src/config/schema.ts';
import { freePort } from '../freePort.ts';
import { CLI } from './service.ts';

const CALLERS = 6;
const START_LIMIT_MS = 60_000;
const API_KEY = 'key-of-the-crash-test';
const AGAIN_MS = 20;

/** An answer that a client was given with its receipt. */
export interface Acknowledged {
  readonly id: string;
  /** Commitment key, base64url. */
  readonly k: string;
  readonly request: string;
  readonly response: string;
  /** The service kept content when it gave it. */
  readonly content: boolean;
}

/** What `/readyz` says of the archive and of all that stands in the way. */
export interface Readiness {
  readonly status: string;
  readonly obstacles: readonly { readonly component: string; readonly code?: string }[];
  readonly archive: { readonly state: string; readonly code?: string; readonly former: number };
}

/** A service with its archive on, and callers that never rest. */
export class ArchivedService {
  readonly acknowledged: Acknowledged[] = [];
  /** Archive codes that callers were refused with. */
  readonly refusals = new Set<string>();
  /** Other answers than 200 and a refusal of the archive. */
  readonly unexpected: string[] = [];
  readonly #child: ChildProcess;
  readonly #url: string;
  readonly #content: boolean;
  readonly #closed: Promise<unknown>;
  #callers: Promise<unknown> = Promise.resolve();
  #ending = false;

  private constructor(child: ChildProcess, url: string, content: boolean) {
    this.#child = child;
    this.#url = url;
    this.#content = content;
    this.#closed = once(child, 'close');
  }

  /** Starts the built service with these settings; resolves when it listens, whatever state its archive is in. */
  static async start(settings: ConfigOverrides): Promise<ArchivedService> {
    const port = await freePort();
    const keys = { apiKeys: [{ name: 'crash', sha256: sha256(API_KEY) }] };
    const child = spawn(process.execPath, [CLI, 'serve', '--port', String(port), '--simulated'], {
      env: { ...process.env, VOUCHSAFE_LOG_LEVEL: 'error', ...variables({ keys, ...settings }) },
      stdio: 'ignore',
    });
    const url = `http://127.0.0.1:${port}`;
    const service = new ArchivedService(child, url, settings.archive?.content === true);
    const others = (state: Readiness): boolean =>
      state.obstacles.every(({ component }) => component === 'archive');
    await service.until('listen with nothing but the archive in the way', others, START_LIMIT_MS);
    return service;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && !this.#ending;
  }

  load(): void {
    this.#callers = Promise.all(Array.from({ length: CALLERS }, () => this.#call()));
  }

  /** Waits until the service says so of itself. */
  async until(what: string, holds: (state: Readiness) => boolean, limitMs: number): Promise<void> {
    let last: Readiness | undefined;
    const limit = Date.now() + limitMs;
    while (Date.now() < limit) {
      if (!this.isRunning) throw new Error('the service ended by itself');
      last = await this.#readiness();
      if (last && holds(last)) return;
      await delay(AGAIN_MS);
    }
    throw new Error(`the service did not ${what}: ${JSON.stringify(last)}`);
  }

  /** Waits until so many more answers were given than now. */
  async answers(more: number, limitMs: number): Promise<void> {
    const wanted = this.acknowledged.length + more;
    const limit = Date.now() + limitMs;
    while (this.acknowledged.length < wanted) {
      if (Date.now() > limit) throw new Error('answers did not go on');
      await delay(AGAIN_MS);
    }
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.#ending = true;
    this.#child.kill(signal);
    await this.#closed;
    await this.#callers;
  }

  async #readiness(): Promise<Readiness | undefined> {
    try {
      const response = await fetch(`${this.#url}/readyz`);
      return (await response.json()) as Readiness;
    } catch {
      return undefined;
    }
  }

  async #call(): Promise<void> {
    const request = JSON.stringify({ model: 'glove-sif-100d', input: 'hello' });
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${API_KEY}` };
    while (this.isRunning) {
      try {
        const response = await fetch(`${this.#url}/v1/embeddings`, {
          method: 'POST',
          headers,
          body: request,
        });
        await this.#note(request, response);
      } catch {
        // The kill cut this answer off: nobody was given its receipt.
        await delay(AGAIN_MS);
      }
    }
  }

  async #note(request: string, answer: Response): Promise<void> {
    const { ok, status, headers } = answer;
    const response = await answer.text();
    const id = headers.get('vouchsafe-receipt-id');
    const k = headers.get('vouchsafe-commitment-key');
    if (ok && id !== null && k !== null) {
      this.acknowledged.push({ id, k, request, response, content: this.#content });
      return;
    }
    const [code] = /ARCHIVE_[A-Z_]+/.exec(response) ?? [];
    if (code === undefined) this.unexpected.push(`${status} ${response.slice(0, 200)}`);
    else this.refusals.add(code);
    await delay(AGAIN_MS);
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** Settings as environment variables. */
function variables(settings: ConfigOverrides): Record<string, string> {
  const given = settings as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
  const found = SETTINGS.flatMap(({ section, name, variable }) => {
    const value = given[section]?.[name];
    if (value === undefined) return [];
    return [[variable, typeof value === 'string' ? value : JSON.stringify(value)] as const];
  });
  return Object.fromEntries(found);
}
