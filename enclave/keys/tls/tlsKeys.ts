import type { TlsIdentity } from './identity.ts';
import { importPkcs12 } from './pkcs12.ts';

const EVERY_INTERFACE = ['0.0.0.0', '::'];

export interface TlsOptions {
  readonly enabled: boolean;
  /** Key and certificates of the operator; self-signed where there is none. */
  readonly pkcs12File?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** Names and addresses under which clients reach the service; those of every interface are left out. */
  readonly hosts: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Gives the key of TLS for a generation of keys that ends then (seconds since 1970). */
export type TlsKeys = (notAfter: number) => Promise<TlsIdentity>;

/**
 * A new self-signed key for each generation, or the operator's for all of them; undefined where TLS does not end here.
 * Throws `TlsKeyError` for a file that cannot be used.
 */
export async function openTlsKeys(options: TlsOptions): Promise<TlsKeys | undefined> {
  const { enabled, now, passwordFile, pkcs12File: file } = options;
  if (!enabled) return undefined;
  if (file !== undefined) {
    const imported = await importPkcs12({ file, passwordFile, now });
    return () => Promise.resolve(imported);
  }
  const hosts = [...new Set(options.hosts)].filter((host) => !EVERY_INTERFACE.includes(host));
  // The library of certificates takes time to load: only where it is needed.
  const { makeSelfSigned } = await import('./selfSigned.ts');
  return (notAfter) => makeSelfSigned({ hosts, notAfter, now });
}
