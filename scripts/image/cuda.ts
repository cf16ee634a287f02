/**
 * `node scripts/run.mjs scripts/image/cuda.ts pin|layer …`: pins and checks what an image needs for GPUs
 * (`enclave/image/cuda/README.md`).
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseCudaPins, pinCudaPackages, type CudaPackage } from '../../enclave/image/cuda/cudaPins.ts';
import { cudaTree } from '../../enclave/image/cuda/cudaTree.ts';
import { readDebPackage } from '../../enclave/image/inputs/packages.ts';
import { writeTar } from '../../enclave/image/inputs/tarWriter.ts';

const USAGE = `Usage:
  cuda.ts pin --index Packages --kernel UNAME --out PINS NAME=VERSION…
  cuda.ts layer --pins PINS --packages FOLDER --out TAR
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    index: { type: 'string' },
    kernel: { type: 'string' },
    pins: { type: 'string' },
    packages: { type: 'string' },
    out: { type: 'string' },
  },
});

function required(name: 'index' | 'kernel' | 'pins' | 'packages' | 'out'): string {
  const value = values[name];
  if (value === undefined) throw new Error(`--${name} is missing\n${USAGE}`);
  return value;
}

/** Writes the list; the index is what `apt-get update` has verified. */
async function pin(wanted: readonly string[]): Promise<void> {
  const index = await readFile(required('index'), 'utf8');
  const named = wanted.map((text) => {
    const [name = '', version = ''] = text.split('=');
    return [name, version] as const;
  });
  const pins = {
    version: 'vouchsafe/cuda-pins/1',
    kernel: required('kernel'),
    packages: pinCudaPackages(index, named),
    modules: [],
  };
  const text = `${JSON.stringify(pins, undefined, 2)}\n`;
  parseCudaPins(Buffer.from(text));
  await writeFile(required('out'), text);
}

/** Compares each package with its pin, and writes what of them goes into a root as an archive. */
async function layer(): Promise<void> {
  const pins = parseCudaPins(await readFile(required('pins')));
  const trees = [];
  for (const wanted of pins.packages) trees.push(await readDebPackage(await requirePinned(wanted)));
  const out = required('out');
  await mkdir(join(out, '..'), { recursive: true });
  await writeTar(cudaTree(trees), out);
  process.stdout.write(
    `${createHash('sha256')
      .update(await readFile(out))
      .digest('hex')}  ${out}\n`,
  );
}

async function requirePinned({ name, path, bytes, sha256 }: CudaPackage): Promise<string> {
  const file = join(required('packages'), path.split('/').at(-1) ?? '');
  const content = await readFile(file);
  const digest = createHash('sha256').update(content).digest('hex');
  if (content.length !== bytes || digest !== sha256)
    throw new Error(`${name}: ${file} is not the pinned package`);
  return file;
}

const [command, ...rest] = positionals;
if (command === 'pin') await pin(rest);
else if (command === 'layer') await layer();
else {
  process.stderr.write(USAGE);
  process.exitCode = 64;
}
