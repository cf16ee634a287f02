import { createPublicKey } from 'node:crypto';
import { z } from 'zod';

const statementIssuer = z.strictObject({
  /** `iss` of its statements (RFC 9943). */
  iss: z.string().min(1).max(8192),
  publicKey: z.string().max(16_384).refine(isPublicKey, 'no PEM of a public key'),
});

function isPublicKey(pem: string): boolean {
  try {
    return pem.startsWith('-----BEGIN PUBLIC KEY-----') && createPublicKey(pem).type === 'public';
  } catch {
    return false;
  }
}

/** Registration of signed statements of others (RFC 9943). */
export const scittSection = z.strictObject({
  enabled: z
    .boolean()
    .default(false)
    .meta({ description: 'Whether signed statements of others are registered in the log.', measured: true }),
  issuers: z.array(statementIssuer).max(256).default([]).meta({
    description: 'Whose statements are registered: iss and the PEM of the public key of each.',
  }),
  maxBytes: z
    .int()
    .min(256)
    .max(262_144)
    .default(65_535)
    .meta({ description: 'Largest statement as sent; an entry has at most 65,535 bytes.', measured: true }),
});
