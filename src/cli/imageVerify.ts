import type { Command } from 'commander';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { type ImageManifest, manifestDigest } from '../../enclave/image/release/manifest.ts';
import { verifyFiles, type VerifyStep } from '../../enclave/image/release/verifyImage.ts';
import { verifyStatements } from '../../enclave/image/release/verifyStatements.ts';
import { newCommand, repeated } from './command.ts';
import { CliError, EXIT, type ExitCode } from './exit.ts';
import { isFolder } from './files.ts';
import { type SourceFlags, withSources } from './imageSources.ts';
import { printDiff } from './imageDiff.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { readImageManifest, readPinnedKeys } from './imageInput.ts';
import { rebuild } from './imageRebuild.ts';
import { printable, stdout, wrap } from './terminal.ts';

interface VerifyFlags extends SourceFlags {
  readonly rebuild?: boolean;
  readonly key?: readonly string[];
  readonly firmware?: readonly string[];
  readonly json?: boolean;
}

const WORDS = `
Every digest, both hash trees, what the disk holds and every predicted value are
computed again from the files. Without --key nothing is said of who wrote the
manifest: whoever can write all files can write one that fits them.
`;

export function verifyImageCommand(): Command {
  const command = newCommand('verify', 'Compute again from an image what its manifest says', [
    ['an image and its publisher', 'vouchsafe image verify image --key publisher.pem'],
    ['with values that need firmware', 'vouchsafe image verify image --firmware OVMF.amdsev.fd'],
    [
      'by building it again from this checkout',
      'vouchsafe image verify image --rebuild --config production.json',
    ],
  ])
    .argument('<folder>', 'output folder of `image build`')
    .option('--key <pem>', 'public key of the publisher, again for more', repeated)
    .option('--firmware <file>', 'firmware that values were predicted for, again for more', repeated)
    .option(
      '--rebuild',
      'build again from this checkout as well, and compare; the options below are for that',
    )
    .option('--json', 'print all steps as JSON');
  return withSources(command).addHelpText('after', `${WORDS}${IMAGE_EXIT_HELP}`).action(runVerify);
}

async function runVerify(folder: string, flags: VerifyFlags): Promise<void> {
  const { key = [], firmware = [], json = false } = flags;
  if (!(await isFolder(folder))) {
    throw new CliError(EXIT.misuse, `${folder} is no folder`, 'Name the folder with the files of the image.');
  }
  const steps: VerifyStep[] = [];
  const onStep = (step: VerifyStep): void => {
    steps.push(step);
    if (!json) printStep(step);
  };
  const manifest = await imageAction(async () => {
    const pinned = await readPinnedKeys(key);
    const found = await readImageManifest(folder, []);
    await verifyStatements(folder, found, pinned, onStep);
    await verifyFiles(folder, found, firmware, onStep);
    if (flags.rebuild) await verifyRebuild(found, flags, onStep);
    return found;
  });
  const exit = exitOf(steps);
  if (json) stdout.json({ ...summaryOf(manifest), good: exit === EXIT.accepted, steps });
  else printEnd(manifest, exit);
  process.exitCode = exit;
}

async function verifyRebuild(
  manifest: ImageManifest,
  flags: VerifyFlags,
  onStep: (step: VerifyStep) => void,
): Promise<void> {
  const { step, diff } = await rebuild(manifest, flags);
  onStep(step);
  if (diff && !flags.json) printDiff(diff);
}

/** Values that could not be computed for want of firmware leave it open; a key that nobody named does not. */
export function exitOf(steps: readonly VerifyStep[]): ExitCode {
  if (steps.some(({ result }) => result === 'bad')) return EXIT.refused;
  return steps.some(({ what, result }) => result === 'skipped' && what.startsWith('values'))
    ? EXIT.notJudged
    : EXIT.accepted;
}

function summaryOf(manifest: ImageManifest): { readonly release: string; readonly manifest: string } {
  return { release: manifest.release.name, manifest: toHex(manifestDigest(manifest)) };
}

export function printStep({ what, result, detail }: VerifyStep): void {
  const { c, columns } = stdout;
  const mark = { good: c.green('✓'), bad: c.red('✗'), skipped: c.yellow('-') }[result];
  stdout.line(`${mark} ${printable(what)}`);
  for (const line of wrap(printable(detail), columns - 4)) {
    stdout.line(`    ${result === 'bad' ? c.red(line) : c.dim(line)}`);
  }
}

function printEnd(manifest: ImageManifest, exit: ExitCode): void {
  const { c } = stdout;
  const { release, manifest: digest } = summaryOf(manifest);
  stdout.line();
  stdout.line(`release   ${printable(release)}`);
  stdout.line(`manifest  ${digest}`);
  if (exit === EXIT.accepted)
    stdout.line(`${c.green('GOOD')}  all that was looked at is as the manifest says`);
  else if (exit === EXIT.refused) stdout.line(`${c.red('REFUSED')}  something is not as the manifest says`);
  else stdout.line(`${c.yellow('OPEN')}  some values need a firmware file that was not named`);
}
