// gpu-check.mjs of a pack: `bin/node gpu-check.mjs [OPTION …]`, with what lies beside it.
import { fileURLToPath } from 'node:url';
import { runToEnd } from './ended.ts';
import { runCommand } from './runCommand.ts';

await runToEnd(runCommand(fileURLToPath(new URL('./', import.meta.url))).name('gpu-check.mjs'));
