import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import type { InputCache } from './cache.ts';
import { readDebPackage } from './packages.ts';
import type { Pins } from './pins.ts';
import { unpackTree } from './unpack.ts';

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
/** Programs and what they load: nothing else of the packages is written to the disk. */
const WANTED = new RegExp(
  `^usr/bin/|^${LIBRARIES}/(?:[^/]+\\.so(?:\\.[0-9.]+)?$|tcc/|gconv/(?:gconv-modules$|gconv-modules\\.d/|IBM850))`,
);
/** Most bytes of output that a tool may have. */
const MAX_OUTPUT = 8 * 1024 * 1024;
const TAIL = 2000;
const UMASK = 0o022;

export type ToolName =
  'mkfs.erofs' | 'fsck.erofs' | 'dump.erofs' | 'mformat' | 'mmd' | 'mcopy' | 'mdir' | 'tcc';

interface RunOptions {
  /** Folder that relative paths begin at; that of the tools where nothing is said. */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Pinned programs, run by their own loader with their own libraries: of the build machine they see the kernel and the
 * files that they are given. Linux on x86-64 only.
 */
export class Tools {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Unpacks what is pinned for the build into a folder, which is made anew. */
  static async prepare(cache: InputCache, pins: Pins, folder: string): Promise<Tools> {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw new ImageError(
        'IMAGE_TOOL_FAILED',
        `The tools run on Linux on x86-64; this is ${process.platform} on ${process.arch}`,
      );
    }
    await rm(folder, { recursive: true, force: true });
    for (const pin of pins.inputs) {
      if (pin.kind !== 'debian' || !pin.uses.includes('tool')) continue;
      const tree = await readDebPackage(await cache.file(pin));
      await unpackTree(tree, folder, (path) => WANTED.test(path));
    }
    return new Tools(folder);
  }

  /** Standard output of a tool that ended well; else `IMAGE_TOOL_FAILED` with the end of what it said. */
  async run(
    tool: ToolName,
    args: readonly string[],
    { cwd = this.#folder, env = {} }: RunOptions = {},
  ): Promise<string> {
    const loader = join(this.#folder, LIBRARIES, 'ld-linux-x86-64.so.2');
    const libraries = join(this.#folder, LIBRARIES);
    const program = [
      '--inhibit-cache',
      '--library-path',
      libraries,
      '--argv0',
      tool,
      join(this.#folder, 'usr/bin', tool),
    ];
    const { code, stdout, stderr } = await runProgram(
      loader,
      [...program, ...this.#fixed(tool), ...args],
      cwd,
      {
        LC_ALL: 'C',
        TZ: 'UTC',
        SOURCE_DATE_EPOCH: '0',
        GCONV_PATH: join(libraries, 'gconv'),
        MTOOLSRC: '/dev/null',
        ...env,
      },
    );
    if (code === 0) return stdout;
    const said = `${stdout}\n${stderr}`.trim().slice(-TAIL);
    throw new ImageError('IMAGE_TOOL_FAILED', `${tool} ended with ${code}: ${said}`);
  }

  /** The compiler looks for its own headers and library where it was installed, which is not here. */
  #fixed(tool: ToolName): readonly string[] {
    return tool === 'tcc' ? [`-B${join(this.#folder, LIBRARIES, 'tcc')}`] : [];
  }
}

interface Ended {
  /** Exit status, or the name of the signal. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function runProgram(
  file: string,
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // mkfs.erofs keeps the mode of a temporary file, which a program gets from who starts it.
    const umask = process.umask(UMASK);
    const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    process.umask(umask);
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] = (output[stream] + text).slice(-MAX_OUTPUT);
      });
    }
    child.on('error', (error) => {
      reject(new ImageError('IMAGE_TOOL_FAILED', `${file} cannot be started`, { cause: error }));
    });
    child.on('close', (code, signal) => resolve({ code: code ?? signal ?? 'nothing', ...output }));
  });
}
