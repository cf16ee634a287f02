import { InvalidArgumentError, type Command } from 'commander';
import { z } from 'zod';
import { askService, withService, type ArchiveFlags } from './archiveAccess.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stdout } from './terminal.ts';

interface RuleFlags extends ArchiveFlags {
  readonly rule: string;
}

interface ScopeFlags extends RuleFlags {
  readonly receipt?: string;
  readonly tenant?: string;
  readonly from?: number | string;
  readonly to?: number | string;
}

const HELD = z.object({ id: z.string() });
const ERASED = z.object({ erased: z.number() });

export function holdCommand(): Command {
  const command = newCommand('hold', 'Place a legal hold: what it names is neither erased nor expires', [
    ['everything of a tenant', 'vouchsafe archive hold --tenant analytics --rule "case 7"'],
    ['a month', 'vouchsafe archive hold --from 2026-11-01 --to 2026-12-01 --rule "case 7"'],
  ]);
  return withService(withScope(command)).action(async (flags: ScopeFlags) => {
    const answer = await act(flags, '/v1/archive/holds', scopeOf(flags), HELD);
    if (flags.json) stdout.json(answer);
    else stdout.line(`hold ${printable(answer.id)} is in force, and in the log`);
  });
}

export function liftCommand(): Command {
  const command = newCommand('lift', 'Lift a legal hold', [
    ['what `archive hold` named', 'vouchsafe archive lift 00112233445566778899aabbccddeeff --rule settled'],
  ])
    .argument('<hold>', 'id of the hold')
    .requiredOption('--rule <text>', 'rule or reason; it goes into the log');
  return withService(command).action(async (hold: string, flags: RuleFlags) => {
    const path = `/v1/archive/holds/${encodeURIComponent(hold)}/lift`;
    const answer = await act(flags, path, { rule: flags.rule }, z.object({ lifted: z.string() }));
    if (flags.json) stdout.json(answer);
    else stdout.line(`hold ${printable(answer.lifted)} is lifted`);
  });
}

export function eraseCommand(): Command {
  const command = newCommand('erase', 'Erase content with its keys; receipts stay', [
    [
      'of one receipt',
      'vouchsafe archive erase --receipt 00112233445566778899aabbccddeeff --rule "GDPR Art. 17"',
    ],
    [
      'all of a tenant until a day',
      'vouchsafe archive erase --tenant analytics --to 2026-01-01 --rule "contract 12"',
    ],
  ]);
  return withService(withScope(command)).action(async (flags: ScopeFlags) => {
    const answer = await act(flags, '/v1/archive/erasures', scopeOf(flags), ERASED);
    if (flags.json) stdout.json(answer);
    else stdout.line(`${answer.erased} records are erased; the act is in the log`);
  });
}

function withScope(command: Command): Command {
  return command
    .option('--receipt <id>', 'one receipt, 32 hex digits')
    .option('--tenant <name>', 'what has this tenant')
    .option('--from <time>', 'seconds since 1970, a day, or RFC 3339; inclusive', toTime)
    .option('--to <time>', 'exclusive', toTime)
    .requiredOption('--rule <text>', 'rule or reason; it goes into the log');
}

function toTime(text: string): number | string {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) return `${text}T00:00:00Z`;
  if (Number.isNaN(Date.parse(text))) throw new InvalidArgumentError('A time is seconds, a day or RFC 3339.');
  return text;
}

function scopeOf({ receipt, tenant, from, to, rule }: ScopeFlags): object {
  return { receipt, tenant, from, to, rule };
}

async function act<T>(flags: ArchiveFlags, path: string, body: object, answer: z.ZodType<T>): Promise<T> {
  const parsed = answer.safeParse(await askService(flags, path, body));
  if (!parsed.success) throw new CliError(EXIT.unreadable, 'the answer of the service is not understood');
  return parsed.data;
}
