// npm run gpu -- pack|run|evidence: the whole check of the CUDA provider, packed for a machine without a network, and run
// there; and the evidence of its GPUs.
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { runToEnd } from './ended.ts';
import { evidenceCommand } from './evidenceCommand.ts';
import { packCommand } from './pack/packCommand.ts';
import { runCommand } from './runCommand.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

await runToEnd(
  new Command('npm run gpu --')
    .description(
      'Checks the engine on an NVIDIA GPU against the CPU, here or on a machine without a network.',
    )
    .addCommand(packCommand(ROOT))
    .addCommand(runCommand(ROOT))
    .addCommand(evidenceCommand()),
);
