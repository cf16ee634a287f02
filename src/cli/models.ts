import type { Command } from 'commander';
import { addCommand } from './modelsAdd.ts';
import { aliasCommand } from './modelsAlias.ts';
import { listCommand } from './modelsList.ts';
import { removeCommand } from './modelsRemove.ts';
import { verifyModelsCommand } from './modelsVerify.ts';
import { sealCommand } from './modelsSeal.ts';
import { newCommand } from './command.ts';

const EXAMPLES = [
  ['a folder as the release 1.0 of tinygpt', 'vouchsafe models add ./tinygpt tinygpt@1.0'],
  [
    'a repository of the Hugging Face hub, at one commit, signed',
    'vouchsafe models add hf:owner/name@0123456789abcdef0123456789abcdef01234567 name@1 --require-signature signer.pem',
  ],
  ['read every byte again and compare it', 'vouchsafe models verify'],
  ['let the name mean the new release from the next load on', 'vouchsafe models alias tinygpt tinygpt@1.1'],
] as const;

export function modelsCommand(): Command {
  const command = newCommand('models', 'Add, list, verify, seal and remove models', EXAMPLES);
  const commands = [
    addCommand(),
    listCommand(),
    verifyModelsCommand(),
    aliasCommand(),
    removeCommand(),
    sealCommand(),
  ];
  for (const each of commands) command.addCommand(each);
  return command;
}
