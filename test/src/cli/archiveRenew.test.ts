import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, jest, test } from '@jest/globals';
import { renewCommand } from '../../../src/cli/archiveRenew.ts';
import { answerTimestampQuery, timestampAuthority } from '../../support/timestampAuthority.ts';

const INSTANCE = '00112233445546778899aabbccddeeff';

let data: string;
let server: Server;
let url: string;
let status: number;

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'vouchsafe-renew-'));
  const instance = join(data, 'instances', INSTANCE);
  await mkdir(join(instance, 'evidence'), { recursive: true });
  await writeFile(join(instance, 'origin'), `localhost/vouchsafe/${INSTANCE}\n`);
  await writeFile(join(instance, 'created'), '1\n');
  await writeFile(join(instance, 'evidence/0.cbor'), 'document');
  status = 200;
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const reply = answerTimestampQuery(Buffer.concat(chunks), Date.now());
      response.writeHead(status, { 'content-type': 'application/timestamp-reply' }).end(reply);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  jest.restoreAllMocks();
  await new Promise((resolve) => server.close(resolve));
  await rm(data, { recursive: true });
});

/** Standard output of the command. */
async function run(...args: readonly string[]): Promise<string> {
  let printed = '';
  jest.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  await renewCommand().parseAsync(['--data', data, ...args], { from: 'user' });
  return printed;
}

test('renews, and says by whom as JSON', async () => {
  const result = JSON.parse(await run('--tsa', url, '--json')) as Record<string, unknown>;
  expect(result).toMatchObject({
    seq: 0,
    kind: 'hash-tree',
    hash: 'sha512',
    continued: false,
    segments: [{ name: INSTANCE, files: 3 }],
    timestamps: [{ url, file: 'renewals/0.0.tsr' }],
    failures: [],
  });
  expect((await readdir(join(data, 'renewals'))).sort()).toEqual(['0.0.tsr', `0.${INSTANCE}.list`, '0.cbor']);
});

test('names keys that can be pinned where none was named', async () => {
  const pin = timestampAuthority().anchor.spkiSha256;
  expect(await run('--tsa', url)).toContain(`timestamp:${pin}`);
  expect(await run('--tsa', url, '--timestamps-only', '--anchor', `timestamp:${pin}`)).not.toContain(pin);
});

test('goes on after an authority that failed', async () => {
  status = 503;
  await expect(run('--tsa', url)).rejects.toMatchObject({ exit: 4 });
  status = 200;
  expect(JSON.parse(await run('--tsa', url, '--json'))).toMatchObject({ seq: 0, continued: true });
});

test.each([
  ['an address that is none', 'commander.invalidArgument', ['--tsa', 'nowhere']],
  ['an unknown hash', 'commander.invalidArgument', ['--tsa', 'http://a.example', '--hash', 'md5']],
  ['no authority', 'commander.missingMandatoryOptionValue', []],
])('refuses %s', async (_what, code, args) => {
  jest.spyOn(process.stderr, 'write').mockReturnValue(true);
  await expect(run(...args)).rejects.toMatchObject({ code });
});

test.each([
  ['an altered file', 2, []],
  ['another key than the named one', 4, ['--anchor', `timestamp:${'ab'.repeat(32)}`]],
])('ends with the exit code for %s', async (_what, exit, args) => {
  await run('--tsa', url);
  if (exit === 2) await writeFile(join(data, 'instances', INSTANCE, 'evidence/0.cbor'), 'altered!');
  await expect(run('--tsa', url, ...args)).rejects.toMatchObject({ exit });
});
