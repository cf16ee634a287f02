import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../attestation/json/canonical.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import type { TreeOptions } from '../../enclave/image/build.ts';
import { InputCache } from '../../enclave/image/inputs/cache.ts';
import { type Pins, readPins } from '../../enclave/image/inputs/pins.ts';
import { npmRegistry } from '../../enclave/image/inputs/registry.ts';
import { releaseName } from '../../enclave/image/release/manifest.ts';
import { checkConfig } from '../config/load.ts';
import { PACKAGE_ROOT } from '../config/package.ts';
import { SECTIONS } from '../config/schema.ts';
import { repeated } from './command.ts';
import { readConfig } from './config.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { BuildProgress } from './imageProgress.ts';
import { stderr } from './terminal.ts';

/** Where inputs come from. */
export interface CacheFlags {
  readonly cache: string;
  readonly mirror?: readonly string[];
  readonly offline?: boolean;
}

/** What an image is made of. */
export interface SourceFlags extends CacheFlags {
  readonly config?: string;
  readonly models?: string;
}

/** Options of every command that builds. */
export function withSources(command: Command): Command {
  return withCacheOptions(
    command
      .option('--config <file>', 'configuration of the service, JSON')
      .option('--models <folder>', 'folder with a folder for each model'),
  );
}

export function withCacheOptions(command: Command): Command {
  return command
    .option('--cache <folder>', 'pinned inputs by their digests', defaultCache())
    .option(
      '--mirror <address>',
      'of Debian, with {archive} and {path}, again for more (default: deb.debian.org, snapshots)',
      repeated,
    )
    .option('--offline', 'fetch nothing');
}

function defaultCache(): string {
  const { XDG_CACHE_HOME } = process.env;
  return join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'vouchsafe', 'image');
}

/** Opens what the flags name, and draws how far a build is until `build` ends. */
export async function withInputs<Result>(
  flags: SourceFlags,
  build: (inputs: Omit<TreeOptions, 'name'>) => Promise<Result>,
): Promise<Result> {
  const config = await readImageConfig(flags.config);
  return withCache(flags, (cache, pins, { onStep }) =>
    build({ source: PACKAGE_ROOT, cache, pins, config, models: flags.models, onStep }),
  );
}

/** Opens the cache, and draws what is fetched until `use` ends. */
export async function withCache<Result>(
  { cache: folder, mirror: mirrors, offline = false }: CacheFlags,
  use: (cache: InputCache, pins: Pins, progress: BuildProgress) => Promise<Result>,
): Promise<Result> {
  const pins = await readPins();
  const { snapshots } = pins;
  const registry = offline ? undefined : await npmRegistry();
  const progress = new BuildProgress(stderr);
  const { onInput: onProgress } = progress;
  const cache = new InputCache({ folder, mirrors, registry, snapshots, offline, onProgress });
  try {
    return await use(cache, pins, progress);
  } finally {
    progress.end();
  }
}

type Sections = Readonly<Record<string, unknown>>;

/** What is true of every machine of an image; a configuration that says something else is taken at its word. */
const IMAGE_SETTINGS: Readonly<Record<string, Sections>> = {
  server: { host: '0.0.0.0' },
  models: { directory: '/models' },
  data: { directory: '/data' },
};

/** The configuration in one form, so that spaces in a file change no measurement. The service must be able to use it. */
async function readImageConfig(path: string | undefined): Promise<Uint8Array> {
  if (path === undefined) {
    throw new CliError(
      EXIT.misuse,
      '--config is missing',
      'It is measured: an image has no other configuration.',
    );
  }
  const given = parseConfig(await readInput(path), path);
  const config: Record<string, unknown> = { ...given };
  for (const [section, settings] of Object.entries(IMAGE_SETTINGS)) {
    config[section] = { ...settings, ...(given[section] as Sections | undefined) };
  }
  await readConfig(() => Promise.resolve(checkConfig(withEverySection(config))));
  return utf8(canonicalJson(config));
}

function parseConfig(bytes: Uint8Array, path: string): Sections {
  try {
    const value = parseStrictJson(bytes);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Sections;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new CliError(EXIT.misuse, `${path} ${error.message}`);
  }
  throw new CliError(EXIT.misuse, `${path} is no configuration`);
}

function withEverySection(config: Sections): Sections {
  return { ...Object.fromEntries(Object.keys(SECTIONS).map((section) => [section, {}])), ...config };
}

export function toName(text: string): string {
  if (releaseName.safeParse(text).success) return text;
  throw new InvalidArgumentError(
    'Lower-case letters, digits, dots, plus signs, dashes and underscores, at most 100.',
  );
}
