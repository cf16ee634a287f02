import { statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { Command, InvalidArgumentError } from 'commander';
import { makePack } from './pack.ts';

const MIB = 2 ** 20;

interface PackFlags {
  readonly out: string;
  readonly models: string;
  readonly cuda?: string;
  readonly toolkit?: string;
  readonly partSize?: number;
  readonly level: number;
  readonly node: string;
}

export function packCommand(root: string): Command {
  return new Command('pack')
    .description('Writes one archive with everything that the check needs: Node, program, libraries, models.')
    .option('--out <file>', 'archive to write', 'vouchsafe-gpu-check.tar')
    .option('--models <folder>', 'model store', join(root, 'models'))
    .option('--cuda <path>', 'archive of `vouchsafe cuda install`, or a folder of its libraries')
    .option('--toolkit <folder>', 'libraries of the CUDA toolkit, where the machine has the driver alone')
    .option(
      '--part-size <MiB>',
      'parts of at most so many MiB, compressed by xz, and a script to join them',
      mib,
    )
    .option('--level <n>', 'compression of parts, 0 to 9', level, 6)
    .option('--node <file>', 'the program node of the machine', process.execPath)
    .addHelpText(
      'after',
      '\nExample:\n  npm run gpu -- pack --cuda ARCHIVE --part-size 60 --out /tmp/check.tar',
    )
    .action((flags: PackFlags) => pack(root, flags));
}

async function pack(root: string, { partSize, cuda, toolkit, ...flags }: PackFlags): Promise<void> {
  const packed = await makePack({
    ...flags,
    root,
    cuda,
    toolkit,
    partBytes: partSize === undefined ? undefined : partSize * MIB,
    machine: process,
    say: (line) => process.stderr.write(`${line}\n`),
  });
  for (const file of packed.files) {
    process.stdout.write(`${(statSync(file).size / MIB).toFixed(1).padStart(8)} MiB  ${file}\n`);
  }
  process.stdout.write(`SHA-256 of the list of digests: ${packed.digest}\n`);
  if (!packed.cuda)
    process.stdout.write('No CUDA libraries are in it: it can check the CPU alone (--cuda).\n');
}

function mib(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It takes a positive number.');
}

function level(text: string): number {
  if (/^[0-9]$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It takes a number from 0 to 9.');
}
