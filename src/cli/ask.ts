import { InvalidArgumentError, type Command } from 'commander';
import { z } from 'zod';
import { newCommand, EXIT_HELP } from './command.ts';
import { addServiceOptions, exchange, type ServiceFlags } from './exchange.ts';
import { printableLines, stdout } from './terminal.ts';

interface AskFlags extends ServiceFlags {
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly seed?: number;
  readonly chat?: boolean;
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

const completionSchema = z.object({ choices: z.array(z.object({ text: z.string() })).min(1) });
const chatSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })).min(1),
});

export function askCommand(): Command {
  const command = newCommand(
    'ask',
    'Complete a prompt, sealed to verified hardware, and check the receipt',
    EXAMPLES,
  )
    .argument('<prompt>', 'text to complete')
    .option('--max-tokens <count>', 'longest completion', tokensOf)
    .option(
      '--temperature <number>',
      'chance in the choice of tokens, 0 to 2 (default: of the model)',
      temperatureOf,
    )
    .option(
      '--seed <number>',
      'what chance is drawn from (default: drawn by the service; the receipt states it)',
      seedOf,
    )
    .option('--chat', 'send the prompt as a message of a chat');
  return addServiceOptions(command).addHelpText('after', EXIT_HELP).action(runAsk);
}

async function runAsk(prompt: string, flags: AskFlags): Promise<void> {
  const { maxTokens: max_tokens, temperature, seed, chat = false } = flags;
  const settings = { max_tokens, temperature, seed };
  await exchange(flags, {
    path: chat ? '/v1/chat/completions' : '/v1/completions',
    task: 'generate',
    body: (model) =>
      chat
        ? { model, messages: [{ role: 'user', content: prompt }], ...settings }
        : { model, prompt, ...settings },
    read: (answer) => (chat ? textsOfChat(answer) : textsOf(answer)).join('\n'),
    print: (text) => {
      stdout.line(stdout.isTerminal ? printableLines(text) : text);
    },
  });
}

function textsOf(answer: unknown): readonly string[] {
  return completionSchema.parse(answer).choices.map(({ text }) => text);
}

function textsOfChat(answer: unknown): readonly string[] {
  return chatSchema.parse(answer).choices.map(({ message }) => message.content);
}

function temperatureOf(given: string): number {
  const value = Number(given);
  if (given.trim() !== '' && value >= 0 && value <= 2) return value;
  throw new InvalidArgumentError('It is a number from 0 to 2.');
}

function seedOf(given: string): number {
  const seed = Number(given);
  if (/^-?\d{1,16}$/.test(given) && Number.isSafeInteger(seed)) return seed;
  throw new InvalidArgumentError('It is a whole number of at most 53 bits.');
}

function tokensOf(given: string): number {
  if (!/^[1-9]\d{0,6}$/.test(given)) throw new InvalidArgumentError('It is a positive number.');
  return Number(given);
}
