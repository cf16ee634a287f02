import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, jest, test } from '@jest/globals';
import { sizeText } from '../../../src/cli/byteProgress.ts';
import { parseSize } from '../../../src/cli/modelsProgress.ts';
import { filesOf, layoutOf } from '../../../src/models/release/layout.ts';
import { readCatalogue } from '../../../src/models/release/catalogue.ts';
import { craftOnnx } from '../../support/onnx.ts';
import {
  gzipped,
  hex,
  mintKey,
  modelFiles,
  modelFolder,
  namesBelow,
  signModel,
  tarOfFiles,
  temporaryFolder,
} from '../../support/releases.ts';
import { makeStore } from '../../support/store.ts';
import { startVendors } from '../collateral/server.ts';
import { PROGRAM, type Ran, vouchsafe } from './program.ts';

/** Each of a dozen processes starts by itself. */
jest.setTimeout(60_000);

/** The command over one store. */
async function openStore(environment: Record<string, string> = {}) {
  const directory = await temporaryFolder();
  const run = (command: string, ...args: readonly string[]): Promise<Ran> =>
    vouchsafe(['models', command, ...args, '--models', directory], environment);
  return { directory, run };
}

const json = ({ stdout }: Ran): unknown => JSON.parse(stdout);

describe('vouchsafe models', () => {
  test('adds, lists, verifies, names anew and removes', async () => {
    const { directory, run } = await openStore();
    const added = await run('add', await modelFolder(), 'tiny@1.0');
    expect([added.code, added.stderr]).toEqual([0, '']);
    expect(added.stdout).toContain('tiny@1.0 added: 2 files');
    expect(added.stdout).toContain('tiny means it from the next load on');
    expect((await run('add', await modelFolder(), 'tiny@1.0')).stdout).toContain('there already');

    await run('add', await modelFolder({ 'config.json': '{}' }), 'tiny@1.1');
    expect((await run('alias', 'tiny', 'tiny@latest')).stdout).toContain('tiny means tiny@latest');
    const listed = json(await run('list', '--json'));
    expect(listed).toMatchObject({
      directory,
      releases: [
        { release: 'tiny@1.0', aliases: [], source: { kind: 'folder' }, signer: null },
        { release: 'tiny@1.1', aliases: ['tiny'] },
      ],
      aliases: { tiny: 'tiny@latest' },
      served: [{ id: 'tiny', release: 'tiny@1.1' }],
      refused: [],
    });
    expect((await run('list')).stdout).toMatch(/tiny@1\.1 ← tiny/);

    expect((await run('verify')).code).toBe(0);
    const inUse = await run('remove', 'tiny@1.1');
    expect([inUse.code, inUse.stderr]).toEqual([2, expect.stringContaining('RELEASE_IN_USE')]);
    expect((await run('remove', 'tiny@1.0', '--json')).code).toBe(0);
    const removed = json(await run('remove', 'tiny@1.1', '--force', '--json'));
    expect(removed).toMatchObject({ removed: 'tiny@1.1', aliases: ['tiny'] });
    expect(await namesBelow(layoutOf(directory).blobs)).toEqual([]);
    expect((await run('list')).stdout).toContain('There are none.');
  });

  test('verify finds one changed byte, exit 2', async () => {
    const { directory, run } = await openStore();
    await run('add', await modelFolder(), 'tiny@1.0');
    const blob = join(layoutOf(directory).blobs, hex(craftOnnx()));
    const bytes = await readFile(blob);
    bytes[bytes.length - 1]! ^= 1;
    await chmod(blob, 0o644);
    await writeFile(blob, bytes);
    const verified = await run('verify', 'tiny', '--json');
    expect(verified.code).toBe(2);
    expect(json(verified)).toMatchObject({
      verified: false,
      releases: [{ release: 'tiny@1.0', problems: [{ code: 'CHANGED', path: 'model.onnx' }] }],
    });
    expect((await run('verify')).stdout).toContain('CHANGED model.onnx');
  });

  test('takes only what is signed, where that is wanted', async () => {
    const { directory, run } = await openStore();
    const key = mintKey();
    const folder = await temporaryFolder();
    const pem = join(folder, 'signer.pem');
    const other = join(folder, 'other.pem');
    await writeFile(pem, key.pem);
    await writeFile(other, mintKey().pem);
    const source = await makeStore({ ...modelFiles(), 'model.sig': signModel(modelFiles(), key) });
    const refused = await run('add', source, 'tiny@1', '--require-signature', other);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('SIGNATURE_INVALID')]);
    const added = await run('add', source, 'tiny@1', '--require-signature', other, pem);
    expect([added.code, added.stdout]).toEqual([0, expect.stringContaining('signed by key')]);
    expect((await run('verify', '--require-signature', pem)).code).toBe(0);
    expect((await run('verify', '--require-signature', other)).stdout).toContain('SIGNATURE_INVALID');
    const configured = await vouchsafe(['models', 'list', '--json', '--models', directory], {
      VOUCHSAFE_MODELS_SIGNING: JSON.stringify([await readFile(other, 'utf8')]),
    });
    expect(json(configured)).toMatchObject({
      served: [],
      refused: [{ id: 'tiny', code: 'SIGNATURE_REFUSED' }],
    });
  });

  test('fetches from the web', async () => {
    const archive = gzipped(tarOfFiles(modelFiles()));
    const server = await startVendors({ '/tiny.tar.gz': { body: archive } });
    const { run } = await openStore();
    const digest = `sha256:${hex(archive)}`;
    const added = await run('add', `${server.url}/tiny.tar.gz`, 'tiny@1', '--digest', digest, '--json');
    expect(json(added)).toMatchObject({
      added: true,
      release: { source: { kind: 'web', resolved: digest } },
    });
    const wrong = await run('add', `${server.url}/tiny.tar.gz`, 'tiny@2', '--digest', `sha256:${hex('x')}`);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('DIGEST_MISMATCH')]);
    const missing = await run('add', `${server.url}/none.tar.gz`, 'tiny@2');
    expect([missing.code, missing.stderr]).toEqual([4, expect.stringContaining('SOURCE_NOT_FOUND')]);
  });

  test('keeps to the quota, exit 2', async () => {
    const { run } = await openStore({ VOUCHSAFE_MODELS_QUOTA_BYTES: '100' });
    const source = await modelFolder();
    const refused = await run('add', source, 'tiny@1');
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('QUOTA_EXCEEDED')]);
    expect((await run('add', source, 'tiny@1', '--quota', '1MiB')).code).toBe(0);
  });

  test.each([
    ['a release without a version', ['add', '.', 'tiny'], 64, 'RELEASE_NAME_INVALID'],
    ['a source of no kind', ['add', 'ftp://h/x', 'tiny@1'], 64, 'SOURCE_INVALID'],
    ['plain HTTP elsewhere', ['add', 'http://192.0.2.1/x.tar', 'tiny@1'], 64, 'INSECURE_ADDRESS'],
    ['a digest that is none', ['add', '.', 'tiny@1', '--digest', 'md5:00'], 64, 'A digest is'],
    ['a size that is none', ['add', '.', 'tiny@1', '--quota', 'much'], 64, 'A size is'],
    ['a release that is not there', ['verify', 'tiny@1'], 4, 'RELEASE_UNKNOWN'],
    ['nothing to remove', ['remove', 'tiny@1'], 4, 'RELEASE_UNKNOWN'],
    ['an alias to nothing', ['alias', 'tiny', 'tiny@1'], 4, 'RELEASE_UNKNOWN'],
    ['an alias with nothing said', ['alias', 'tiny'], 64, '--delete'],
    ['a folder that is not there', ['add', '/nonexistent', 'tiny@1'], 4, 'SOURCE_UNREADABLE'],
    ['a folder that is no model', ['add', '/etc/apt', 'tiny@1'], 2, ''],
  ])('%s is exit code and words', async (_, [command = '', ...args], exit, words) => {
    const { run } = await openStore();
    const ran = await run(command, ...args);
    expect([ran.code, ran.stdout]).toEqual([exit, '']);
    expect(ran.stderr).toContain(words);
  });

  test('says how, with examples', async () => {
    const help = await vouchsafe(['models', 'add', '--help']);
    expect(help.code).toBe(0);
    for (const word of ['hf:owner/name', 'oci://', '--require-signature', 'HF_TOKEN', 'Exit codes:']) {
      expect(help.stdout).toContain(word);
    }
  });

  test('that is killed in the middle leaves nothing that counts', async () => {
    const { directory, run } = await openStore();
    await run('add', await modelFolder(), 'tiny@1');
    const server = await startVendors({
      // Never ends.
      '/slow.tar': (_, response) => response.writeHead(200).write(tarOfFiles(modelFiles()).subarray(0, 600)),
    });
    const args = ['models', 'add', `${server.url}/slow.tar`, 'tiny@2', '--models', directory];
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'ignore' });
    const { incoming } = layoutOf(directory);
    while ((await namesBelow(incoming)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await run('add', await modelFolder(), 'tiny@3')).stderr).toContain('STORE_LOCKED');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect((await readCatalogue(directory)).records.size).toBe(1);
    expect((await run('verify')).code).toBe(0);
    expect((await run('add', await modelFolder(), 'tiny@3')).code).toBe(0);
    expect(await namesBelow(incoming)).toEqual([]);
    expect(await readFile(join(filesOf(layoutOf(directory), 'tiny@3'), 'config.json'), 'utf8')).toContain(
      'hidden',
    );
  });
});

describe('sizes', () => {
  test.each([
    ['1', 1],
    ['20GB', 20e9],
    ['1.5 MiB', 1.5 * 2 ** 20],
    ['7k', 7000],
    ['0', undefined],
    ['-1', undefined],
    ['many', undefined],
    ['1e9', undefined],
  ])('%s is read', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test('are written for people', () => {
    expect([0, 512, 2048, 3 * 2 ** 30].map(sizeText)).toEqual(['0 B', '512 B', '2.00 KiB', '3.00 GiB']);
  });
});
