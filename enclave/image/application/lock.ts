import { readFile } from 'node:fs/promises';
import * as z from 'zod';
import { ImageError } from '../errors.ts';
import type { NpmPin } from '../inputs/pins.ts';

/** Largest lock file, bytes. */
const MAX_BYTES = 16 * 1024 * 1024;

const entry = z.object({
  name: z.string().optional(),
  version: z.string().optional(),
  integrity: z.string().optional(),
  license: z.string().max(200).optional(),
  link: z.boolean().optional(),
  inBundle: z.boolean().optional(),
  dev: z.boolean().optional(),
  optional: z.boolean().optional(),
  os: z.array(z.string()).optional(),
  cpu: z.array(z.string()).optional(),
  libc: z.array(z.string()).optional(),
});
const lock = z.object({ lockfileVersion: z.literal(3), packages: z.record(z.string(), entry) });
type Entry = z.infer<typeof entry>;

/** Path below the root of the application: every package lies in `node_modules`, of another one or of ours. */
const LOCATION = /^(?:node_modules\/(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][A-Za-z0-9._-]*(?:\/(?!$)|$))+$/;

/** A package of the lock file, and where npm would install it. */
export interface LockedPackage {
  /** `node_modules/a/node_modules/b`. */
  readonly location: string;
  readonly pin: NpmPin;
}

/** The packages that the service needs on Linux on x86-64 with glibc, by their integrity: what `npm ci` would install. */
export async function readLock(file: string): Promise<readonly LockedPackage[]> {
  const text = await readFile(file).catch((error: unknown) => {
    throw new ImageError('IMAGE_APPLICATION_INVALID', 'There is no lock file to install from', {
      cause: error,
    });
  });
  if (text.length > MAX_BYTES) throw invalid(`it is larger than ${MAX_BYTES} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(text.toString('utf8'));
  } catch (error) {
    throw invalid('it is no JSON', { cause: error });
  }
  const result = lock.safeParse(value);
  if (!result.success) throw invalid('it is not of version 3');
  return Object.entries(result.data.packages)
    .filter(
      ([location, found]) =>
        location !== '' && found.dev !== true && !TYPES.test(location) && isForImage(location, found),
    )
    .map(([location, found]) => ({ location, pin: toPin(location, found) }))
    .sort((a, b) => (a.location < b.location ? -1 : 1));
}

/** Packages that hold nothing but types: nothing of them is read at run time. */
const TYPES = /(?:^|\/)node_modules\/@types\/[^/]+$/;

/** Packages of other systems are left out where they are optional; one that is needed does not run here. */
function isForImage(location: string, { os, cpu, libc, optional }: Entry): boolean {
  // Lock files of npm before 11 do not keep `libc`; packages for musl say so in their names.
  const isOfMusl = optional === true && /-musl(?:eabihf)?$/.test(location);
  const fits = matches(os, 'linux') && matches(cpu, 'x64') && matches(libc, 'glibc') && !isOfMusl;
  if (!fits && optional !== true) throw invalid(`${location} is not for Linux on x86-64`);
  return fits;
}

/** As package.json says it: names, or names that are not meant. */
function matches(list: readonly string[] | undefined, name: string): boolean {
  if (list === undefined || list.length === 0) return true;
  if (list.includes(`!${name}`)) return false;
  return list.includes(name) || list.every((item) => item.startsWith('!'));
}

function toPin(location: string, { name, version, integrity, license, link, inBundle }: Entry): NpmPin {
  const own = name ?? location.slice(location.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if (!LOCATION.test(location) || link === true || inBundle === true) {
    throw invalid(`${location} is no package of a registry`);
  }
  if (version === undefined || !/^\d+\.\d+\.\d+[A-Za-z0-9.+-]*$/.test(version))
    throw invalid(`${location} has no version`);
  if (integrity === undefined || !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity)) {
    throw invalid(`${location} has no SHA-512 digest`);
  }
  const path = `${own}/-/${own.slice(own.indexOf('/') + 1)}-${version}.tgz`;
  const licence = license === undefined || license === '' ? {} : { licence: license };
  return { kind: 'npm', name: own, version, path, integrity, ...licence, uses: ['root'] };
}

function invalid(detail: string, options?: ErrorOptions): ImageError {
  return new ImageError('IMAGE_APPLICATION_INVALID', `package-lock.json: ${detail}`, options);
}
