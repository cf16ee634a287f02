import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { HostingError } from '../hostingErrors.ts';
import { layoutOf, namesIn, readSmall, RECORD_FILE, SIGNATURE_FILE, type Layout } from './layout.ts';
import { isAlias, isReference, LATEST, parseReference, referenceOf } from './names.ts';
import { MAX_RECORD_BYTES, parseRecord, type ReleaseRecord } from './record.ts';

const MAX_ALIASES_BYTES = 0x10_0000;
/** Largest signature: 4,096 resources in base64 have some 1 MB. */
export const MAX_SIGNATURE_BYTES = 0x100_0000;

/** What a release store holds. */
export interface Catalogue {
  /** By `name@version`, in the order of these. */
  readonly records: ReadonlyMap<string, ReleaseRecord>;
  /** Releases whose record cannot be read. */
  readonly broken: ReadonlyMap<string, HostingError>;
  /** Alias to `name@version` or `name@latest`, in the order of the aliases. */
  readonly aliases: ReadonlyMap<string, string>;
}

/** Reads the records and the aliases of a store; nothing is hashed. A store without releases is empty. */
export async function readCatalogue(directory: string): Promise<Catalogue> {
  const layout = layoutOf(directory);
  const records = new Map<string, ReleaseRecord>();
  const broken = new Map<string, HostingError>();
  for (const reference of await namesIn(layout.releases)) {
    try {
      records.set(reference, await readRecord(layout, reference));
    } catch (error) {
      if (!(error instanceof HostingError)) throw error;
      broken.set(reference, error);
    }
  }
  return { records, broken, aliases: await readAliases(layout) };
}

export async function readRecord(layout: Layout, reference: string): Promise<ReleaseRecord> {
  const folder = join(layout.releases, reference);
  const found = isReference(reference) ? await lstat(folder).catch(() => undefined) : undefined;
  if (!found?.isDirectory()) throw new HostingError('RELEASE_UNKNOWN', `there is no release ${reference}`);
  const bytes = await readSmall(join(folder, RECORD_FILE), MAX_RECORD_BYTES);
  if (!bytes) throw new HostingError('RECORD_MALFORMED', `${reference}: there is no record`);
  return parseRecord(bytes, reference);
}

/** The signature bundle that came with a release. */
export function readSignature(layout: Layout, reference: string): Promise<Uint8Array | undefined> {
  return readSmall(join(layout.releases, reference, SIGNATURE_FILE), MAX_SIGNATURE_BYTES);
}

async function readAliases({ aliases: path }: Layout): Promise<ReadonlyMap<string, string>> {
  const bytes = await readSmall(path, MAX_ALIASES_BYTES);
  if (!bytes) return new Map();
  const entries = Object.entries(parseAliases(bytes));
  const isGood = ([alias, target]: [string, unknown]): boolean =>
    isAlias(alias) && typeof target === 'string' && isReference(target);
  if (!entries.every(isGood)) throw new HostingError('RECORD_MALFORMED', 'the aliases cannot be read');
  return new Map((entries as [string, string][]).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function parseAliases(bytes: Uint8Array): object {
  try {
    const value = parseStrictJson(bytes);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
  }
  throw new HostingError('RECORD_MALFORMED', 'the aliases are no JSON object');
}

/** The release that `name@version`, `name@latest` or an alias means. */
export function resolveReference({ records, aliases }: Catalogue, text: string): ReleaseRecord {
  const { name, version } = parseReference(aliases.get(text) ?? text);
  const found =
    version === LATEST
      ? [...records.values()]
          .filter((record) => record.name === name)
          .reduce<ReleaseRecord | undefined>((a, b) => (a && a.sequence > b.sequence ? a : b), undefined)
      : records.get(referenceOf({ name, version }));
  if (found) return found;
  throw new HostingError('RELEASE_UNKNOWN', `there is no release ${name}@${version}`);
}
