import type { Command } from 'commander';
import { z } from 'zod';
import { newCommand, EXIT_HELP } from './command.ts';
import { addServiceOptions, exchange, type ServiceFlags } from './exchange.ts';
import { stdout } from './terminal.ts';

/** Numbers that a terminal is shown; files get all of them. */
const SHOWN = 8;

const EXAMPLES = [
  [
    'against `vouchsafe serve` on this machine, without confidential hardware',
    'vouchsafe embed --allow-simulated "hello"',
  ],
  ['the whole vector, with the verdict', 'vouchsafe embed --allow-simulated --json "hello"'],
] as const;

const answerSchema = z.object({ data: z.array(z.object({ embedding: z.array(z.number()) })).min(1) });

export function embedCommand(): Command {
  const command = newCommand(
    'embed',
    'Embed a text, sealed to verified hardware, and check the receipt',
    EXAMPLES,
  ).argument('<text>', 'text to embed');
  return addServiceOptions(command).addHelpText('after', EXIT_HELP).action(runEmbed);
}

async function runEmbed(text: string, flags: ServiceFlags): Promise<void> {
  await exchange(flags, {
    path: '/v1/embeddings',
    task: 'embed',
    body: (model) => ({ model, input: text, encoding_format: 'float' }),
    read: (answer) => answerSchema.parse(answer).data[0]?.embedding ?? [],
    print: (vector) => {
      stdout.line(stdout.isTerminal ? shorten(vector) : JSON.stringify(vector));
    },
  });
}

function shorten(vector: readonly number[]): string {
  const shown = vector.slice(0, SHOWN).map((value) => value.toFixed(4));
  return `[${shown.join(', ')}${vector.length > SHOWN ? ', …' : ''}] ${stdout.c.dim(`${vector.length} numbers`)}`;
}
