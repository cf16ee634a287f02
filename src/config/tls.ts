import { z } from 'zod';
import { ConfigError } from './errors.ts';

/** TLS that ends in this process, with a key that the keyset names. */
export const tlsSection = z.strictObject({
  enabled: z.boolean().default(false).meta({
    description: 'Whether TLS ends here, with a key in the keyset. The gRPC door stays without.',
  }),
  pkcs12File: z.string().min(1).max(4096).optional().meta({
    description: 'PKCS#12 file of key and certificates, RSA or EC; not set: a self-signed certificate.',
  }),
  passwordFile: z.string().min(1).max(4096).optional().meta({
    description: 'File whose first line is the password of the PKCS#12 file.',
  }),
});

interface Sections {
  readonly tls: z.infer<typeof tlsSection>;
  readonly server: { readonly processes: number };
}

/** Throws `ConfigError` for what cannot be together. */
export function checkTls({ tls, server }: Sections): void {
  const { enabled, passwordFile, pkcs12File } = tls;
  if (!enabled && pkcs12File !== undefined) {
    throw new ConfigError('TLS_INCOMPLETE', 'there is a PKCS#12 file, and TLS is off');
  }
  if (pkcs12File === undefined && passwordFile !== undefined) {
    throw new ConfigError('TLS_INCOMPLETE', 'there is a password file, and no PKCS#12 file');
  }
  if (enabled && server.processes > 1) {
    throw new ConfigError('TLS_UNSUPPORTED', `TLS is on, and ${server.processes} processes serve HTTP`);
  }
}
