import { createHash, randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import { newCommand } from './command.ts';
import { stdout } from './terminal.ts';

const KEY_BYTES = 32;
const NAME = /^[A-Za-z0-9._-]{1,64}$/;

export function keyCommand(): Command {
  const fresh = newCommand('new', 'Make a random key and its entry for the configuration', [
    ['a key for one tenant', 'vouchsafe key new --name analytics'],
    ['a key for an auditor', 'vouchsafe key new --role auditor --name acme-audit'],
  ])
    .option('--name <name>', 'who the key stands for; receipts commit to a tenant', 'default')
    .addOption(
      new Option('--role <role>', 'what the key is for').choices(Object.keys(ROLES)).default('tenant'),
    )
    .option('--json', 'print key and entry as JSON')
    .action(runNew);
  return newCommand('key', 'Make API keys').addCommand(fresh);
}

type Role = 'tenant' | 'auditor' | 'admin';

/** Where the entry of a key goes, by its role. */
const ROLES: Readonly<Record<Role, string>> = {
  tenant: '{"keys": {"apiKeys": [entry]}}',
  auditor: '{"keys": {"auditorKeys": [entry]}}',
  admin: '{"keys": {"adminKeySha256": entry}}',
};

interface NewFlags {
  readonly name: string;
  readonly role: Role;
  readonly json?: boolean;
}

function runNew({ name, role, json = false }: NewFlags, command: Command): void {
  if (!NAME.test(name)) command.error('error: a name is 1 to 64 of the characters A-Z a-z 0-9 . _ -');
  const key = `vs_${randomBytes(KEY_BYTES).toString('base64url')}`;
  const sha256 = createHash('sha256').update(key).digest('hex');
  const entry = role === 'admin' ? sha256 : { name, sha256 };
  if (json) {
    stdout.json({ key, entry });
    return;
  }
  const { c } = stdout;
  stdout.line(`${c.bold('key')}    ${key}`);
  stdout.line(`${c.bold('entry')}  ${JSON.stringify(entry)}`);
  stdout.line();
  stdout.line(c.dim('The key is shown this once and is for whoever asks: VOUCHSAFE_API_KEY=…'));
  stdout.line(c.dim(`The entry goes into vouchsafe.config.json: ${ROLES[role]}`));
}
