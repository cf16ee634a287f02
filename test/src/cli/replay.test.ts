import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { alterWeights } from '../replay/exchanges.ts';
import { copyShipped } from '../../support/store.ts';
import { PROGRAM, type Ran, vouchsafe } from './program.ts';

// Each test starts processes.
jest.setTimeout(60_000);

let folder: string;
let answer: string;
let server: ChildProcess;
let url: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-replay-'));
  answer = join(folder, 'answer');
  url = await serve();
  const asked = await ask('Call me', '--max-tokens', '12', '--temperature', '0.9', '--save', answer);
  expect(asked.code).toBe(0);
}, 60_000);
afterAll(async () => {
  const ended = new Promise((resolve) => server.on('exit', resolve));
  server.kill('SIGTERM');
  await ended;
  rmSync(folder, { recursive: true });
});

function serve(): Promise<string> {
  const args = ['serve', '--port', '0', '--simulated', '--data', join(folder, 'data')];
  server = spawn(process.execPath, [PROGRAM, ...args], { env: { PATH: process.env['PATH'] ?? '' } });
  let banner = '';
  return new Promise((resolve, reject) => {
    server.once('exit', () => {
      reject(new Error(`serve ended: ${banner}`));
    });
    server.stdout!.setEncoding('utf8').on('data', (text: string) => {
      banner += text;
      const found = /address\s+(http:\S+)[^]*curl/.exec(banner)?.[1];
      if (found !== undefined) resolve(found);
    });
  });
}

function ask(...args: readonly string[]): Promise<Ran> {
  return vouchsafe(['ask', ...args, '--allow-simulated', '--url', url]);
}

/** A copy of the saved answer that a test may spoil. */
async function copied(): Promise<string> {
  const copy = mkdtempSync(join(folder, 'copy-'));
  await cp(answer, copy, { recursive: true });
  return copy;
}

describe('replay', () => {
  test('of what was saved says equal', async () => {
    const { code, stdout } = await vouchsafe(['replay', answer]);
    expect([code, stdout]).toEqual([0, expect.stringContaining('EQUAL')]);
    expect(stdout).toContain('with the seed of the receipt');
  });

  test('as JSON', async () => {
    const { code, stdout } = await vouchsafe(['replay', answer, '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      equal: true,
      answerEqual: true,
      differences: [],
      model: { equal: true },
      modelId: 'tinygpt-1m',
      path: '/v1/completions',
      seed: expect.stringMatching(/^\d+$/),
    });
  });

  test('of embeddings says equal', async () => {
    const saved = join(folder, 'vector');
    await vouchsafe(['embed', 'hello', '--allow-simulated', '--url', url, '--save', saved]);
    expect((await vouchsafe(['replay', saved])).code).toBe(0);
  });

  test('with weights that differ by one bit differs, and names the file and the first token', async () => {
    const models = await copyShipped();
    await alterWeights(models);
    const { code, stdout } = await vouchsafe(['replay', answer, '--models', models]);
    expect(code).toBe(2);
    expect(stdout).toContain('DIFFERS');
    expect(stdout).toContain('file onnx/model.onnx');
    expect(stdout).toMatch(/choices\[0\]\.text, character \d+ \(token \d+\)/);
  });

  test('with other threads names the option', async () => {
    const { code, stdout } = await vouchsafe(['replay', answer, '--threads', '1023', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({
      equal: false,
      model: { differences: [{ name: 'option intra_op_threads', loaded: '1023' }] },
    });
  }, 30_000);

  test('takes the sequences and rows of the service', async () => {
    const config = join(folder, 'service.json');
    writeFileSync(config, JSON.stringify({ engine: { sequences: 8, batchRows: 4 } }));
    expect((await vouchsafe(['replay', answer, '--config', config])).code).toBe(0);
    const flags = ['--sequences', '32', '--batch-rows', '8'];
    expect((await vouchsafe(['replay', answer, ...flags])).code).toBe(0);
    expect((await vouchsafe(['replay', answer, '--sequences', '1025'])).code).toBe(64);
    expect((await vouchsafe(['replay', answer, '--batch-rows', '0'])).code).toBe(64);
  });

  test.each(['request.bin', 'response.bin'])('of another %s is refused', async (name) => {
    const copy = await copied();
    const path = join(copy, name);
    const bytes = readFileSync(path);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(path, bytes);
    const { code, stderr } = await vouchsafe(['replay', copy]);
    expect(code).toBe(2);
    expect(stderr).toContain('COMMITMENT_MISMATCH');
  });

  test('without the content cannot be done', async () => {
    const { code, stderr } = await vouchsafe(['replay', join(answer, 'bundle.cbor')]);
    expect(code).toBe(3);
    expect(stderr).toContain('CONTENT_MISSING');
  });

  test('without the model cannot be done', async () => {
    const { code, stderr } = await vouchsafe(['replay', answer, '--models', answer]);
    expect(code).toBe(3);
    expect(stderr).toContain('MODEL_MISSING');
  });

  test('of what is no bundle is unreadable', async () => {
    const { code } = await vouchsafe(['replay', join(answer, 'request.bin')]);
    expect(code).toBe(4);
  });
});
