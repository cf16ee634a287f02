import type { Command } from 'commander';
import { policyPart, type Prediction } from '../../enclave/predict/referenceValues.ts';
import { PredictError } from '../../enclave/predict/errors.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { measureBootCommand } from './measureBoot.ts';
import { measureSnpCommand } from './measureSnp.ts';
import { measureTdxCommand } from './measureTdx.ts';
import { printable, stderr, stdout, wrap } from './terminal.ts';

const EXAMPLES = [
  [
    'the launch digest of a guest with a kernel of the host',
    'vouchsafe measure snp --firmware OVMF.fd --kernel bzImage --initrd initrd --cmdline "quiet" --vcpus 4 --cpu EPYC-Milan',
  ],
  [
    'the registers of a TD that boots an image from a disk',
    'vouchsafe measure tdx --firmware OVMF.fd --uki image.efi --disk disk.raw',
  ],
  ['the PCRs of the same image', 'vouchsafe measure boot --uki image.efi --disk disk.raw'],
  ['the values for a policy', 'vouchsafe measure boot --uki image.efi --json | jq .policy'],
] as const;

const WORDS = `
A prediction proves nothing: put it into a policy, and \`verify\` compares it with
what hardware signed. What no image says is named, and not guessed.

Exit codes:
  0 predicted   2 these parts cannot be launched so   4 unreadable input   64 misuse
`;

/** Flags of every kind of measurement. */
export interface MeasureFlags {
  readonly name: string;
  readonly json?: boolean;
}

export function measureCommand(): Command {
  return newCommand('measure', 'Predict what a launch of given parts measures', EXAMPLES)
    .addHelpText('after', WORDS)
    .addCommand(withOutput(measureSnpCommand(printing)))
    .addCommand(withOutput(measureTdxCommand(printing)))
    .addCommand(withOutput(measureBootCommand(printing)));
}

function withOutput(command: Command): Command {
  return command
    .option('--name <text>', 'name of the values in a policy, such as a release', 'predicted')
    .option('--json', 'print values, what they follow from, and the part of a policy, as JSON');
}

/** Prints what a kind of measurement gives; parts that no host launches are refused. */
export type Printing = <Flags extends MeasureFlags>(
  predict: (flags: Flags) => Promise<Prediction>,
) => (flags: Flags) => Promise<void>;

const printing: Printing = (predict) => async (flags) => {
  const prediction = await predict(flags).catch((error: unknown) => {
    if (!(error instanceof PredictError)) throw error;
    throw new CliError(EXIT.refused, `${error.code}: ${error.message}`, error.advice);
  });
  if (flags.json) stdout.json({ ...prediction, policy: policyPart(prediction, flags.name) });
  else print(prediction);
};

function print({ values, unpredicted }: Prediction): void {
  const { c, columns } = stdout;
  for (const { member, value, from } of values) {
    stdout.line(`${c.bold(member)}  ${value}`);
    for (const line of wrap(`from ${from.join(', ')}`, columns - 2))
      stdout.line(c.dim(`  ${printable(line)}`));
  }
  for (const { what, why } of unpredicted) {
    for (const line of wrap(`not predicted: ${what}: ${why}`, stderr.columns))
      stderr.line(stderr.c.yellow(line));
  }
}
