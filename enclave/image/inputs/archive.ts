import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ImageError } from '../errors.ts';
import type { InputCache } from './cache.ts';
import type { Pin } from './pins.ts';

/** Digests of the archived files, as `sha256sum --check` reads them. */
export const LIST = 'SHA256SUMS';
/** Copies at a time. */
const MAX_AT_ONCE = 4;

/** Where an archive keeps a file: as mirrors of Debian and registries of npm lay theirs out. */
export function placeOf(pin: Pin): string {
  return pin.kind === 'npm' ? `npm/${pin.path}` : `${pin.archive}/${pin.path}`;
}

/**
 * Writes every input below a folder, so that the image can be made again when nobody else has them:
 * `FOLDER/{archive}/{path}` is a mirror of the cache then, and `FOLDER/npm` its registry. Returns the list of digests.
 */
export async function archiveInputs(
  cache: InputCache,
  pins: readonly Pin[],
  folder: string,
): Promise<string> {
  const places = new Map(pins.map((pin) => [placeOf(pin), pin]));
  const lines = new Map<string, string>();
  const waiting = places.entries();
  const work = async (): Promise<void> => {
    for (const [place, pin] of waiting) {
      const { path, sha256 } = await cache.get(pin);
      await copy(path, join(folder, place));
      lines.set(place, `${sha256}  ${place}\n`);
    }
  };
  await Promise.all(Array.from({ length: MAX_AT_ONCE }, work));
  const list = [...lines]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, line]) => line)
    .join('');
  await writeFile(join(folder, LIST), list);
  return list;
}

async function copy(from: string, to: string): Promise<void> {
  try {
    await mkdir(dirname(to), { recursive: true });
    await copyFile(from, to);
  } catch (error) {
    throw new ImageError('IMAGE_OUTPUT_FAILED', 'An input cannot be archived', { cause: error });
  }
}
