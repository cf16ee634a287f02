import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { test } from '@jest/globals';

// Programs that others wrote, as oracles; tests without them say so.

const FOLDERS = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];

/** A test that needs something of this machine; where `missing` says what is not there, one that says so. */
export function testUnless(missing: string | undefined, name: string, body: () => Promise<void>): void {
  if (missing === undefined) test(name, body, 60_000);
  else test.skip(`${name}: skipped: ${missing}`, () => undefined);
}

/** A test that runs this program; where it is not installed, one that says so. */
export function testWith(program: string, name: string, body: (path: string) => Promise<void>): void {
  const path = FOLDERS.map((folder) => join(folder, program)).find((one) => existsSync(one));
  testUnless(path === undefined ? `no ${program}` : undefined, name, () => body(path!));
}

/** Whether a program can be run here, and ends well. */
export function has(program: string, ...parameters: readonly string[]): boolean {
  return spawnSync(program, parameters, { stdio: 'ignore' }).status === 0;
}

/** Standard output of a program that ends well. */
export async function outputOf(path: string, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(path, args, { env: { PATH: FOLDERS.join(delimiter), LC_ALL: 'C' } }))
    .stdout;
}
