import { referenceOf } from '../models/release/names.ts';
import type { ReleaseRecord } from '../models/release/record.ts';
import { printable } from './terminal.ts';

export function releaseName(record: ReleaseRecord): string {
  return referenceOf(record);
}

export function totalBytes({ files }: ReleaseRecord): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/** A release for scripts; members may be added, none is renamed. */
export function releaseJson(record: ReleaseRecord, aliases: readonly string[]): object {
  const { digest, added, source, signer, files } = record;
  return {
    release: releaseName(record),
    digest,
    bytes: totalBytes(record),
    added,
    aliases,
    source,
    signer: signer ?? null,
    files,
  };
}

/** Where a release comes from, for people. */
export function sourceText({ source }: ReleaseRecord): string {
  const { from, resolved } = source;
  return printable(resolved === undefined ? from : `${from} (${resolved})`);
}
