import type { Command } from 'commander';
import { HostingError } from '../models/hostingErrors.ts';
import { changeStore } from '../models/release/releaseStore.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { reporting, storeConfig, withStoreOptions, type StoreFlags } from './modelsStore.ts';
import { stdout } from './terminal.ts';

interface AliasFlags extends StoreFlags {
  readonly delete?: boolean;
}

export function aliasCommand(): Command {
  const command = newCommand('alias', 'Let a name mean a release from the next load on', [
    ['serve another version under the same name', 'vouchsafe models alias tinygpt tinygpt@1.1'],
    ['always the one that was added last', 'vouchsafe models alias tinygpt tinygpt@latest'],
    ['serve it no more', 'vouchsafe models alias tinygpt --delete'],
  ])
    .argument('<alias>', 'model id by which requests name the release')
    .argument('[release]', 'name@version or name@latest')
    .option('--delete', 'remove the alias');
  return withStoreOptions(command).action(runAlias);
}

async function runAlias(alias: string, release: string | undefined, flags: AliasFlags): Promise<void> {
  if ((release === undefined) !== (flags.delete ?? false)) {
    throw new CliError(EXIT.misuse, 'an alias takes a release, or --delete');
  }
  const { directory } = await storeConfig(flags);
  await reporting(() =>
    changeStore(directory, async (store) => {
      if (release === undefined && !(await store.read()).aliases.has(alias)) {
        throw new HostingError('RELEASE_UNKNOWN', `there is no alias ${JSON.stringify(alias)}`);
      }
      await store.setAlias(alias, release);
    }),
  );
  if (flags.json) stdout.json({ alias, release: release ?? null });
  else
    stdout.line(
      release === undefined ? `${alias} is removed` : `${alias} means ${release} from the next load on`,
    );
}
