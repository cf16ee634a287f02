import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { FILES, type ImageManifest, parseManifest } from '../../enclave/image/release/manifest.ts';
import { type Setting, vouchsafe } from './commands.ts';

export interface Sources {
  /** Configuration of the service. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Folder with a folder for each model. */
  readonly models: string;
}

export interface BuildWay {
  /** Folder of pinned inputs. */
  readonly cache: string;
  readonly offline: boolean;
}

/** An image in its folder. */
export interface BuiltImage {
  readonly folder: string;
  readonly manifest: ImageManifest;
  readonly seconds: number;
}

/** Inputs that could not be had: no mirror is reachable, and the cache has not got them. */
export class InputsUnavailable extends Error {}

export async function build(
  folder: string,
  { config, models }: Sources,
  { cache, offline }: BuildWay,
  setting: Setting = {},
): Promise<BuiltImage> {
  await mkdir(folder, { recursive: true });
  const file = `${folder}.json`;
  await writeFile(file, JSON.stringify(config));
  const begun = performance.now();
  const args = ['--out', folder, '--config', file, '--models', models, '--cache', cache, '--name', 'vm-test'];
  const { code, stderr } = await vouchsafe(
    ['image', 'build', ...args, ...(offline ? ['--offline'] : [])],
    setting,
  );
  if (code !== 0) {
    const message = `image build: ${stderr.trim()}`;
    throw stderr.includes('IMAGE_INPUT_UNAVAILABLE') ? new InputsUnavailable(message) : new Error(message);
  }
  const manifest = parseManifest(await readFile(join(folder, FILES.manifest)));
  return { folder, manifest, seconds: (performance.now() - begun) / 1000 };
}

/** Two years later: for `Date`, which is all that a program asks. */
const OTHER_CLOCK = `
  const ahead = 2 * 365 * 24 * 3600 * 1000;
  globalThis.Date = class extends Date {
    constructor(...args) { args.length === 0 ? super(Date.now()) : super(...args); }
    static now() { return super.now() + ahead; }
  };`;

/** All of the build machine that a build could see, otherwise: user, language, clock, mask, path, name of the host. */
export function otherMachine(folder: string): Setting {
  const renamed = ['unshare', '--uts', 'sh', '-c', 'hostname elsewhere && exec "$@"', 'sh'];
  const somebody = ['unshare', '--user', '--map-user=65534'];
  return {
    umask: 0o077,
    environment: {
      TZ: 'Pacific/Kiritimati',
      LANG: 'tr_TR.UTF-8',
      LC_ALL: 'tr_TR.UTF-8',
      HOME: folder,
      USER: 'someone',
      LOGNAME: 'someone',
      SOURCE_DATE_EPOCH: '1234567890',
      TMPDIR: folder,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(OTHER_CLOCK)}`,
    },
    wrapper: [...(works(renamed) ? renamed : []), ...(works(somebody) ? somebody : [])],
  };
}

/** Whether this machine lets a program run so. */
function works([command = '', ...wrapper]: readonly string[]): boolean {
  return spawnSync(command, [...wrapper, 'true'], { stdio: 'ignore' }).status === 0;
}

/** Files that differ between two builds, by their names. */
export function differences(one: ImageManifest, other: ImageManifest): readonly string[] {
  const digests = (manifest: ImageManifest): ReadonlyMap<string, string> =>
    new Map(manifest.outputs.map(({ file, sha256 }) => [file, sha256]));
  const [left, right] = [digests(one), digests(other)];
  return [...new Set([...left.keys(), ...right.keys()])].filter((file) => left.get(file) !== right.get(file));
}
