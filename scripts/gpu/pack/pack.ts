import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { create } from 'tar';
import { libraryStates } from '../../../src/engine/cuda/digest.ts';
import { installCuda } from '../../../src/engine/cuda/install.ts';
import { CUDA_RELEASE, type CudaRelease } from '../../../src/engine/cuda/release.ts';
import { installedRuntime } from '../../../src/engine/cuda/status.ts';
import { type Platform, programFiles } from './contents.ts';
import { writeDigests } from './digests.ts';
import { type Part, writeJoinScript, writeParts, xz } from './parts.ts';

export interface PackOptions {
  /** A clone whose `dist` and `node_modules` are current. */
  readonly root: string;
  /** The archive to write; parts add their numbers to it. */
  readonly out: string;
  readonly models: string;
  /** The archive of the CUDA provider, or a folder that has its libraries; undefined takes those of the clone. */
  readonly cuda: string | undefined;
  /** Folder of the libraries of the CUDA toolkit, for a machine that has the driver alone. */
  readonly toolkit: string | undefined;
  /** Bytes of each part; undefined: one archive, not compressed. */
  readonly partBytes: number | undefined;
  /** Of `xz`, 0 to 9. */
  readonly level: number;
  /** The program `node` for the machine. */
  readonly node: string;
  readonly machine: Platform;
  readonly release?: CudaRelease;
  readonly say: (line: string) => void;
}

export interface Packed {
  /** SHA-256 of the list of digests in the pack. */
  readonly digest: string;
  /** One, where there are no parts. */
  readonly files: readonly string[];
  readonly cuda: boolean;
}

const ENTRY = fileURLToPath(new URL('../packedMain.ts', import.meta.url));

/** Puts everything that the check needs into one archive, or into parts of one. */
export async function makePack(options: PackOptions): Promise<Packed> {
  const scratch = await mkdtemp(join(tmpdir(), 'vouchsafe-gpu-'));
  try {
    const stage = join(scratch, 'gpu-check');
    const cuda = await fill(stage, options);
    options.say('writing digests');
    const digest = await writeDigests(stage);
    options.say('writing the archive');
    return { digest, cuda, files: await writeArchive(scratch, options) };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function fill(stage: string, options: PackOptions): Promise<boolean> {
  const { root, models, node, machine, toolkit, say } = options;
  say('collecting the program');
  for (const path of programFiles(root, machine)) place(join(root, path), join(stage, path));
  place(realpathSync(node), join(stage, 'bin', 'node'));
  await bundle(join(stage, 'gpu-check.mjs'));
  say('collecting the models');
  mkdirSync(join(stage, 'models'));
  cpSync(resolve(models), join(stage, 'models'), { recursive: true });
  writeFileSync(join(stage, 'gpu-check.sh'), START, { mode: 0o755 });
  if (toolkit !== undefined) placeToolkit(stage, toolkit, options.release);
  return placeCuda(stage, options);
}

const START = `#!/bin/sh
# sh gpu-check.sh [OPTION …]: the whole check, with the Node of this pack.
exec "$(dirname "$0")/bin/node" "$(dirname "$0")/gpu-check.mjs" "$@"
`;

/** Links a file, or copies it where links cannot reach. */
function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

/** The check in one file; the packages that it needs lie in the pack. */
async function bundle(outfile: string): Promise<void> {
  await build({
    entryPoints: [ENTRY],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'error',
  });
}

/** Puts the pinned libraries of the provider beside onnxruntime-node; false where there are none to put. */
async function placeCuda(stage: string, options: PackOptions): Promise<boolean> {
  const { root, cuda, machine, say, release = CUDA_RELEASE } = options;
  const within = join('node_modules', 'onnxruntime-node', 'bin', 'napi-v6', machine.platform, machine.arch);
  const folder = join(stage, within);
  if (cuda !== undefined && statSync(cuda).isFile()) {
    say('unpacking the CUDA provider');
    const runtime = installedRuntime(folder);
    // The files of the clone are linked here: what is put in place is renamed, never written over.
    await installCuda({ folder, runtime, from: resolve(cuda), release, platform: machine });
    return true;
  }
  const source = cuda ?? join(root, within);
  const states = await libraryStates(release, source);
  const stranger = states.find(({ state }) => state !== 'pinned');
  if (stranger) {
    if (cuda !== undefined) throw new Error(`${stranger.name} in ${cuda} is not the pinned library`);
    await Promise.all(release.libraries.map(({ name }) => rm(join(folder, name), { force: true })));
    return false;
  }
  for (const { name } of release.libraries) {
    await rm(join(folder, name), { force: true });
    place(join(source, name), join(folder, name));
  }
  return true;
}

/** Libraries of the toolkit under the names that the linker looks for; the driver's own must be the machine's. */
function placeToolkit(stage: string, toolkit: string, { needs }: CudaRelease = CUDA_RELEASE): void {
  for (const { name, required } of needs) {
    if (name.startsWith('libcuda.')) continue;
    const path = join(toolkit, name);
    if (existsSync(path)) place(realpathSync(path), join(stage, 'lib', name));
    else if (required) throw new Error(`${toolkit} has no ${name}`);
  }
}

async function writeArchive(
  scratch: string,
  { out, partBytes, level }: PackOptions,
): Promise<readonly string[]> {
  mkdirSync(dirname(resolve(out)), { recursive: true });
  const archive = Readable.from(create({ cwd: scratch, portable: true, noMtime: true }, ['gpu-check']));
  if (partBytes === undefined) {
    await pipeline(archive, createWriteStream(out));
    return [out];
  }
  const path = `${out}.xz`;
  const parts = await writeParts(xz(archive, level), path, partBytes);
  return [...parts.map((part: Part) => join(dirname(out), part.name)), writeJoinScript(path, parts)];
}
