import type { RequestListener, ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import { constants } from 'node:crypto';
import type { Socket } from 'node:net';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import type { Channel } from '../../attestation/receipt/claims.ts';

/** How often it is looked whether there is newer evidence or another key (ms): each change makes a certificate. */
const RENEWAL_MS = 1_000;
/** Longest handshake (ms): slow clients hold no connection. */
const HANDSHAKE_MS = 10_000;

/**
 * TLS 1.3 alone: whoever records traffic and gets the key later reads nothing. Without tickets every connection is a
 * handshake with the key in use, so that none goes on under a key that is gone.
 */
const FIXED: SecureContextOptions = { minVersion: 'TLSv1.3', secureOptions: constants.SSL_OP_NO_TICKET };

const NONE = new Uint8Array(0);

/** A key with which TLS ends here, as this room sees it: the private half stays with whoever made it. */
export interface TlsKey {
  /** True where the certificate names the evidence, so that newer evidence asks for another certificate. */
  readonly namesEvidence: boolean;
  /** Hands key and certificate to `take`, which reads them before it returns. `evidence` where there is some. */
  present(evidence: Uint8Array | undefined, take: (options: SecureContextOptions) => void): Promise<void>;
}

export interface TlsParts {
  /** The key of the keyset in use. */
  readonly key: () => TlsKey;
  /** Digest of the newest evidence document; undefined while there is none. */
  readonly evidence: () => Uint8Array | undefined;
  readonly onFailure: (error: unknown) => void;
}

/** How a request that is not sealed came: what a proxy did on the way before us does not count. */
export function channelOf(socket: Socket): Channel {
  return socket instanceof TLSSocket ? 'tls' : 'plain';
}

/** A server in which TLS ends, with the key of the keyset in use and a certificate that names the newest evidence. */
export class TlsServer {
  readonly server: Server;
  readonly #parts: TlsParts;
  /** Key of each open connection. */
  readonly #keys = new WeakMap<object, TlsKey>();
  #timer: NodeJS.Timeout | undefined;
  #shown: { readonly key: TlsKey; readonly evidence: Uint8Array | undefined } | undefined;
  #renewing = false;

  private constructor(options: ServerOptions, listener: RequestListener, parts: TlsParts) {
    this.#parts = parts;
    this.server = createServer(
      { ...options, ...FIXED, handshakeTimeout: HANDSHAKE_MS },
      (request, response) => {
        // A connection under a former key ends with this answer: its client meets the new one.
        if (this.#keys.get(request.socket) !== parts.key()) response.setHeader('connection', 'close');
        listener(request, response);
      },
    );
    this.server.on('secureConnection', (socket) => {
      if (this.#shown) this.#keys.set(socket, this.#shown.key);
    });
    this.server.on('listening', () => {
      this.#timer = setInterval(() => void this.#renewWhenDue(), RENEWAL_MS);
      this.#timer.unref();
    });
    this.server.on('close', () => {
      clearInterval(this.#timer);
    });
  }

  static async create(
    options: ServerOptions,
    listener: RequestListener,
    parts: TlsParts,
  ): Promise<TlsServer> {
    const created = new TlsServer(options, listener, parts);
    await created.#renew();
    return created;
  }

  async #renewWhenDue(): Promise<void> {
    if (this.#renewing || !this.#isDue()) return;
    this.#renewing = true;
    try {
      await this.#renew();
    } catch (error) {
      this.#parts.onFailure(error);
    } finally {
      this.#renewing = false;
    }
  }

  #isDue(): boolean {
    const { key, evidence } = this.#parts;
    const shown = this.#shown;
    if (shown?.key !== key()) return true;
    return shown.key.namesEvidence && !equalBytes(shown.evidence ?? NONE, evidence() ?? NONE);
  }

  async #renew(): Promise<void> {
    const [key, evidence] = [this.#parts.key(), this.#parts.evidence()];
    await key.present(evidence, (options) => {
      this.server.setSecureContext({ ...FIXED, ...options });
      this.#shown = { key, evidence };
    });
  }
}
