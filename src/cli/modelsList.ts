import type { Command } from 'commander';
import { readCatalogue, resolveReference, type Catalogue } from '../models/release/catalogue.ts';
import type { ReleaseRecord } from '../models/release/record.ts';
import { readStore, type ModelStore } from '../models/store.ts';
import { newCommand } from './command.ts';
import { sizeText } from './byteProgress.ts';
import { reporting, storeConfig, withStoreOptions, type StoreFlags } from './modelsStore.ts';
import { releaseJson, releaseName, sourceText, totalBytes } from './modelsText.ts';
import { printable, stdout } from './terminal.ts';

export function listCommand(): Command {
  return withStoreOptions(
    newCommand('list', 'List releases, aliases and plain folders; nothing is hashed', [
      ['of the configuration’s folder', 'vouchsafe models list'],
      ['digests and sources, for a script', 'vouchsafe models list --json'],
    ]),
  ).action(runList);
}

async function runList(flags: StoreFlags): Promise<void> {
  const { directory, signing, quotaBytes } = await storeConfig(flags);
  const [catalogue, store] = await reporting(
    async () => [await readCatalogue(directory), await readStore(directory, signing)] as const,
  );
  if (flags.json) stdout.json(listJson(directory, catalogue, store, quotaBytes));
  else print(directory, catalogue, store);
}

function listJson(
  directory: string,
  catalogue: Catalogue,
  { models, refused }: ModelStore,
  quotaBytes: number | undefined,
): object {
  const { records, broken, aliases } = catalogue;
  return {
    directory,
    quotaBytes: quotaBytes ?? null,
    usedBytes: usedBytes(catalogue),
    releases: [...records.values()].map((record) => releaseJson(record, aliasesOf(catalogue, record))),
    broken: [...broken].map(([release, { code, message }]) => ({ release, code, message })),
    aliases: Object.fromEntries(aliases),
    served: models.map(({ id, release }) => ({ id, release: release ?? null })),
    refused: refused.map(({ model, code, message }) => ({ id: model, code, message })),
  };
}

/** Each content once. */
function usedBytes({ records }: Catalogue): number {
  const sizes = new Map(
    [...records.values()].flatMap(({ files }) => files.map(({ sha256, size }) => [sha256, size])),
  );
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

function aliasesOf(catalogue: Catalogue, record: ReleaseRecord): readonly string[] {
  return [...catalogue.aliases.keys()].filter((alias) => meansThis(catalogue, alias, record));
}

function meansThis(catalogue: Catalogue, alias: string, record: ReleaseRecord): boolean {
  try {
    return resolveReference(catalogue, alias) === record;
  } catch {
    return false;
  }
}

function print(directory: string, catalogue: Catalogue, { models, refused }: ModelStore): void {
  const { c } = stdout;
  stdout.line(c.bold(`models of ${printable(directory)}`));
  for (const record of catalogue.records.values()) {
    const aliases = aliasesOf(catalogue, record)
      .map((alias) => c.cyan(` ← ${alias}`))
      .join('');
    const signed = record.signer ? c.green(' signed') : '';
    stdout.line(`${c.bold(releaseName(record))}${aliases}  ${sizeText(totalBytes(record))}${signed}`);
    stdout.line(c.dim(`  ${record.digest}  ${record.added.slice(0, 10)}  ${sourceText(record)}`));
  }
  for (const { id } of models.filter(({ release }) => release === undefined)) {
    stdout.line(`${c.bold(id)}  ${c.dim('folder or file, no release')}`);
  }
  for (const { code, message } of catalogue.broken.values())
    stdout.line(c.red(`${code}: ${printable(message)}`));
  for (const { code, message } of refused) stdout.line(c.red(`${code}: ${printable(message)}`));
  if (catalogue.records.size + models.length === 0) stdout.line('There are none.');
}
