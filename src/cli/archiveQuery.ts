import { InvalidArgumentError, type Command } from 'commander';
import { z } from 'zod';
import { migrate } from '../archive/migrations.ts';
import { MAX_LIMIT, queryReceipts } from '../archive/query.ts';
import { askService, onThisMachine, withArchive, type ArchiveFlags } from './archiveAccess.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stdout } from './terminal.ts';

interface QueryFlags extends ArchiveFlags {
  readonly from?: number;
  readonly to?: number;
  readonly model?: string;
  readonly tenant?: string;
  readonly device?: string;
  readonly tcb?: string;
  readonly chip?: string;
  readonly platform?: string;
  readonly policy?: string;
  readonly outcome?: string;
  readonly instance?: string;
  readonly limit?: number;
  readonly cursor?: string;
}

const FILTERS = [
  'from',
  'to',
  'model',
  'tenant',
  'device',
  'tcb',
  'chip',
  'platform',
  'policy',
  'outcome',
  'instance',
  'limit',
  'cursor',
] as const;

/** A row as a service writes it. */
const ROW = z.object({
  id: z.string(),
  instance: z.string(),
  index: z.number(),
  issued_at: z.number(),
  model: z.string(),
  tenant: z.string().nullable(),
  outcome: z.string(),
  covering: z.number().nullable(),
  content: z.string(),
});
const PAGE = z.object({ receipts: z.array(ROW), next: z.string().nullable() });
type Page = z.infer<typeof PAGE>;

export function queryCommand(): Command {
  const command = newCommand('query', 'Find receipts, oldest first', [
    ['of one model on a day', 'vouchsafe archive query --model tinygpt --from 2026-11-21 --to 2026-11-22'],
    ['on one device, for a script', 'vouchsafe archive query --device 1a2b3c --json'],
  ])
    .option('--from <time>', 'seconds since 1970, a day, or RFC 3339; inclusive', toSeconds)
    .option('--to <time>', 'exclusive', toSeconds)
    .option('--model <id>', 'model')
    .option('--tenant <name>', 'name of the API key')
    .option('--device <serial>', 'leaf serial of a device, lower-case hex')
    .option('--tcb <text>', 'beginning of the TCB text, such as snp: or tdx:')
    .option('--chip <id>', 'chip id or PPID')
    .option('--platform <name>', 'such as snp or azure-tdx')
    .option('--policy <digest>', 'policy that was registered then')
    .option('--outcome <outcome>', 'complete, aborted, refused or error')
    .option('--instance <id>', 'instance, 32 hex digits')
    .option('--limit <number>', `receipts of a page, 1 to ${MAX_LIMIT}`, toLimit)
    .option('--cursor <text>', 'goes on after a page');
  return withArchive(command).action(runQuery);
}

function toSeconds(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  const time = /^\d{4}-\d{2}-\d{2}(?:T[0-9:.]+(?:Z|[+-]\d{2}:\d{2}))?$/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(time)) throw new InvalidArgumentError('A time is seconds, a day or RFC 3339.');
  return Math.floor(time / 1000);
}

function toLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d{1,4}$/.test(text) || limit < 1 || limit > MAX_LIMIT) {
    throw new InvalidArgumentError(`A page has 1 to ${MAX_LIMIT} receipts.`);
  }
  return limit;
}

async function runQuery(flags: QueryFlags): Promise<void> {
  const page = flags.url === undefined ? await localPage(flags) : await remotePage(flags);
  if (flags.json) stdout.json(page);
  else print(page);
}

function localPage(flags: QueryFlags): Promise<Page> {
  return onThisMachine(flags, async ({ sql }) => {
    await migrate(sql, Date.now());
    const { receipts, next } = await queryReceipts(sql, filtersOf(flags));
    const rows = receipts.map(({ issuedAt, tenant, covering, ...row }) => ({
      ...row,
      issued_at: issuedAt,
      tenant: tenant ?? null,
      covering: covering ?? null,
    }));
    return { receipts: rows, next: next ?? null };
  });
}

async function remotePage(flags: QueryFlags): Promise<Page> {
  const query = new URLSearchParams(
    Object.entries(filtersOf(flags)).map(([name, value]) => [name, String(value)]),
  );
  const answer = PAGE.safeParse(await askService(flags, `/v1/archive/receipts?${query.toString()}`));
  if (!answer.success) throw new CliError(EXIT.unreadable, 'the answer is no page of receipts');
  return answer.data;
}

/** The filters that were given. */
function filtersOf(flags: QueryFlags): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    FILTERS.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  );
}

function print({ receipts, next }: Page): void {
  const { c } = stdout;
  for (const { id, issued_at, model, tenant, outcome, covering, content } of receipts) {
    const time = new Date(issued_at * 1000).toISOString().slice(0, 19);
    const state = outcome === 'complete' ? c.green(outcome) : c.yellow(printable(outcome));
    const notes = [covering === null ? 'uncovered' : '', content === 'none' ? '' : `content ${content}`];
    const note = notes.filter((text) => text !== '').join(', ');
    stdout.line(
      `${c.bold(printable(id))}  ${time}  ${state}  ${printable(model)}  ${printable(tenant ?? '-')}`,
    );
    if (note !== '') stdout.line(c.dim(`  ${printable(note)}`));
  }
  if (receipts.length === 0) stdout.line('There are none.');
  if (next !== null) stdout.line(c.dim(`more: --cursor ${printable(next)}`));
}
