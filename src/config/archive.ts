import { z } from 'zod';

const days = z.int().min(0).max(36_500);
/** 32 bytes: 64 hex digits, or base64 with its padding. */
const KEY = /^(?:[0-9a-fA-F]{64}|[A-Za-z0-9+/]{43}=)$/;

interface ArchiveRules {
  readonly enabled: boolean;
  readonly content: boolean;
  readonly contentKey?: string | undefined;
  readonly contentMinDays: number;
  readonly contentMaxDays?: number | undefined;
  readonly receiptsMinDays: number;
  readonly receiptsMaxDays?: number | undefined;
}

function hasKeyForContent({ enabled, content, contentKey }: ArchiveRules): boolean {
  return !content || (enabled && contentKey !== undefined);
}

function maximaAreNotBelowMinima(rules: ArchiveRules): boolean {
  const { contentMinDays, contentMaxDays, receiptsMinDays, receiptsMaxDays } = rules;
  return (
    (contentMaxDays === undefined || contentMaxDays >= contentMinDays) &&
    (receiptsMaxDays === undefined || receiptsMaxDays >= receiptsMinDays)
  );
}

/** The compliance archive. That content is kept is measured: receipts say so through the digest of the configuration. */
export const archiveSection = z
  .strictObject({
    enabled: z
      .boolean()
      .default(false)
      .meta({ description: 'Whether receipts, evidence and logs of all instances are archived.' }),
    directory: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'Folder of the archive; without it `archive` in the data folder.' }),
    postgresql: z
      .string()
      .regex(/^postgres(?:ql)?:\/\//)
      .max(4096)
      .optional()
      .meta({
        description: 'URL of a PostgreSQL database that several nodes share; without it an embedded one.',
        secret: true,
      }),
    blobs: z
      .enum(['disk', 'object-store'])
      .default('disk')
      .meta({ description: 'Where files are: in the folder of the archive, or in the object store.' }),
    objectLockDays: days
      .min(1)
      .optional()
      .meta({ description: 'How long the object store itself keeps files of logs from being removed.' }),
    content: z.boolean().default(false).meta({
      description: 'Whether requests, answers and their commitment keys are kept, encrypted.',
      measured: true,
    }),
    contentKey: z.string().regex(KEY).optional().meta({
      description: 'Key that wraps the keys of content: 32 random bytes, hex or base64.',
      secret: true,
    }),
    contentMinDays: days.default(0).meta({ description: 'No content is erased before.' }),
    contentMaxDays: days.optional().meta({ description: 'Content is erased after; without it, never.' }),
    receiptsMinDays: days
      .default(183)
      .meta({ description: 'Receipts are kept for at least so long; the default is six months.' }),
    receiptsMaxDays: days
      .min(1)
      .optional()
      .meta({ description: 'Receipts are removed from the archive after; without it, never.' }),
  })
  .refine(hasKeyForContent, 'archive.content needs archive.enabled and archive.contentKey')
  .refine(maximaAreNotBelowMinima, 'a maximum is below its minimum');
