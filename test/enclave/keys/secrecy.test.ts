import { type ChildProcess, fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'node:https';
import { expect, test } from '@jest/globals';
import { apiKey, makeFolder, testConfig } from '../../support/service.ts';

// A whole service in a process of its own, whose keys its entry tells: none of them is in a file or in its output.

const ENTRY = fileURLToPath(new URL('exportingService.mjs', import.meta.url));
const DIST = new URL('../../../dist/src/', import.meta.url);
const ADMIN = apiKey('admin');

interface Known {
  readonly kind: string;
  readonly bytes: Buffer;
}

interface Exporting {
  readonly url: string;
  readonly keys: readonly Known[];
  /** All that it wrote to its output. */
  readonly output: () => Buffer;
  stop(): Promise<void>;
}

async function startExporting(folder: string): Promise<Exporting> {
  const config = testConfig({
    data: { directory: join(folder, 'data') },
    engine: { provider: 'cpu', threads: 1 },
    keys: { adminKeySha256: ADMIN.entry.sha256, required: 'never' },
    log: { level: 'debug' },
    tls: { enabled: true },
  });
  const temporary = join(folder, 'tmp');
  await mkdir(temporary);
  const entries = ['main.js', 'config/load.js'].map((name) => new URL(name, DIST).href);
  const child = fork(ENTRY, [...entries, JSON.stringify(config)], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, TMPDIR: temporary },
    execArgv: [],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const keys: Known[] = [];
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => output.push(chunk));
  const url = await new Promise<string>((resolve, reject) => {
    child.on('message', (told: { key?: string; bytes?: string; url?: string }) => {
      if (told.url !== undefined) resolve(told.url);
      else keys.push({ kind: told.key ?? '', bytes: Buffer.from(told.bytes ?? '', 'hex') });
    });
    child.once('exit', () => {
      reject(new Error(Buffer.concat(output).toString()));
    });
  });
  return { url, keys, output: () => Buffer.concat(output), stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.send('stop');
  await ended;
}

function ask(url: string, method: 'GET' | 'POST', body?: object): Promise<number> {
  const headers = {
    'content-type': 'application/json',
    authorization: `Bearer ${ADMIN.key}`,
    'vouchsafe-fresh': '?1',
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, rejectUnauthorized: false }, (response) => {
      response.resume();
      response.on('end', () => {
        resolve(response.statusCode ?? 0);
      });
    });
    sent.on('error', reject);
    sent.end(body && JSON.stringify(body));
  });
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
}

/** The forms in which keys get away: as they are, in hex, and as PEM, JWK or JSON would write them. */
function formsOf({ bytes }: Known): readonly Buffer[] {
  const texts = [
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.join(','),
  ];
  return [bytes, ...texts.map((text) => Buffer.from(text))];
}

/** Names of the keys that are in these bytes; line breaks inside PEM do not hide them. */
function keysIn(content: Buffer, keys: readonly Known[]): readonly string[] {
  const joined = Buffer.from(content.toString('latin1').replaceAll(/\s+/g, ''), 'latin1');
  return keys
    .filter((key) => formsOf(key).some((form) => content.includes(form) || joined.includes(form)))
    .map(({ kind }) => kind);
}

async function leaksBelow(folder: string, keys: readonly Known[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const file of await filesBelow(folder)) {
    found.push(...keysIn(await readFile(file), keys).map((kind) => `${kind} in ${file}`));
  }
  return found;
}

const isBuilt = existsSync(fileURLToPath(new URL('main.js', DIST)));
if (!isBuilt) test.skip('private keys of a service: skipped: no dist', () => undefined);
(isBuilt ? test : test.skip)(
  'no private key is in a file or in the output of a service, over a rotation and its end',
  async () => {
    const folder = await makeFolder();
    const service = await startExporting(folder);
    const { url, keys } = service;
    // Receipt, inclusion, log, ACI and TLS key, each in two forms, and the two of HPKE.
    expect(keys.map(({ kind }) => kind).sort()).toEqual([
      'EC P-256 PKCS#8',
      'EC P-256 PKCS#8',
      'EC P-256 PKCS#8',
      'EC P-256 scalar',
      'EC P-256 scalar',
      'EC P-256 scalar',
      'HPKE X-Wing seed',
      'HPKE scalar',
      'OKP Ed25519 PKCS#8',
      'OKP Ed25519 PKCS#8',
      'OKP Ed25519 scalar',
      'OKP Ed25519 scalar',
    ]);
    const embedding = { model: 'glove-sif-100d', input: 'a red car' };
    expect(await ask(`${url}/v1/embeddings`, 'POST', embedding)).toBe(200);
    expect(await ask(`${url}/v1/attestation?nonce=${'1'.repeat(64)}`, 'GET')).toBe(200);
    expect(await ask(`${url}/v1/keys/rotate`, 'POST')).toBe(200);
    expect(keys.length).toBe(22);
    expect(await ask(`${url}/v1/embeddings`, 'POST', embedding)).toBe(200);
    expect(await ask(`${url}/v1/embeddings`, 'POST', { model: 'none', input: 'x' })).toBe(404);
    await service.stop();

    expect((await filesBelow(join(folder, 'data'))).length).toBeGreaterThan(5);
    expect(service.output().toString()).toContain('keys rotated');
    expect(await leaksBelow(folder, keys)).toEqual([]);
    expect(keysIn(service.output(), keys)).toEqual([]);
  },
);

test('a search that would find nothing proves nothing: planted keys are found in every form', async () => {
  const folder = await makeFolder();
  const key = { kind: 'planted', bytes: Buffer.from(Array.from({ length: 48 }, (_, i) => 255 - 5 * i)) };
  const pem = key.bytes.toString('base64').replaceAll(/(.{20})/g, '$1\n');
  for (const [i, form] of [...formsOf(key), Buffer.from(`-----\n${pem}\n-----`)].entries()) {
    await writeFile(join(folder, `${i}`), Buffer.concat([Buffer.from('before'), form, Buffer.from('after')]));
  }
  expect(await leaksBelow(folder, [key])).toHaveLength(7);
  expect(keysIn(Buffer.from('nothing'), [key])).toEqual([]);
});
