// npm run vectors -- DIR: runs every known vector file below the folder, then ours against other implementations.
// Exit 1 when our code disagrees with one.
import { statSync } from 'node:fs';
import process from 'node:process';
import { describeTally, runPeers, runVectors, sum } from './runner.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined || !statSync(folder, { throwIfNoEntry: false })?.isDirectory()) {
  process.stderr.write('Usage: npm run vectors -- DIR (a folder of vector files)\n');
  process.exitCode = 64;
} else {
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const files = await runVectors(folder, print);
  const tally = sum(files, await runPeers(print));
  process.stdout.write(`${describeTally(tally)}\n`);
  process.exitCode = tally.failed === 0 && files.passed > 0 ? 0 : 1;
}
