/**
 * `npm run golden -- mint|check|release`: files of every durable format as this version writes them. See
 * test/golden/README.md.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { differingAnswers, judgeCase, readCases } from './cases.ts';
import { formatOf, reencode } from './formats.ts';
import {
  differences,
  digestsOf,
  packageVersion,
  pinOf,
  readIndex,
  versionFolder,
  writeIndex,
} from './versionIndex.ts';

const MINT = fileURLToPath(new URL('../../test/golden/mint.ts', import.meta.url));

async function problems(): Promise<readonly string[]> {
  const index = readIndex();
  const found = [...differences(index)];
  for (const [version, { files }] of Object.entries(index)) {
    const folder = versionFolder(version);
    for (const name of Object.keys(files)) {
      const format = formatOf(name);
      if (!format) continue;
      const bytes = readFileSync(join(folder, name));
      if (!bytes.equals(reencode(format, bytes))) found.push(`${version}/${name} is written otherwise today`);
    }
    for (const question of readCases(folder)) {
      const differing = differingAnswers(question.expected, await judgeCase(folder, question));
      found.push(...differing.map((what) => `${version}, ${question.name}: ${what}`));
    }
  }
  return found;
}

function mint(): void {
  const version = packageVersion();
  const index = readIndex();
  if (index[version]?.released) throw new Error(`${version} is released: its golden files stay as they are`);
  const folder = versionFolder(version);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  // In a process of its own: what mints belongs to the tests.
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', MINT, folder], { stdio: 'inherit' });
  if (status !== 0) throw new Error(`minting failed with status ${status}`);
  writeIndex({ ...index, [version]: { released: false, files: digestsOf(version) } });
}

function release(): void {
  const version = packageVersion();
  const index = readIndex();
  const minted = index[version];
  if (!minted) throw new Error(`${version} has no golden files: mint them first`);
  writeIndex({ ...index, [version]: { ...minted, released: true } });
  console.log(`Pin it in test/golden.test.ts:\n  '${version}': '${pinOf(minted)}',`);
}

async function run(command: string | undefined): Promise<number> {
  if (command === 'mint') mint();
  else if (command === 'release') release();
  else if (command !== 'check') {
    console.error('Usage: npm run golden -- mint|check|release');
    return 64;
  }
  const found = await problems();
  for (const problem of found) console.error(`✗ ${problem}`);
  const count = Object.values(readIndex()).reduce((sum, { files }) => sum + Object.keys(files).length, 0);
  if (found.length === 0) console.log(`✓ ${count} golden files are as they were and are read as they were`);
  return found.length === 0 ? 0 : 2;
}

process.exitCode = await run(process.argv[2]);
