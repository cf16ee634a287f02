import { z } from 'zod';
import { HostingError } from '../hostingErrors.ts';
import {
  isLoopback,
  type RequestHeaders,
  type SourceAnswer,
  type SourceHttp,
  Unauthorized,
} from './http.ts';
import type { Credentials } from './importing.ts';
import { parseAnswer } from './parseAnswer.ts';

const MAX_TOKEN_BYTES = 0x10_0000;
const TOKEN = z.object({ token: z.string().optional(), access_token: z.string().optional() });

/** One repository of an OCI registry, with the token that it asked for. */
export class OciRegistry {
  readonly #http: SourceHttp;
  readonly #credentials: Credentials['registry'];
  readonly #origin: string;
  readonly #base: string;
  readonly #repository: string;
  #authorization: string | undefined;

  constructor(http: SourceHttp, registry: string, repository: string, credentials: Credentials['registry']) {
    this.#http = http;
    this.#credentials = credentials;
    this.#repository = repository;
    const scheme = isLoopback(new URL(`http://${registry}`)) ? 'http' : 'https';
    this.#origin = new URL(`${scheme}://${registry}`).origin;
    this.#base = `${this.#origin}/v2/${repository}`;
  }

  manifest(reference: string, accept: string, maxBytes: number): Promise<Uint8Array> {
    const url = new URL(`${this.#base}/manifests/${reference}`);
    return this.#authorized(async (headers) => (await this.#http.bytes(url, { ...headers, accept }, maxBytes)).bytes);
  }

  blob<T>(digest: string, use: (answer: SourceAnswer) => Promise<T>): Promise<T> {
    const url = new URL(`${this.#base}/blobs/${digest}`);
    return this.#authorized((headers) => this.#http.get(url, headers, use));
  }

  /**
   * Asks without credentials first, and once more with those that the registry asked for. Where it redirects to may ask
   * for some, too, and name whoever it likes to bring them to: it gets none.
   */
  async #authorized<T>(ask: (headers: RequestHeaders) => Promise<T>): Promise<T> {
    const headers = (): RequestHeaders =>
      this.#authorization === undefined ? {} : { authorization: this.#authorization };
    try {
      return await ask(headers());
    } catch (error) {
      if (!(error instanceof Unauthorized) || error.origin !== this.#origin) throw error;
      this.#authorization = await this.#authorize(error);
      return ask(headers());
    }
  }

  async #authorize(error: Unauthorized): Promise<string> {
    const { scheme, parameters } = parseWanted(error.wanted);
    if (scheme === 'basic' && this.#credentials) return this.#basic();
    const realm = parameters.get('realm') ?? '';
    if (scheme !== 'bearer' || !URL.canParse(realm)) throw error;
    const url = new URL(realm);
    const service = parameters.get('service');
    if (service !== undefined) url.searchParams.set('service', service);
    // What the registry wants to grant may be more than is needed here.
    url.searchParams.set('scope', `repository:${this.#repository}:pull`);
    const headers = this.#credentials ? { authorization: this.#basic() } : {};
    const { bytes } = await this.#http.bytes(url, { ...headers, accept: 'application/json' }, MAX_TOKEN_BYTES);
    const { token, access_token: access } = parseAnswer(bytes, TOKEN, url.host);
    const value = token ?? access ?? '';
    if (/^[\x21-\x7e]+$/.test(value)) return `Bearer ${value}`;
    throw new HostingError('SOURCE_MALFORMED', `${url.host} gives no token`);
  }

  #basic(): string {
    const { user = '', password = '' } = this.#credentials ?? {};
    return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  }
}

/** `Bearer realm="…",service="…"` of RFC 9110 section 11.6.1. */
function parseWanted(header: string): { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> } {
  const [, scheme = '', rest = ''] = /^([A-Za-z]+)\s*(.*)$/.exec(header) ?? [];
  const pairs = [...rest.matchAll(/([A-Za-z]+)="([^"\\]*)"/g)];
  return {
    scheme: scheme.toLowerCase(),
    parameters: new Map(pairs.map(([, name = '', value = '']) => [name.toLowerCase(), value])),
  };
}
