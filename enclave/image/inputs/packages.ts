import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ImageError } from '../errors.ts';
import type { Tree } from '../tree.ts';
import { readAr } from './ar.ts';
import { readTar } from './tarReader.ts';
import { unpackXz } from './xz.ts';

/** The largest package of npm has 300 MB unpacked; in pieces of this size it is handed over a thousand times. */
const UNPACKING = { maxOutputLength: 2 ** 30, chunkSize: 256 * 1024 };

/** What a package of Debian installs. Its scripts are never run. */
export async function readDebPackage(path: string): Promise<Tree> {
  const members = readAr(await readFile(path));
  const [first] = members.keys();
  const version = members.get('debian-binary');
  const data = members.get('data.tar.xz');
  if (first !== 'debian-binary' || Buffer.from(version ?? []).toString('latin1') !== '2.0\n') {
    throw new ImageError('IMAGE_INPUT_MALFORMED', `${path} is no package of Debian of format 2.0`);
  }
  if (data === undefined) {
    throw new ImageError(
      'IMAGE_INPUT_MALFORMED',
      `${path} has no data.tar.xz; other compressions are not read`,
    );
  }
  return readTar(await unpackXz(data));
}

/** What a package of npm consists of, below `package/`. Its scripts are never run. */
export async function readNpmPackage(path: string): Promise<Tree> {
  const file = await readFile(path);
  try {
    return readTar(await promisify(gunzip)(file, UNPACKING));
  } catch (error) {
    if (error instanceof ImageError) throw error;
    throw new ImageError('IMAGE_INPUT_MALFORMED', `${path} is no package of npm`, { cause: error });
  }
}
