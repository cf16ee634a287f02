import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Tools } from '../inputs/tools.ts';

export interface ErofsOptions {
  /** UUID of the file system: the same for every build. */
  readonly uuid: string;
  /** Weights of models do not become smaller; reading them as they are saves the time of unpacking. */
  readonly compressed: boolean;
}

/**
 * LZ4 costs a guest the least to unpack, and with fragments the ends of files share blocks. Tried with Node and the
 * production build (242 MB) on two slow cores: lz4hc 9 alone 107 MB in 7 s; with fragments, this, 98 MB in 9 s; with
 * deduplication no smaller; level 12 instead of 9 saves 0.4 % for three times the time; zstd 3 with all of them 84 MB
 * in 20 s.
 */
const COMPRESSION = ['-zlz4hc,level=9', '-C65536', '-Efragments,ztailpacking'];

/**
 * A read-only file system of what a tar archive holds. One worker, block size, times and UUID are given: nothing that
 * mkfs.erofs would take from the build machine is left.
 */
export async function buildErofs(
  tools: Pick<Tools, 'run'>,
  tarPath: string,
  out: string,
  { uuid, compressed }: ErofsOptions,
): Promise<void> {
  await rm(out, { force: true });
  await tools.run('mkfs.erofs', [
    '--quiet',
    '--tar=f',
    '-b4096',
    '-T0',
    `-U${uuid}`,
    '--workers=1',
    ...(compressed ? COMPRESSION : []),
    resolve(out),
    resolve(tarPath),
  ]);
}
