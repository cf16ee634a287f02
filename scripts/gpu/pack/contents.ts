import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** A machine that a pack is for. */
export interface Platform {
  readonly platform: string;
  readonly arch: string;
}

const LOCK = z.object({
  packages: z.record(
    z.string(),
    z.object({
      dev: z.boolean().optional(),
      optional: z.boolean().optional(),
      os: z.array(z.string()).optional(),
      cpu: z.array(z.string()).optional(),
    }),
  ),
});

/** Where onnxruntime-node keeps its libraries: `bin/napi-v6/PLATFORM/ARCH`. */
const LIBRARIES = /^node_modules\/onnxruntime-node\/bin\/napi-v\d+\/([^/]+)\/([^/]+)\//;
/** Types, maps and pages, which do not run. */
const NOT_RUN = /\.(?:d\.[cm]?ts|map|md|tsbuildinfo)$/;

/** Files of a clone that run the program, as paths from `root`: compiled code and production packages. */
export function programFiles(root: string, machine: Platform): readonly string[] {
  const packages = productionPackages(root, machine);
  const found = [
    ...listed(root, 'dist', []),
    ...packages.flatMap((folder) => listed(root, folder, ['node_modules'])),
    'package.json',
    'LICENSE',
  ];
  return found.filter((path) => !NOT_RUN.test(path) && isFor(path, machine));
}

/** Folders of the packages that the lock file names for production and that fit the machine. */
function productionPackages(root: string, { platform, arch }: Platform): readonly string[] {
  const { packages } = LOCK.parse(JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')));
  const fits = (allowed: readonly string[] | undefined, value: string): boolean =>
    allowed?.includes(value) ?? true;
  return Object.entries(packages)
    .filter(([folder, { dev, os, cpu }]) => folder !== '' && !dev && fits(os, platform) && fits(cpu, arch))
    .filter(([folder, { optional }]) => {
      if (existsSync(join(root, folder, 'package.json'))) return true;
      if (optional) return false;
      throw new Error(`${folder} is not installed: \`npm run build\` installs it`);
    })
    .map(([folder]) => folder);
}

function isFor(path: string, { platform, arch }: Platform): boolean {
  const [, ofPlatform, ofArch] = LIBRARIES.exec(path) ?? [];
  return ofPlatform === undefined || (ofPlatform === platform && ofArch === arch);
}

/** Plain files below a folder, but for those in folders of these names. */
export function listed(root: string, folder: string, without: readonly string[]): readonly string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return without.includes(entry.name) ? [] : listed(root, path, without);
    return entry.isFile() ? [path] : [];
  });
}
