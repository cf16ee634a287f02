import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { readLock } from '../../enclave/image/application/lock.ts';
import { archiveInputs, LIST } from '../../enclave/image/inputs/archive.ts';
import { PACKAGE_ROOT } from '../config/package.ts';
import { newCommand } from './command.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { type CacheFlags, withCache, withCacheOptions } from './imageSources.ts';
import { printable, stdout } from './terminal.ts';

interface ArchiveFlags extends CacheFlags {
  readonly sources?: boolean;
}

const EXAMPLES = [
  [
    'every input, so that the image can be made when nobody else has them',
    'vouchsafe image archive inputs --sources',
  ],
  [
    'build from it',
    "vouchsafe image build --out image --config production.json --mirror '/srv/inputs/{archive}/{path}'",
  ],
] as const;

const WORDS = `
With --sources the packages that Debian's programs were built from go along.
Mirrors drop old ones: what none has is named, and nothing is left out in silence.
`;

export function archiveImageCommand(): Command {
  const command = newCommand('archive', 'Keep all inputs of an image in a folder', EXAMPLES)
    .argument('<folder>', 'where they go, laid out as a mirror and a registry')
    .option('--sources', 'also the source packages of Debian');
  return withCacheOptions(command).addHelpText('after', `${WORDS}${IMAGE_EXIT_HELP}`).action(runArchive);
}

async function runArchive(folder: string, flags: ArchiveFlags): Promise<void> {
  await mkdir(folder, { recursive: true });
  const list = await imageAction(() =>
    withCache(flags, async (cache, { inputs, sources }) => {
      const packages = (await readLock(join(PACKAGE_ROOT, 'package-lock.json'))).map(({ pin }) => pin);
      const wanted = flags.sources === true ? sources : [];
      return archiveInputs(cache, [...inputs, ...packages, ...wanted], folder);
    }),
  );
  const count = list.split('\n').length - 1;
  stdout.line(`${stdout.c.green('✓')} ${count} files in ${printable(folder)}, digests in ${LIST}`);
}
