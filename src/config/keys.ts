import { z } from 'zod';

const namedKey = z.strictObject({
  /** Of a tenant: receipts commit to it. Of an auditor: records of the log name it. */
  name: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/),
  /** Of the key's UTF-8 text, in lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});

const namedKeys = z
  .array(namedKey)
  .max(10_000)
  .refine((keys) => new Set(keys.map(({ name }) => name)).size === keys.length, 'a name is given twice')
  .refine((keys) => new Set(keys.map(({ sha256 }) => sha256)).size === keys.length, 'a key is given twice');

function eachKeyHasOneRole({ apiKeys, auditorKeys, adminKeySha256 }: KeySection): boolean {
  const digests = [...apiKeys, ...auditorKeys].map(({ sha256 }) => sha256);
  if (adminKeySha256 !== undefined) digests.push(adminKeySha256);
  return new Set(digests).size === digests.length;
}

interface KeySection {
  readonly apiKeys: readonly { readonly sha256: string }[];
  readonly auditorKeys: readonly { readonly sha256: string }[];
  readonly adminKeySha256?: string | undefined;
}

/** Who may ask. */
export const keysSection = z
  .strictObject({
    apiKeys: namedKeys
      .default([])
      .meta({ description: 'API keys: a name and the SHA-256 of each.', secret: true }),
    auditorKeys: namedKeys.default([]).meta({
      description: 'Keys of auditors, who read the log and the archive: a name and the SHA-256 of each.',
      secret: true,
    }),
    adminKeySha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .meta({
        description: 'SHA-256 of the key that reads the metrics, loads and unloads models.',
        secret: true,
      }),
    required: z.enum(['auto', 'always', 'never']).default('auto').meta({
      description: 'Whether requests need a key. auto: yes, except on loopback without any key.',
      measured: true,
    }),
  })
  .refine(eachKeyHasOneRole, 'a key is of two roles');
