import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { listFiles } from './application/dist.ts';
import type { LockedPackage } from './application/lock.ts';
import type { InputCache } from './inputs/cache.ts';
import type { NpmPin, Pin, Pins } from './inputs/pins.ts';
import type { InputFact } from './release/facts.ts';
import { digestFile } from './release/fileDigest.ts';
import type { Tree } from './tree.ts';

/** What the code of the image is compiled from, and by. */
const SOURCES = ['attestation', 'enclave', 'src'];
const BUILDERS = ['package.json', 'package-lock.json', 'tsconfig.base.json', 'tsconfig.json', 'scripts/compile.mjs', 'scripts/pages.mjs']; // prettier-ignore

/** Every file that was fetched, as its digest was compared. */
export async function pinnedFacts(
  pins: Pins,
  packages: readonly LockedPackage[],
  cache: InputCache,
): Promise<readonly InputFact[]> {
  const npm = new Map(packages.map(({ pin }) => [pin.integrity, pin]));
  const all: readonly Exclude<Pin, { kind: 'source' }>[] = [...pins.inputs, ...npm.values()];
  return await Promise.all(
    all.map(async (pin) => {
      const { bytes, sha256 } = await cache.get(pin);
      const { kind, name, version, path, uses } = pin;
      return { kind, name, version, path, bytes, sha256, uses, ...npmFacts(pin) };
    }),
  );
}

function npmFacts(pin: { readonly kind: 'debian' } | NpmPin): Pick<InputFact, 'integrity' | 'licence'> {
  return pin.kind === 'npm' ? { integrity: pin.integrity, licence: pin.licence } : {};
}

/** The sources, without what only people read. */
export async function sourceFact(source: string, version: string): Promise<InputFact> {
  const files = await Promise.all(
    SOURCES.map(async (folder) => (await listFiles(join(source, folder))).map((path) => `${folder}/${path}`)),
  );
  const paths = [...files.flat().filter((path) => !path.endsWith('.md')), ...BUILDERS].sort();
  const digest = await digestList(paths.map((path) => [path, join(source, path)]));
  return { kind: 'source', name: 'vouchsafe', version, path: '', ...digest, uses: ['root', 'initrd'] };
}

export function configFact(config: Uint8Array): InputFact {
  return {
    kind: 'configuration',
    name: 'config.json',
    version: '',
    path: 'etc/vouchsafe/config.json',
    bytes: config.length,
    sha256: createHash('sha256').update(config).digest('hex'),
    uses: ['root'],
  };
}

export async function modelFacts(names: readonly string[], tree: Tree): Promise<readonly InputFact[]> {
  const files = tree
    .entries()
    .flatMap(([path, entry]): [string, string][] =>
      entry.kind === 'file' && !(entry.content instanceof Uint8Array) ? [[path, entry.content.path]] : [],
    );
  return await Promise.all(
    names.map(async (name): Promise<InputFact> => {
      const own = files.filter(([path]) => path.startsWith(`${name}/`));
      return { kind: 'model', name, version: '', path: name, ...(await digestList(own)), uses: ['models'] };
    }),
  );
}

/** SHA-256 of the lines `digest  path`, as sha256sum writes them, in the order of the list. */
async function digestList(
  files: readonly (readonly [path: string, file: string])[],
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const list = createHash('sha256');
  let bytes = 0;
  for (const [path, file] of files) {
    const found = await digestFile(file);
    bytes += found.bytes;
    list.update(`${found.sha256}  ${path}\n`);
  }
  return { bytes, sha256: list.digest('hex') };
}
