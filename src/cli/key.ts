import { createHash, randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { newCommand } from './command.ts';
import { stdout } from './terminal.ts';

const KEY_BYTES = 32;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

export function keyCommand(): Command {
  const fresh = newCommand('new', 'Make a random API key and its entry for the configuration', [
    ['a key for one tenant', 'vouchsafe key new --name analytics'],
  ])
    .option('--name <name>', 'tenant that the key stands for; receipts commit to it', 'default')
    .option('--json', 'print key and entry as JSON')
    .action(runNew);
  return newCommand('key', 'Make API keys').addCommand(fresh);
}

interface NewFlags {
  readonly name: string;
  readonly json?: boolean;
}

function runNew({ name, json = false }: NewFlags, command: Command): void {
  if (!NAME.test(name)) command.error('error: a name is 1 to 64 of the characters A-Z a-z 0-9 . _ -');
  const key = `vs_${randomBytes(KEY_BYTES).toString('base64url')}`;
  const entry = { name, sha256: createHash('sha256').update(key).digest('hex') };
  if (json) {
    stdout.json({ key, entry });
    return;
  }
  const { c } = stdout;
  stdout.line(`${c.bold('key')}    ${key}`);
  stdout.line(`${c.bold('entry')}  ${JSON.stringify(entry)}`);
  stdout.line();
  stdout.line(c.dim('The key is shown this once and is for the client: VOUCHSAFE_API_KEY=…'));
  stdout.line(c.dim('The entry goes into vouchsafe.config.json: {"keys": {"apiKeys": [entry]}}'));
}
