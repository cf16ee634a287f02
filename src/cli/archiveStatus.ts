import type { Command } from 'commander';
import { z } from 'zod';
import { migrate } from '../archive/migrations.ts';
import { storeStatus } from '../archive/status.ts';
import { askService, onThisMachine, withArchive, type ArchiveFlags } from './archiveAccess.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stdout } from './terminal.ts';

const STATUS = z.object({
  mirror: z
    .object({ state: z.string(), code: z.string().optional(), behind: z.number(), former: z.number() })
    .optional(),
  store: z.union([
    z.object({ code: z.string(), advice: z.string() }),
    z.object({
      store: z.string(),
      instances: z.array(
        z.object({
          instance: z.string(),
          live: z.boolean(),
          complete: z.boolean(),
          entries: z.number(),
          documents: z.number(),
          problem: z.string().optional(),
        }),
      ),
      findings: z.array(z.object({ code: z.string(), instance: z.string(), detail: z.string() })),
      counts: z.record(z.string(), z.number()),
    }),
  ]),
});

type Status = z.infer<typeof STATUS>;

export function statusCommand(): Command {
  const command = newCommand(
    'status',
    'Show what the archive holds, and whether the line of instances is whole',
    [
      ['the archive on this machine', 'vouchsafe archive status'],
      [
        'that of a running service, for a script',
        'vouchsafe archive status --url https://inference.example --json',
      ],
    ],
  );
  return withArchive(command)
    .addHelpText('after', '\n2 also says that an instance is missing, forked or rolled back.\n')
    .action(runStatus);
}

async function runStatus(flags: ArchiveFlags): Promise<void> {
  const status = flags.url === undefined ? await localStatus(flags) : await remoteStatus(flags);
  if (flags.json) stdout.json(status);
  else print(status);
  if ('code' in status.store) process.exitCode = EXIT.unreadable;
  else if (status.store.findings.length > 0) process.exitCode = EXIT.refused;
}

function localStatus(flags: ArchiveFlags): Promise<Status> {
  return onThisMachine(flags, async (storage) => {
    await migrate(storage.sql, Date.now());
    return STATUS.parse({ store: await storeStatus(storage) });
  });
}

async function remoteStatus(flags: ArchiveFlags): Promise<Status> {
  const parsed = STATUS.safeParse(await askService(flags, '/v1/archive/status'));
  if (!parsed.success) throw new CliError(EXIT.unreadable, 'the answer is no status of an archive');
  return parsed.data;
}

function print({ mirror, store }: Status): void {
  const { c } = stdout;
  if (mirror) {
    const state = mirror.state === 'ready' ? c.green(mirror.state) : c.yellow(printable(mirror.state));
    const code = mirror.code === undefined ? '' : ` (${printable(mirror.code)})`;
    stdout.line(
      `${c.bold('mirror')}  ${state}${code}, ${mirror.behind} entries behind, ${mirror.former} former logs`,
    );
  }
  if ('code' in store) {
    stdout.line(c.red(`${printable(store.code)}: ${printable(store.advice)}`));
    return;
  }
  stdout.line(`${c.bold('store')}   ${printable(store.store)}`);
  for (const [name, count] of Object.entries(store.counts)) {
    stdout.line(`  ${printable(name).padEnd(16)} ${count.toLocaleString('en')}`);
  }
  stdout.line(c.bold('instances'));
  for (const { instance, live, complete, entries, documents, problem } of store.instances) {
    const state = live ? c.cyan('live') : complete ? 'whole' : c.yellow('partial');
    const fault = problem === undefined ? '' : c.red(` ${printable(problem)}`);
    stdout.line(`  ${printable(instance)}  ${state}  ${entries} entries, ${documents} documents${fault}`);
  }
  for (const { code, instance, detail } of store.findings) {
    stdout.line(c.red(`${printable(code)}: ${printable(instance)}: ${printable(detail)}`));
  }
  if (store.findings.length === 0) stdout.line(c.green('The line of instances is whole.'));
}
