import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeLog, TEXTS } from '../witness/logOf.ts';
import { PROGRAM, vouchsafe } from './program.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-cli-witness-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('vouchsafe witness', () => {
  test('key: makes one, prints the same ever after', async () => {
    const args = ['witness', 'key', '--name', 'example.org/w1', '--state', join(folder, 'w1')];
    const first = await vouchsafe(args);
    expect([first.code, first.stdout]).toEqual([
      0,
      expect.stringMatching(/^example\.org\/w1\+[0-9a-f]{8}\+\S+\n$/),
    ]);
    const json = await vouchsafe([...args, '--json']);
    expect(JSON.parse(json.stdout)).toEqual({ name: 'example.org/w1', vkey: first.stdout.trim() });
  });

  test('serve: cosigns, and a signal ends it', async () => {
    const log = makeLog('example.org/log', TEXTS);
    const logs = join(folder, 'logs.txt');
    await writeFile(logs, `${log.vkey}\n`);
    const args = ['--name', 'example.org/w2', '--port', '0', '--logs', logs, '--state', join(folder, 'w2')];
    const child = spawn(process.execPath, [PROGRAM, 'witness', 'serve', ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    while (!output.includes('vkey')) await once(child.stdout, 'data');
    const url = /http:\S+/.exec(output)![0];
    const body = Buffer.from(log.request(0, 5));
    const answer = await fetch(`${url}/add-checkpoint`, { method: 'POST', body });
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('— example.org/w2 ')]);
    child.kill('SIGTERM');
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  test('a name with a space, and a list that is none, are misuse', async () => {
    const state = join(folder, 'w3');
    const named = await vouchsafe(['witness', 'key', '--name', 'a b', '--state', state]);
    expect([named.code, named.stderr]).toEqual([64, expect.stringContaining('NAME_INVALID')]);
    const logs = join(folder, 'nonsense.txt');
    await writeFile(logs, 'nonsense\n');
    const args = ['--name', 'w', '--port', '0', '--logs', logs, '--state', state];
    const listed = await vouchsafe(['witness', 'serve', ...args]);
    expect([listed.code, listed.stderr]).toEqual([64, expect.stringContaining('LOGS_INVALID')]);
    const missing = await vouchsafe(['witness', 'serve', '--name', 'w', '--logs', 'none', '--state', state]);
    expect([missing.code, missing.stderr]).toEqual([4, expect.stringContaining('ENOENT')]);
  });
});
