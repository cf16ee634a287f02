import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { readLock, type LockedPackage } from './application/lock.ts';
import { rootTree } from './application/root.ts';
import { osRelease } from './application/settings.ts';
import { buildCpio } from './boot/cpio.ts';
import { buildUki } from './boot/uki.ts';
import { writeDisk, type DiskPartition } from './disk/disk.ts';
import { buildErofs } from './disk/erofs.ts';
import { buildEsp } from './disk/esp.ts';
import { PARTITION_TYPES } from './disk/gpt.ts';
import { buildVerity } from './disk/verity.ts';
import { ImageError } from './errors.ts';
import { initrdTree } from './initrd.ts';
import { configFact, modelFacts, pinnedFacts, sourceFact } from './inputFacts.ts';
import type { InputCache } from './inputs/cache.ts';
import { PackageTrees } from './inputs/packageTrees.ts';
import type { Pins } from './inputs/pins.ts';
import { Tools } from './inputs/tools.ts';
import { writeTar } from './inputs/tarWriter.ts';
import { commandLine, GUIDS, OUTPUTS, parametersOf, saltOf } from './layout.ts';
import { modelsTree } from './models.ts';
import type { ImageFacts, VerityFact } from './release/facts.ts';
import type { ImageManifest } from './release/manifest.ts';
import type { LaunchProfile } from './release/profiles.ts';
import { writeManifest } from './release/writeManifest.ts';
import type { Tree } from './tree.ts';

export interface BuildOptions {
  /** A checkout, with its `dist` up to date. */
  readonly source: string;
  /** Files of the image are written here; those of an earlier build are replaced. */
  readonly out: string;
  readonly cache: InputCache;
  readonly pins: Pins;
  /** Configuration of the service. It is in the root, so measured; nothing else configures the image. */
  readonly config: Uint8Array;
  /** Folder with a folder for each model; without one there is no volume for them. */
  readonly models?: string | undefined;
  /** Of the release; it is in the image. `vouchsafe-` and the version where nothing is said. */
  readonly name?: string | undefined;
  /** Commit that the checkout is at, where one is known. */
  readonly commit?: string | undefined;
  readonly profiles?: readonly LaunchProfile[] | undefined;
  readonly onStep?: ((step: BuildStep) => void) | undefined;
}

export type BuildStep = 'inputs' | 'root' | 'models' | 'boot' | 'disk' | 'manifest';

/** What file systems are made of. */
export type TreeOptions = Pick<
  BuildOptions,
  'source' | 'cache' | 'pins' | 'config' | 'models' | 'name' | 'onStep'
>;

/** Inputs that were compared with their pins. */
interface Inputs extends TreeOptions {
  readonly version: string;
  readonly name: string;
  readonly packages: readonly LockedPackage[];
  readonly trees: PackageTrees;
}

/** What is the same for all steps of one build. */
interface Build extends BuildOptions, Inputs {
  readonly name: string;
  readonly tools: Tools;
  /** For files in between. */
  readonly work: string;
}

interface Volume {
  readonly tree: Tree;
  readonly verity: VerityFact;
}

interface BootParts {
  readonly initrd: Tree;
  readonly uname: string;
}

/**
 * Makes an image: the same sources, configuration, models and pins give the same bytes, whatever machine, user, path,
 * clock or language it is made under. Throws `ImageError`; then what `out` holds is no image.
 */
