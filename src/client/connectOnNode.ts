import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { connect, type ConnectOptions } from './connect.ts';
import { EvidenceTls } from './evidenceTls.ts';
import type { Session } from './session.ts';

/**
 * `connect` with what Node has: OpenSSL in place of WebCrypto, connections that are kept, and TLS keys that the evidence
 * vouches for. Options of the caller's come first; with a `relay` or a `fetch` of the caller's that is the way.
 */
export function connectOnNode(url: string, options: ConnectOptions): Promise<Session> {
  const isOwnWay = options.relay !== undefined || options.fetch !== undefined;
  return connect(url, {
    crypto: nodeCrypto,
    ...(!isOwnWay && { transport: new EvidenceTls() }),
    ...options,
  });
}
