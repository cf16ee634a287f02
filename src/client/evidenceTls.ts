import { createHash } from 'node:crypto';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { ClientError } from './errors.ts';
import type { Fetch, JudgedTransport } from './http.ts';
import { exchangeOnNode } from './nodeExchange.ts';

/** Longest time for a handshake (ms). */
const HANDSHAKE_MS = 30_000;

/**
 * For Node: requests over kept connections; over TLS to a server whose key authorities vouch for, as for everybody, or
 * verified evidence. Until evidence is accepted any key is taken, since nothing of the caller's is sent by then; it must
 * be the key of the keyset. Later connections are compared before a byte of a request goes out.
 */
export class EvidenceTls implements JudgedTransport {
  /** Keys of connections that no authority vouched for. */
  readonly #unjudged: Uint8Array[] = [];
  readonly #open = new HttpAgent({ keepAlive: true });
  #tls = this.#agent();
  #isJudged = false;
  #pinned: Uint8Array | undefined;

  readonly fetch: Fetch = async (url, init) => {
    const target = new URL(url);
    return exchangeOnNode(target.protocol === 'https:' ? this.#tls : this.#open, target, init);
  };

  /** Throws `TLS_REFUSED` where a key so far is neither an authority's business nor that of the keyset. */
  judge(spki: Uint8Array | undefined): void {
    // Connections that were judged by another key are not used again.
    if (this.#isJudged) this.#tls = this.#agent();
    this.#isJudged = true;
    this.#pinned = spki;
    for (const seen of this.#unjudged.splice(0)) requireKey(seen, spki);
  }

  #agent(): HttpsAgent {
    return new JudgingAgent((socket) => {
      if (!socket.authorized) this.#take(socket);
    });
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

/** Keeps connections, each of which was judged after its handshake, before a byte of a request. */
class JudgingAgent extends HttpsAgent {
  readonly #judge: (socket: TLSSocket) => void;

  constructor(judge: (socket: TLSSocket) => void) {
    super({ keepAlive: true });
    this.#judge = judge;
  }

  override createConnection(
    { host, port, servername }: RequestOptions,
    opened: (error: Error | null, socket: Duplex) => void,
  ): undefined {
    const name = servername === undefined || servername === '' ? {} : { servername };
    const socket = connect({ host: host ?? '', port: Number(port), ...name, rejectUnauthorized: false });
    socket.setTimeout(HANDSHAKE_MS, () => socket.destroy(new Error('there was no handshake in time')));
    const failed = (error: Error): void => {
      socket.destroy();
      opened(error, socket);
    };
    socket.once('error', failed);
    socket.once('secureConnect', () => {
      socket.off('error', failed);
      socket.setTimeout(0);
      try {
        this.#judge(socket);
      } catch (error) {
        failed(error as Error);
        return;
      }
      opened(null, socket);
    });
  }
}

function requireKey(seen: Uint8Array, spki: Uint8Array | undefined): void {
  if (spki && equalBytes(seen, spki)) return;
  const detail = spki ? 'the evidence vouches for another TLS key' : 'the evidence vouches for no TLS key';
  throw new ClientError('TLS_REFUSED', `no authority vouches for the certificate, and ${detail}`);
}
