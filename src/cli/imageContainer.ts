import { type Command, Option } from 'commander';
import { buildContainer, type ContainerFacts } from '../../enclave/deploy/buildContainer.ts';
import { INIT_DATA_ALGORITHMS, type InitDataAlgorithm } from '../../enclave/deploy/initData/initData.ts';
import { buildTrees } from '../../enclave/image/build.ts';
import { newCommand } from './command.ts';
import { IMAGE_EXIT_HELP, imageAction } from './imageErrors.ts';
import { type SourceFlags, toName, withInputs, withSources } from './imageSources.ts';
import { printable, stdout } from './terminal.ts';

interface ContainerFlags extends SourceFlags {
  readonly out: string;
  readonly name?: string;
  readonly repository: string;
  readonly runtimeClass: string;
  readonly memory: string;
  readonly algorithm: InitDataAlgorithm;
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'a container, its init-data and a pod, with what a policy has to name',
    'vouchsafe image container --out container --config production.json --models models --repository registry.example/vouchsafe',
  ],
] as const;

const WORDS = `
The launch measurement of the guest is that of its runtime: a policy has to name
it as well, and nothing here predicts it.
`;

export function containerImageCommand(): Command {
  const command = newCommand('container', 'Make a container for Confidential Containers', EXAMPLES)
    .requiredOption('--out <folder>', 'where the container goes: an empty folder, or one that is made')
    .requiredOption('--repository <name>', 'where it will be pulled from, without a tag')
    .option('--name <text>', 'name of the release (default: vouchsafe- and the version)', toName)
    .option('--runtime-class <name>', 'runtime class of the pod', 'kata-qemu-snp')
    .option('--memory <quantity>', 'memory of the pod', '4Gi')
    .addOption(
      new Option('--algorithm <hash>', 'digest of the init-data')
        .choices(INIT_DATA_ALGORITHMS)
        .default('sha256'),
    );
  return withSources(command)
    .option('--json', 'print what was made as JSON')
    .addHelpText('after', `${WORDS}${IMAGE_EXIT_HELP}`)
    .action(runContainer);
}

async function runContainer(flags: ContainerFlags): Promise<void> {
  const { out: folder, repository, runtimeClass, memory, algorithm, json = false } = flags;
  const facts = await imageAction(() =>
    withInputs(flags, async (inputs) => {
      const trees = await buildTrees({ ...inputs, name: flags.name });
      return buildContainer({ ...trees, folder, repository, runtimeClass, memory, algorithm });
    }),
  );
  if (json) stdout.json(facts);
  else printContainer(folder, facts);
}

function printContainer(folder: string, { digest, initDataDigest, files, policy }: ContainerFacts): void {
  const { c } = stdout;
  stdout.line(`${c.green('✓')} ${c.bold(digest)} in ${printable(folder)}`);
  for (const { path, sha256 } of files) stdout.line(`  ${path.padEnd(20)} ${c.dim(sha256)}`);
  stdout.line(`init-data  ${initDataDigest}`);
  stdout.line('the part of a policy below cpu:');
  stdout.line(JSON.stringify(policy, undefined, 2));
}
