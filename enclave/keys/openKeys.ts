import type { Keyset } from '../../attestation/keyset.ts';
import { KeysetLine } from './keysetLine.ts';
import { openTlsKeys } from './tls/tlsKeys.ts';

const DAY_SECONDS = 86_400;

/** The settings that keys depend on, as the configuration of the service has them. */
export interface KeysConfig {
  readonly server: { readonly name: string; readonly host: string };
  readonly receipts: { readonly algorithm: 'ES256' | 'Ed25519'; readonly keysetDays: number };
  readonly tls: {
    readonly enabled: boolean;
    readonly pkcs12File?: string | undefined;
    readonly passwordFile?: string | undefined;
  };
}

export interface KeysParts {
  readonly software: Keyset['software'];
  /** Told of each generation after the first, when it is in use. */
  readonly onEnter: (keyset: Keyset) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Makes the keys of an instance, that of TLS included. Throws `TlsKeyError`. */
export async function openKeys({ server, receipts, tls }: KeysConfig, parts: KeysParts): Promise<KeysetLine> {
  const { name, host } = server;
  return KeysetLine.start({
    ...parts,
    host: name,
    lifetimeSeconds: receipts.keysetDays * DAY_SECONDS,
    receiptAlgorithm: receipts.algorithm,
    tls: await openTlsKeys({ ...tls, hosts: [name, host], now: parts.now }),
  });
}
