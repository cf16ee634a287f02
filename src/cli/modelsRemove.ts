import type { Command } from 'commander';
import { HostingError } from '../models/hostingErrors.ts';
import { resolveReference, type Catalogue } from '../models/release/catalogue.ts';
import { isReference, referenceOf } from '../models/release/names.ts';
import { changeStore, type ReleaseStore } from '../models/release/releaseStore.ts';
import { newCommand } from './command.ts';
import { sizeText } from './byteProgress.ts';
import { reporting, storeConfig, withStoreOptions, type StoreFlags } from './modelsStore.ts';
import { stdout } from './terminal.ts';

interface RemoveFlags extends StoreFlags {
  readonly force?: boolean;
}

export function removeCommand(): Command {
  const command = newCommand('remove', 'Remove a release, and its contents where no other release has them', [
    ['one that nothing means any more', 'vouchsafe models remove tinygpt@1.0'],
    ['together with the aliases that mean it', 'vouchsafe models remove tinygpt@1.0 --force'],
  ])
    .argument('<release>', 'name@version')
    .option('--force', 'also where an alias means it; the alias goes, too');
  return withStoreOptions(command)
    .addHelpText('after', '\nA service that has the model loaded goes on with it until it is loaded anew.\n')
    .action(runRemove);
}

async function runRemove(release: string, flags: RemoveFlags): Promise<void> {
  const { directory } = await storeConfig(flags);
  const { removed, aliases, freed } = await reporting(() =>
    changeStore(directory, (store) => remove(store, release, flags.force ?? false)),
  );
  if (flags.json) stdout.json({ removed, aliases, freedBytes: freed });
  else
    stdout.line(
      `${removed} is removed, ${sizeText(freed)} are free${aliases.map((alias) => `; ${alias} is no alias any more`).join('')}`,
    );
}

async function remove(store: ReleaseStore, release: string, force: boolean) {
  const before = await store.usedBytes();
  const catalogue = await store.read();
  const removed = catalogue.broken.has(release) ? release : referenceOf(requireRelease(catalogue, release));
  const aliases = [...catalogue.aliases.keys()].filter((alias) => means(catalogue, alias) === removed);
  if (aliases.length > 0 && !force) {
    throw new HostingError(
      'RELEASE_IN_USE',
      `${aliases.join(', ')} ${aliases.length === 1 ? 'means' : 'mean'} ${removed}`,
    );
  }
  for (const alias of aliases) await store.setAlias(alias, undefined);
  await store.remove(removed);
  return { removed, aliases, freed: before - (await store.usedBytes()) };
}

/** What is removed is named in full: an alias may mean another release tomorrow. */
function requireRelease(catalogue: Catalogue, release: string) {
  if (isReference(release)) return resolveReference(catalogue, release);
  throw new HostingError('RELEASE_NAME_INVALID', `${JSON.stringify(release)} is no name@version`);
}

function means(catalogue: Catalogue, alias: string): string | undefined {
  try {
    return referenceOf(resolveReference(catalogue, alias));
  } catch {
    // An alias may mean a release whose record cannot be read.
    return catalogue.aliases.get(alias);
  }
}
