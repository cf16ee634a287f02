import { fromBase64Url, fromUtf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { parseKeyset } from '../../attestation/keyset.ts';
import { makeVkey, type Vkey } from '../../attestation/log/vkey.ts';
import { readBody } from '../collateral/body.ts';

const MAX_ANSWER_BYTES = 64 * 1024;
const TIMEOUT_MS = 5000;
/** A service is asked at most this often, whatever origins strangers invent. */
const PAUSE_MS = 1000;

/**
 * Asks Vouchsafe services for the key of their present log. Whoever answers at the address says which key it is: the
 * first one of an origin counts for ever, so a lie shuts the true log out and makes no second history of it.
 */
export class ServiceKeys {
  readonly #askedAt = new Map<string, number>();
  /** What each service said last: whoever made us ask, the answer is for all. */
  readonly #answers = new Map<string, Vkey>();
  readonly #now: () => number;
  readonly #onProblem: (error: unknown) => void;

  constructor(now: () => number, onProblem: (error: unknown) => void) {
    this.#now = now;
    this.#onProblem = onProblem;
  }

  /** The key of the log `origin`; undefined where no service says that it is its own. */
  async keyOf(origin: string, services: readonly string[]): Promise<Vkey | undefined> {
    const known = services.map((url) => this.#answers.get(url)).find((key) => key?.name === origin);
    if (known) return known;
    const due = services.filter((url) => this.#now() - (this.#askedAt.get(url) ?? -PAUSE_MS) >= PAUSE_MS);
    for (const url of due) this.#askedAt.set(url, this.#now());
    const keys = await Promise.all(due.map((url) => this.#ask(url)));
    return keys.find((key) => key?.name === origin);
  }

  async #ask(url: string): Promise<Vkey | undefined> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const response = await fetch(`${url}/v1/keyset`, { redirect: 'error', signal });
      const body = await readBody(response, MAX_ANSWER_BYTES, new URL(url).host, signal);
      const { keyset } = JSON.parse(fromUtf8(body)) as { readonly keyset?: unknown };
      if (typeof keyset !== 'string') throw new TypeError(`${url} gives no keyset`);
      const { origin, log } = parseKeyset(fromBase64Url(keyset));
      const vkey = makeVkey(sha256With(nodeCrypto), origin, log.x);
      this.#answers.set(url, vkey);
      return vkey;
    } catch (error) {
      this.#onProblem(error);
      return undefined;
    }
  }
}
