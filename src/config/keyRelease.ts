import { z } from 'zod';
import { hasNoSecret } from './outsiders.ts';

/** Keys of sealed models: from whom this node gets them, and which it releases. Nothing of it decides outputs. */
export const keyReleaseSection = z
  .strictObject({
    from: z.enum(['none', 'vouchsafe', 'trustee', 'aws-kms', 'azure']).default('none').meta({
      description: 'Who releases the data keys of sealed models: another node, or a key service.',
    }),
    address: z
      .url({ protocol: /^https?$/ })
      .max(1024)
      .refine(hasNoSecret, 'names a user or a password: the address is printed')
      .optional()
      .meta({ description: 'Address of whoever releases them.' }),
    apiKey: z.string().min(1).max(512).optional().meta({
      description: 'API key by which this node asks there.',
      secret: true,
    }),
    region: z
      .string()
      .regex(/^[a-z0-9-]{1,64}$/)
      .optional()
      .meta({ description: 'Region of AWS KMS.' }),
    accessKeyId: z
      .string()
      .min(1)
      .max(256)
      .optional()
      .meta({ description: 'Name of the access key of AWS.' }),
    secretAccessKey: z.string().min(1).max(256).optional().meta({
      description: 'Secret of the access key of AWS.',
      secret: true,
    }),
    sessionToken: z.string().min(1).max(4096).optional().meta({
      description: 'Session token of temporary credentials of AWS.',
      secret: true,
    }),
    attestationAddress: z
      .url({ protocol: /^https?$/ })
      .max(1024)
      .refine(hasNoSecret, 'names a user or a password: the address is printed')
      .optional()
      .meta({ description: 'Address of the sidecar that fetches tokens of Azure Attestation.' }),
    attestationAuthority: z
      .string()
      .regex(/^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,8}$/)
      .optional()
      .meta({ description: 'Host of the provider of Azure Attestation that the release policy names.' }),
    keys: z.string().min(1).optional().meta({
      description:
        'Folder of wrapping keys, <name>.key, that this node releases. Without it it releases none.',
    }),
    policy: z.string().min(1).optional().meta({
      description: 'Policy file that evidence must satisfy before this node releases a key.',
    }),
  })
  .refine(
    ({ keys, policy }) => (keys === undefined) === (policy === undefined),
    'keys and policy belong together: no key is released without a policy',
  )
  .refine(({ from, address }) => from === 'none' || address !== undefined, 'from needs an address')
  .refine(
    ({ from, attestationAddress, attestationAuthority }) =>
      from !== 'azure' || (attestationAddress !== undefined && attestationAuthority !== undefined),
    'azure needs attestationAddress and attestationAuthority: its vault judges a token of Azure Attestation',
  );
