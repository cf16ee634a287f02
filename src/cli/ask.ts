import { InvalidArgumentError, type Command } from 'commander';
import { z } from 'zod';
import { newCommand, EXIT_HELP } from './command.ts';
import { addServiceOptions, exchange, type ServiceFlags } from './exchange.ts';
import { printableLines, stdout } from './terminal.ts';

interface AskFlags extends ServiceFlags {
  readonly maxTokens?: number;
}

const EXAMPLES = [
  [
    'against `vouchsafe serve` on this machine, without confidential hardware',
    'vouchsafe ask --allow-simulated "Once upon a time"',
  ],
  [
    'against a service, keeping what proves the answer',
    'vouchsafe ask --url https://inference.example --policy policy.json --save answer "Hello"',
  ],
] as const;

const answerSchema = z.object({ choices: z.array(z.object({ text: z.string() })).min(1) });

export function askCommand(): Command {
  const command = newCommand(
    'ask',
    'Complete a prompt, sealed to verified hardware, and check the receipt',
    EXAMPLES,
  )
    .argument('<prompt>', 'text to complete')
    .option('--max-tokens <count>', 'longest completion', tokensOf);
  return addServiceOptions(command).addHelpText('after', EXIT_HELP).action(runAsk);
}

async function runAsk(prompt: string, flags: AskFlags): Promise<void> {
  await exchange(flags, {
    path: '/v1/completions',
    task: 'generate',
    body: (model) => ({
      model,
      prompt,
      ...(flags.maxTokens === undefined ? {} : { max_tokens: flags.maxTokens }),
    }),
    read: (answer) =>
      answerSchema
        .parse(answer)
        .choices.map(({ text }) => text)
        .join('\n'),
    print: (text) => {
      stdout.line(stdout.isTerminal ? printableLines(text) : text);
    },
  });
}

function tokensOf(given: string): number {
  if (!/^[1-9]\d{0,6}$/.test(given)) throw new InvalidArgumentError('It is a positive number.');
  return Number(given);
}
