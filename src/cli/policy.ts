import type { Command } from 'commander';
import { z } from 'zod';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import { policyDigest } from '../../attestation/policy/digest.ts';
import { policySchema } from '../../attestation/policy/policy.ts';
import { newCommand } from './command.ts';
import { EXIT } from './exit.ts';
import { checkPolicyFile } from './policyFile.ts';
import { policyFromCommand } from './policyFrom.ts';
import { pinCommand } from './policyPin.ts';
import type { PolicyProblem } from './policyProblems.ts';
import { printable, stdout, wrap } from './terminal.ts';

const POLICIES = { default: DEFAULT_POLICY, simulated: SIMULATED_POLICY } as const;

const EXAMPLES = [
  ['start a policy of your own from the published one', 'vouchsafe policy show > policy.json'],
  ['list every problem in it', 'vouchsafe policy check policy.json'],
  ['start it from what a machine says of itself', 'vouchsafe policy from evidence.cbor > policy.json'],
  ['accept GPUs by what they measure, where NVIDIA publishes nothing', 'vouchsafe policy pin document.cbor'],
  ['have an editor complete it', 'vouchsafe policy schema > policy.schema.json'],
] as const;

export function policyCommand(): Command {
  const command = newCommand('policy', 'Show and check policies: what a relying party accepts', EXAMPLES);
  const check = newCommand('check', 'List every problem in a policy; exit 0 without one, else 64')
    .argument('<file>', 'policy, JSON')
    .option('--json', 'print the result as JSON')
    .action(runCheck);
  const show = newCommand('show', 'Print a built-in policy as JSON')
    .argument('[name]', 'default, or simulated (what --allow-simulated means)', 'default')
    .action(runShow);
  const schema = newCommand('schema', 'Print the JSON Schema of policies').action(() => {
    stdout.json(z.toJSONSchema(policySchema));
  });
  return command
    .addCommand(check)
    .addCommand(show)
    .addCommand(schema)
    .addCommand(policyFromCommand())
    .addCommand(pinCommand());
}

async function runCheck(path: string, { json = false }: { readonly json?: boolean }): Promise<void> {
  const { policy, problems } = await checkPolicyFile(path);
  const digest = policy && toHex(policyDigest(policy, nodeCrypto));
  if (json) {
    stdout.json({ valid: policy !== undefined, ...(digest === undefined ? {} : { digest }), problems });
  } else if (digest === undefined) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
    stdout.line(`${stdout.c.red('✗')} ${printable(path)}: ${count}`);
    for (const problem of problems) printProblem(problem);
  } else {
    stdout.line(`${stdout.c.green('✓')} ${printable(path)} is a valid policy`);
    stdout.line(stdout.c.dim(`  digest ${digest}`));
  }
  if (!policy) process.exitCode = EXIT.misuse;
}

/** On one line where it fits. */
function printProblem({ member, message }: PolicyProblem): void {
  const { c, columns } = stdout;
  const name = printable(member || 'policy');
  const lines = wrap(message, columns - 4);
  const isShort = lines.length === 1 && name.length + message.length + 4 <= columns;
  stdout.line(`  ${c.bold(name)}${isShort ? `  ${printable(message)}` : ''}`);
  if (!isShort) for (const line of lines) stdout.line(`    ${line}`);
}

function runShow(name: string, _flags: unknown, command: Command): void {
  if (!Object.hasOwn(POLICIES, name))
    command.error(`error: no policy is called ${name}: default or simulated`);
  stdout.json(POLICIES[name as keyof typeof POLICIES]);
}
