import type { Command } from 'commander';
import { eraseCommand, holdCommand, liftCommand } from './archiveActs.ts';
import { openExported } from './archiveAccess.ts';
import { contentCommand } from './archiveContent.ts';
import { archiveExportCommand, archiveImportCommand } from './archiveExport.ts';
import { queryCommand } from './archiveQuery.ts';
import { renewCommand } from './archiveRenew.ts';
import { statusCommand } from './archiveStatus.ts';
import { newCommand } from './command.ts';

const EXAMPLES = [
  ['what the archive holds, and whether the line of instances is whole', 'vouchsafe archive status'],
  ['receipts of one tenant since a day', 'vouchsafe archive query --tenant analytics --from 2026-11-01'],
  [
    'keep everything of one tenant, whatever the retention says',
    'vouchsafe archive hold --url https://inference.example --tenant analytics --rule "case 7"',
  ],
  ['a file for an auditor', 'vouchsafe archive export --out audit.tar'],
] as const;

/** Operators' and auditors' commands over the archive. */
export function archiveCommand(): Command {
  const command = newCommand('archive', 'Show, query, hold, erase, export and renew the archive', EXAMPLES);
  const commands = [
    statusCommand(),
    queryCommand(),
    contentCommand(),
    holdCommand(),
    liftCommand(),
    eraseCommand(),
    archiveExportCommand(openExported),
    archiveImportCommand(),
    renewCommand(),
  ];
  for (const each of commands) command.addCommand(each);
  return command;
}
