import { z } from 'zod';
import { ConfigError } from './errors.ts';

const provenance = (description: string) => z.string().min(1).max(1024).optional().meta({ description });

/** Attested Confidential Inference beside our own protocol. */
export const aciSection = z.strictObject({
  enabled: z.boolean().default(false).meta({
    description: 'Whether ACI (aci/1) is answered, too: each nonce of it costs a CPU report of its own.',
    measured: true,
  }),
  repoUrl: provenance('Address of the source, as its reports state it. Nothing vouches for it.'),
  repoCommit: provenance('Commit of the source, as its reports state it.'),
  imageDigest: provenance('Digest of the image, sha256: and hex, as its reports state it.'),
});

interface Sections {
  readonly aci: z.infer<typeof aciSection>;
  readonly server: { readonly processes: number };
  readonly receipts: { readonly enabled: boolean };
}

/** Throws `ConfigError` for what cannot be together. */
export function checkAci({ aci, server, receipts }: Sections): void {
  if (!aci.enabled) return;
  if (server.processes > 1) {
    throw new ConfigError('ACI_UNSUPPORTED', `ACI is on, and ${server.processes} processes serve HTTP`);
  }
  if (!receipts.enabled) throw new ConfigError('ACI_UNSUPPORTED', 'ACI is on, and receipts are off');
}
