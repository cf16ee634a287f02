import { z } from 'zod';
import { hasNoSecret } from './outsiders.ts';

/** The bucket that log and archive may use. None of it decides outputs or what is vouched for. */
export const objectStoreSection = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/ })
    .max(1024)
    .refine(hasNoSecret, 'names a user or a password: the address is printed')
    .optional()
    .meta({ description: 'Address of an S3-compatible store. Without it that of Amazon in the region.' }),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,64}$/)
    .default('us-east-1')
    .meta({ description: 'Region that requests are signed for.' }),
  bucket: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)
    .optional()
    .meta({ description: 'Bucket; without it there is no object store.' }),
  prefix: z
    .string()
    .regex(/^(?:(?!\.+(?:\/|$))[A-Za-z0-9._-]+(?:\/(?!$)|$))*$/)
    .max(100)
    .default('vouchsafe')
    .meta({ description: 'Begins every key, without `/` at its ends. One service, one prefix.' }),
  accessKeyId: z.string().min(1).max(256).optional().meta({ description: 'Name of the access key.' }),
  secretAccessKey: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'Secret of the access key.', secret: true }),
  pathStyle: z
    .boolean()
    .default(true)
    .meta({ description: 'Whether the bucket is named in the path; false: in the host.' }),
});
