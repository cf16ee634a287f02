import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from '@jest/globals';
import { relayCommand } from '../../../src/cli/relay.ts';
import { PROGRAM } from './program.ts';

function run(...args: readonly string[]): Promise<unknown> {
  const command = relayCommand().configureOutput({ writeErr: () => undefined });
  return command.parseAsync(args, { from: 'user' });
}

test.each([
  ['no gateway', [], { code: 'commander.missingMandatoryOptionValue' }],
  ['a gateway elsewhere without TLS', ['--gateway', 'http://service.example'], { exit: 64 }],
  ['a gateway that is no address', ['--gateway', 'service'], { exit: 64 }],
  ['half a key of TLS', ['--gateway', 'https://a.example', '--tls-cert', 'cert.pem'], { exit: 64 }],
  ['a place without a port', ['--gateway', 'https://a.example', '--listen', 'localhost'], { exitCode: 1 }],
  ['an address of others', ['--gateway', 'http://127.0.0.1:9', '--listen', '192.0.2.1:0'], { exit: 4 }],
])('%s is refused', async (_name, args, expected) => {
  await expect(run(...args)).rejects.toMatchObject(expected);
});

test('serves until a signal ends it', async () => {
  const args = ['relay', '--gateway', 'http://127.0.0.1:9', '--listen', '127.0.0.1:0'];
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = once(child, 'exit');
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  while (!output.includes('gateway')) await once(child.stdout, 'data');
  const url = /http:\S+/.exec(output)![0];
  expect((await fetch(url)).status).toBe(502);
  child.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
});
