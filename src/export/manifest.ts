import * as z from 'zod';
import { fromUtf8, utf8 } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { JsonError, parseStrictJsonText } from '../../attestation/json/strict.ts';
import { ExportError } from './errors.ts';
import { byCodeUnits, isSharedPath, parseMember } from './paths.ts';

export const EXPORT_FORMAT = 'vouchsafe/export/1';
/** A log of 100,000,000 entries has about 800,000 files of 150 bytes each here. */
const MAX_MANIFEST_BYTES = 256 * 1024 * 1024;

const hex = (bytes: number) => z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`));
const count = z.int().min(0);
const time = z.iso.datetime({ precision: 3 });

const instanceSchema = z.strictObject({
  instance: hex(16),
  origin: z.string().min(1).max(255),
  created: count,
  /** Entries that the source holds; the export holds those of `entries`. */
  size: count,
  /** First and last index (inclusive) of the span that was asked for; absent where it holds none. */
  entries: z.tuple([count, count]).optional(),
  /** First and last seq of the evidence documents of the span; document 0 is always there. */
  documents: z.tuple([count, count]).optional(),
});

const manifestSchema = z.strictObject({
  format: z.literal(EXPORT_FORMAT),
  /** The time range that was asked for, by the clocks of the guests; absent where all was. */
  range: z.strictObject({ from: time.optional(), to: time.optional() }).optional(),
  instances: z.array(instanceSchema),
  files: z.array(z.strictObject({ path: z.string().max(200), size: count, sha256: hex(32) })),
});

export type ExportManifest = z.infer<typeof manifestSchema>;
export type ExportedInstance = z.infer<typeof instanceSchema>;
export type ExportedFile = ExportManifest['files'][number];

/** One line for each file, so that two manifests can be compared by eye; the same bytes for the same value. */
export function encodeManifest(manifest: ExportManifest): Uint8Array {
  const { format, range, instances, files } = manifest;
  const head = JSON.stringify(
    { format, ...(range ? { range } : {}), instances: instances.map(ordered) },
    undefined,
    1,
  );
  const lines = files.map(({ path, size, sha256 }) => `  ${JSON.stringify({ path, size, sha256 })}`);
  const list = lines.length > 0 ? `\n${lines.join(',\n')}\n ` : '';
  return utf8(`${head.slice(0, -2)},\n "files": [${list}]\n}\n`);
}

function ordered({
  instance,
  origin,
  created,
  size,
  entries,
  documents,
}: ExportedInstance): ExportedInstance {
  return {
    instance,
    origin,
    created,
    size,
    ...(entries ? { entries } : {}),
    ...(documents ? { documents } : {}),
  };
}

/** Parses a manifest: closed, every path of the layout, sorted and once. It is not signed. */
export function parseManifest(bytes: Uint8Array): ExportManifest {
  if (bytes.length > MAX_MANIFEST_BYTES)
    throw malformed(`${bytes.length} bytes exceed ${MAX_MANIFEST_BYTES}`);
  const result = manifestSchema.safeParse(readJson(bytes));
  if (!result.success) throw malformed(result.error.issues[0]?.message ?? 'its members');
  const { instances, files } = result.data;
  const known = new Set(instances.map(({ instance }) => instance));
  if (known.size !== instances.length) throw malformed('an instance stands twice');
  files.forEach(({ path }, i) => {
    const member = parseMember(path);
    if (member ? !known.has(member.instance) : !isSharedPath(path))
      throw malformed(`${path.slice(0, 80)} has no place in an export`);
    const before = files[i - 1];
    if (before && byCodeUnits(before.path, path) >= 0) throw malformed('its files are not sorted');
  });
  return result.data;
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return parseStrictJsonText(fromUtf8(bytes));
  } catch (error) {
    if (error instanceof JsonError || error instanceof Refusal) throw malformed(error.message);
    throw error;
  }
}

function malformed(detail: string): ExportError {
  return new ExportError('EXPORT_MALFORMED', `manifest: ${detail}`);
}
