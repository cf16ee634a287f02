import { mkdir } from 'node:fs/promises';
import type { Command } from 'commander';
import { buildEnclave, type EnclaveFacts } from '../../enclave/deploy/buildEnclave.ts';
import type { EnclaveSigner } from '../../enclave/deploy/nitro/signature.ts';
import { buildTrees } from '../../enclave/image/build.ts';
import { sizeText } from './byteProgress.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { type SourceFlags, toName, withInputs, withSources } from './imageSources.ts';
import { readPrivateKey } from './privateKey.ts';
import { printable, stdout } from './terminal.ts';

interface EnclaveFlags extends SourceFlags {
  readonly out: string;
  readonly name?: string;
  readonly kernel: string;
  readonly kernelVersion: string;
  readonly cmdline: string;
  readonly init: string;
  readonly nsm?: string;
  readonly sign?: string;
  readonly certificate?: string;
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'an enclave with the kernel that nitro-cli installs',
    'vouchsafe image enclave --out enclave --config nitro.json --models models --kernel bzImage --kernel-version 4.14.256 --cmdline cmdline --init init --nsm nsm.ko',
  ],
] as const;

const WORDS = `
Kernel, command line, init and nsm.ko are those of one release of nitro-cli
(blobs/x86_64). The configuration has to name the collector nsm, no devices, the
provider cpu and port 8080.
`;

export function enclaveImageCommand(): Command {
  const command = newCommand('enclave', 'Make an enclave image for AWS Nitro Enclaves', EXAMPLES)
    .requiredOption('--out <folder>', 'where enclave.eif goes')
    .requiredOption('--kernel <file>', 'kernel of enclaves')
    .requiredOption('--kernel-version <text>', 'its version, for the metadata')
    .requiredOption('--cmdline <file>', 'its command line')
    .requiredOption('--init <file>', 'first process')
    .option('--nsm <file>', 'driver of the secure module, where the kernel has it not inside')
    .option('--sign <pem>', 'private key on P-256, P-384 or P-521; with --certificate')
    .option('--certificate <pem>', 'certificate for that key: PCR8')
    .option('--name <text>', 'name of the release (default: vouchsafe- and the version)', toName);
  return withSources(command)
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', `${WORDS}${IMAGE_EXIT_HELP}`)
    .action(runEnclave);
}

async function runEnclave(flags: EnclaveFlags): Promise<void> {
  const { out: folder, kernelVersion, json = false } = flags;
  const kernel = await readInput(flags.kernel);
  const cmdline = Buffer.from(await readInput(flags.cmdline)).toString('utf8');
  const init = await readInput(flags.init);
  const nsm = flags.nsm === undefined ? undefined : await readInput(flags.nsm);
  const signer = await readSigner(flags);
  await mkdir(folder, { recursive: true });
  const facts = await imageAction(() =>
    withInputs(flags, async (inputs) => {
      const trees = await buildTrees({ ...inputs, name: flags.name });
      return buildEnclave({ ...trees, folder, kernel, cmdline, kernelVersion, init, nsm, signer });
    }),
  );
  if (json) stdout.json(facts);
  else printEnclave(folder, facts);
}

async function readSigner({ sign, certificate }: EnclaveFlags): Promise<EnclaveSigner | undefined> {
  if (sign === undefined && certificate === undefined) return undefined;
  if (sign === undefined || certificate === undefined) {
    throw new CliError(EXIT.misuse, '--sign and --certificate come together');
  }
  const key = await readPrivateKey(sign);
  return {
    privateKey: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: Buffer.from(await readInput(certificate)).toString('utf8'),
  };
}

function printEnclave(folder: string, { path, bytes, pcrs, policy }: EnclaveFacts): void {
  const { c } = stdout;
  stdout.line(`${c.green('✓')} ${c.bold(path)} in ${printable(folder)} ${sizeText(bytes)}`);
  for (const [register, value] of Object.entries(pcrs)) stdout.line(`  PCR${register}  ${c.dim(value)}`);
  stdout.line('the part of a policy below cpu:');
  stdout.line(JSON.stringify(policy, undefined, 2));
}
