import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { request, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { Readable } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { ClientError } from './errors.ts';
import type { Fetch, JudgedTransport } from './http.ts';

/** Longest time for a handshake (ms). */
const HANDSHAKE_MS = 30_000;

/**
 * For Node: requests over TLS to a server whose key authorities vouch for, as for everybody, or verified evidence. Until
 * evidence is accepted any key is taken, since nothing of the caller's is sent by then; it must be the key of the
 * keyset. Later connections are compared before a byte of a request goes out.
 */
export class EvidenceTls implements JudgedTransport {
  /** Keys of connections that no authority vouched for. */
  readonly #unjudged: Uint8Array[] = [];
  #isJudged = false;
  #pinned: Uint8Array | undefined;

  readonly fetch: Fetch = async (url, init) => {
    const target = new URL(url);
    if (target.protocol !== 'https:') return fetch(url, init);
    const socket = await this.#open(target, init.signal ?? undefined);
    return exchange(socket, target, init);
  };

  /** Throws `TLS_REFUSED` where a key so far is neither an authority's business nor that of the keyset. */
  judge(spki: Uint8Array | undefined): void {
    this.#isJudged = true;
    this.#pinned = spki;
    for (const seen of this.#unjudged.splice(0)) requireKey(seen, spki);
  }

  async #open({ hostname, port }: URL, signal: AbortSignal | undefined): Promise<TLSSocket> {
    const host = hostname.replace(/^\[|\]$/g, '');
    const name = isIP(host) ? {} : { servername: host };
    const socket = connect({ host, port: Number(port || 443), ...name, rejectUnauthorized: false });
    const giveUp = (): void => {
      socket.destroy(new Error('there was no handshake in time'));
    };
    socket.setTimeout(HANDSHAKE_MS, giveUp);
    signal?.addEventListener('abort', giveUp, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.once('secureConnect', resolve);
      });
      if (!socket.authorized) this.#take(socket);
      socket.setTimeout(0);
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal?.removeEventListener('abort', giveUp);
    }
  }

  #take(socket: TLSSocket): void {
    const certificate = socket.getPeerX509Certificate();
    if (!certificate) throw new ClientError('TLS_REFUSED', 'the server showed no certificate');
    const key = certificate.publicKey.export({ type: 'spki', format: 'der' });
    const spki = createHash('sha256').update(key).digest();
    if (this.#isJudged) requireKey(spki, this.#pinned);
    else this.#unjudged.push(spki);
  }
}

function requireKey(seen: Uint8Array, spki: Uint8Array | undefined): void {
  if (spki && equalBytes(seen, spki)) return;
  const detail = spki ? 'the evidence vouches for another TLS key' : 'the evidence vouches for no TLS key';
  throw new ClientError('TLS_REFUSED', `no authority vouches for the certificate, and ${detail}`);
}

function exchange(socket: TLSSocket, target: URL, init: RequestInit): Promise<Response> {
  return new Promise((resolve, reject) => {
    const options: RequestOptions = {
      method: init.method ?? 'GET',
      headers: Object.fromEntries(new Headers(init.headers)),
      createConnection: () => socket,
      ...(init.signal && { signal: init.signal }),
    };
    const sent = request(target, options, (answer) => {
      const { statusCode = 0 } = answer;
      // What `fetch` calls an error with `redirect: 'error'`: it would lead away from the service that was asked for.
      if (statusCode >= 300 && statusCode < 400) {
        answer.destroy();
        reject(new Error('the server redirects'));
      } else resolve(toResponse(answer, statusCode));
    });
    sent.on('error', reject);
    sent.end(init.body);
  });
}

function toResponse(answer: IncomingMessage, status: number): Response {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(answer.headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  const body = status === 204 ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
  return new Response(body, { status, headers });
}
