import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { test } from '@jest/globals';

// Programs that others wrote, as oracles; tests without them say so.

const FOLDERS = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];

/** A test that runs this program; where it is not installed, one that says so. */
export function testWith(program: string, name: string, body: (path: string) => Promise<void>): void {
  const path = FOLDERS.map((folder) => join(folder, program)).find((one) => existsSync(one));
  if (path === undefined) test.skip(`${name}: skipped: no ${program}`, () => undefined);
  else test(name, () => body(path), 60_000);
}

/** Standard output of a program that ends well. */
export async function outputOf(path: string, ...args: readonly string[]): Promise<string> {
  return (await promisify(execFile)(path, args, { env: { PATH: FOLDERS.join(delimiter), LC_ALL: 'C' } }))
    .stdout;
}

/** Runs with a folder that is gone afterwards. */
export async function inFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-image-'));
  try {
    return await body(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