export async function buildImage(options: BuildOptions): Promise<ImageManifest> {
  await mkdir(options.out, { recursive: true });
  const work = await mkdtemp(join(options.out, '.build-'));
  try {
    options.onStep?.('inputs');
    const build = await prepare(options, work);
    options.onStep?.('root');
    const root = await buildRoot(build);
    options.onStep?.('models');
    const models = await buildModels(build);
    options.onStep?.('boot');
    const boot = await buildBoot(build, root, models);
    options.onStep?.('disk');
    await buildDisk(build, models !== undefined);
    options.onStep?.('manifest');
    return await writeManifest(options.out, await factsOf(build, root, models, boot));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** What the file systems of an image hold, for containers and enclaves. */
export interface ImageTrees {
  readonly name: string;
  readonly version: string;
  readonly root: Tree;
  /** Paths from the folder of the models. */
  readonly models: Tree | undefined;
}

/** The trees of an image, without the forms that a VM starts from. Throws `ImageError`. */
export async function buildTrees(options: TreeOptions): Promise<ImageTrees> {
  options.onStep?.('inputs');
  const inputs = await readInputs(options);
  options.onStep?.('root');
  const root = await rootOf(inputs);
  options.onStep?.('models');
  const models = options.models === undefined ? undefined : await modelsTree(options.models);
  return { name: inputs.name, version: inputs.version, root, models: models?.tree };
}

async function readInputs<Options extends TreeOptions>(options: Options): Promise<Options & Inputs> {
  const { source, cache, pins } = options;
  const version = await readVersion(source);
  const packages = await readLock(join(source, 'package-lock.json'));
  await Promise.all([...pins.inputs, ...packages.map(({ pin }) => pin)].map((pin) => cache.get(pin)));
  const trees = new PackageTrees(cache, pins);
  return { ...options, version, name: options.name ?? `vouchsafe-${version}`, packages, trees };
}

async function prepare(options: BuildOptions, work: string): Promise<Build> {
  const inputs = await readInputs(options);
  const tools = await Tools.prepare(options.cache, options.pins, join(work, 'tools'));
  return { ...inputs, tools, work };
}

function rootOf({ source, cache, packages, trees, config, name, version }: Inputs): Promise<Tree> {
  return rootTree({ source, cache, packages, trees, config, release: osRelease(name, version) });
}

async function readVersion(source: string): Promise<string> {
  const text = await readFile(join(source, 'package.json'), 'utf8').catch((error: unknown) => {
    throw new ImageError('IMAGE_APPLICATION_INVALID', 'The checkout has no package.json', { cause: error });
  });
  const { version } = JSON.parse(text) as { readonly version?: unknown };
  if (typeof version !== 'string' || !/^\d+\.\d+\.\d+[a-z0-9.-]*$/.test(version)) {
    throw new ImageError('IMAGE_APPLICATION_INVALID', 'The package of the checkout has no version');
  }
  return version;
}

async function buildRoot(build: Build): Promise<Volume> {
  const tree = await rootOf(build);
  return { tree, verity: await buildVolume(build, 'root', tree) };
}

async function buildModels(
  build: Build,
): Promise<(Volume & { readonly names: readonly string[] }) | undefined> {
  if (build.models === undefined) {
    for (const file of [OUTPUTS.models, OUTPUTS.modelsTree]) await rm(join(build.out, file), { force: true });
    return undefined;
  }
  const { tree, names } = await modelsTree(build.models);
  return { tree, names, verity: await buildVolume(build, 'models', tree) };
}

async function buildVolume(
  { tools, out, work }: Build,
  volume: 'root' | 'models',
  tree: Tree,
): Promise<VerityFact> {
  const tar = join(work, `${volume}.tar`);
  const image = join(out, OUTPUTS[volume]);
  await writeTar(tree, tar);
  await buildErofs(tools, tar, image, { uuid: GUIDS[`${volume}FileSystem`], compressed: volume === 'root' });
  await rm(tar);
  const salt = saltOf(volume);
  const { rootHash, dataBlocks } = await buildVerity(image, join(out, OUTPUTS[`${volume}Tree`]), salt);
  return { rootHash: toHex(rootHash), dataBlocks, salt: toHex(salt) };
}

async function buildBoot(build: Build, root: Volume, models: Volume | undefined): Promise<BootParts> {
  const { trees, tools, out, work, name, version } = build;
  const { kernel, uname, modules } = await trees.kernel();
  const tree = await initrdTree(tools, modules, work);
  const initrd = await buildCpio(tree);
  const cmdline = commandLine(root.verity, models?.verity);
  const stub = await trees.stub();
  const uki = buildUki({ stub, kernel, initrd, cmdline, osRelease: osRelease(name, version), uname });
  await writeFile(join(out, OUTPUTS.kernel), kernel);
  await writeFile(join(out, OUTPUTS.initrd), initrd);
  await writeFile(join(out, OUTPUTS.cmdline), cmdline);
  await writeFile(join(out, OUTPUTS.uki), uki);
  return { initrd: tree, uname };
}

async function buildDisk({ tools, out, work }: Build, hasModels: boolean): Promise<void> {
  const esp = join(work, 'esp');
  await buildEsp(tools, join(out, OUTPUTS.uki), esp);
  const { esp: espType, ...types } = PARTITION_TYPES;
  const volume = (name: string, type: string, guid: string, file: string): DiskPartition => ({
    name,
    type,
    guid,
    readOnly: true,
    path: join(out, file),
  });
  const models = [
    volume('models', types.models, GUIDS.models, OUTPUTS.models),
    volume('models-verity', types.modelsVerity, GUIDS.modelsTree, OUTPUTS.modelsTree),
  ];
  await writeDisk(join(out, OUTPUTS.disk), GUIDS.disk, [
    { name: 'esp', type: espType, guid: GUIDS.esp, readOnly: false, path: esp },
    volume('root', types.root, GUIDS.root, OUTPUTS.root),
    volume('root-verity', types.rootVerity, GUIDS.rootTree, OUTPUTS.rootTree),
    ...(hasModels ? models : []),
  ]);
}

async function factsOf(
  build: Build,
  root: Volume,
  models: (Volume & { readonly names: readonly string[] }) | undefined,
  { initrd, uname }: BootParts,
): Promise<ImageFacts> {
  const { pins, packages, cache, source, version, name, commit, config, profiles } = build;
  const sources = await sourceFact(source, version);
  const inputs = [
    ...(await pinnedFacts(pins, packages, cache)),
    sources,
    configFact(config),
    ...(models ? await modelFacts(models.names, models.tree) : []),
  ];
  const { disk, uki, kernel, cmdline, initrd: initrdFile, root: rootFile, rootTree: rootTreeFile } = OUTPUTS;
  const outputs = { disk, uki, kernel, initrd: initrdFile, cmdline, root: rootFile, rootTree: rootTreeFile };
  return {
    name,
    version,
    source: { commit, tree: sources.sha256 },
    stub: 'systemd-257',
    uname,
    parameters: parametersOf(),
    inputs,
    outputs: models ? { ...outputs, models: OUTPUTS.models, modelsTree: OUTPUTS.modelsTree } : outputs,
    root: root.verity,
    models: models && { ...models.verity, models: models.names.map((folder) => ({ name: folder })) },
    trees: { root: root.tree, initrd, models: models?.tree },
    profiles,
  };
}
