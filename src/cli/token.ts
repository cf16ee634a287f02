import type { Command } from 'commander';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { appraiseNrasAnswer, type NrasVerdict } from '../../attestation/evidence/nras/answer.ts';
import { DEFAULT_NRAS_POLICY } from '../../attestation/policy/nras.ts';
import { newCommand, EXIT_HELP } from './command.ts';
import { nonceOf, timeOf } from './exchangeFiles.ts';
import { CliError, EXIT, exitOfDecision } from './exit.ts';
import { readInput } from './files.ts';
import { printable, stdout, wrap } from './terminal.ts';
import { readTokenPolicy, sentDevices, type SentFlags } from './tokenInput.ts';
import { printVerdict } from './verdictText.ts';

interface TokenFlags extends SentFlags {
  readonly jwks?: string;
  readonly nonce?: string;
  readonly policy?: string;
  readonly printPolicy?: boolean;
  readonly at?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = [
  [
    'an answer to a request of yours, with the key set that you fetched from the service',
    'vouchsafe verify-token answer.json --jwks jwks.json --request request.json --nonce 5a…5a',
  ],
  [
    'an answer about the GPUs of an evidence document',
    'vouchsafe verify-token answer.json --jwks jwks.json --devices document.cbor --kind gpu --nonce 5a…5a',
  ],
  [
    'as it was on a day, for a program',
    'vouchsafe verify-token answer.json --jwks jwks.json --request request.json --nonce 5a…5a --at 2026-11-21T12:00:00Z --json',
  ],
  ['start a policy of your own', 'vouchsafe verify-token --print-policy > token-policy.json'],
] as const;

const WORDS = `
The word of NVIDIA's service, not of the devices: an accepted answer is a warning at best, and stands for no check of
\`vouchsafe verify\`. The key set is trusted as you give it: fetch it yourself, over TLS, from
https://nras.attestation.nvidia.com/.well-known/jwks.json, and never from whoever gives you the answer.
`;

export function tokenCommand(): Command {
  return newCommand(
    'verify-token',
    'Judge an answer of NVIDIA’s remote attestation service (NRAS): its word on devices',
    EXAMPLES,
  )
    .argument('[answer]', 'answer of the service, JSON: the overall token and those of the devices')
    .option('--jwks <file>', 'key set of the service; without it nothing is judged')
    .option('--nonce <hex>', 'the nonce that you chose, 64 hex digits')
    .option('--request <file>', 'what was sent to the service: the body of the request, JSON')
    .option('--devices <file>', 'or the document, attestation answer or bundle whose devices were sent')
    .option('--kind <gpu|switch>', 'of those, the devices of this kind only were sent')
    .option('--policy <file>', 'policy for answers (default: see --print-policy)')
    .option('--at <time>', 'judge for this time, ISO 8601 (default: now)')
    .option('--verbose', 'give the reason of checks that passed, too')
    .option('--json', 'print the verdict as JSON')
    .option('--print-policy', 'print the default policy as JSON, and judge nothing')
    .addHelpText('after', WORDS + EXIT_HELP)
    .action(runToken);
}

async function runToken(path: string | undefined, flags: TokenFlags): Promise<void> {
  if (flags.printPolicy) {
    stdout.json(DEFAULT_NRAS_POLICY);
    return;
  }
  const verdict = await judge(path, flags);
  const input = `answer ${path ?? ''}`;
  if (flags.json) stdout.json({ input, verdict });
  else printJudged(input, verdict, flags.verbose ?? false);
  process.exitCode = exitOfDecision(verdict.decision);
}

async function judge(path: string | undefined, flags: TokenFlags): Promise<NrasVerdict> {
  const nonce = nonceOf(flags.nonce?.toLowerCase());
  if (path === undefined || !nonce) {
    const advice = 'An answer is of use only to who knows the nonce that it was asked for with.';
    throw new CliError(EXIT.misuse, 'name the answer and the nonce that you chose, with --nonce', advice);
  }
  const now = timeOf(flags.at);
  const [devices, policy, jwks] = await Promise.all([
    sentDevices(flags, nonce),
    flags.policy === undefined ? DEFAULT_NRAS_POLICY : readTokenPolicy(flags.policy),
    flags.jwks === undefined ? undefined : readInput(flags.jwks),
  ]);
  const bytes = await readInput(path);
  return appraiseNrasAnswer(bytes, { devices, policy, jwks, nonce, now, crypto: nodeCrypto });
}

function printJudged(input: string, verdict: NrasVerdict, verbose: boolean): void {
  const { c, columns } = stdout;
  stdout.line(c.bold(printable(input)));
  const rows = [
    ['word of', verdict.issuer ?? 'nobody: the tokens did not verify'],
    ['key set', verdict.keySetDigest ?? 'none'],
  ] as const;
  for (const [name, value] of rows) stdout.line(`  ${c.dim(name.padEnd(10))} ${printable(value)}`);
  stdout.line();
  for (const line of wrap(verdict.basis, columns)) stdout.line(c.yellow(line));
  stdout.line();
  printVerdict(stdout, { ...verdict, simulated: [] }, { verbose });
}
