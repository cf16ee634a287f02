import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, jest, test } from '@jest/globals';
import { barOf } from '../../../src/cli/cudaProgress.ts';
import { vouchsafe } from './program.ts';

// Each test starts processes.
jest.setTimeout(60_000);

const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-cuda-cli-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

interface Status {
  readonly loads: boolean;
  readonly libraries: readonly { readonly name: string; readonly state: string }[];
  readonly needs: readonly { readonly name: string; readonly found: boolean; readonly advice: string }[];
}

describe('cuda status', () => {
  test('names every library, and what the machine lacks', async () => {
    const { code, stdout } = await vouchsafe(['cuda', 'status', '--json']);
    const { loads, libraries, needs } = JSON.parse(stdout) as Status;
    expect(code).toBe(loads ? 0 : 3);
    expect(libraries.map(({ name }) => name)).toEqual([
      'libonnxruntime_providers_shared.so',
      'libonnxruntime_providers_cuda.so',
    ]);
    expect(needs.map(({ name }) => name)).toContain('libcublas.so.13');
  });

  test('says it for people', async () => {
    const { stdout } = await vouchsafe(['cuda', 'status']);
    expect(stdout).toContain('libcudart.so.13');
    expect(stdout).toMatch(/CUDA (?:loads|does not load)/);
  });
});

describe('cuda install', () => {
  test('refuses what is not pinned', async () => {
    const status = JSON.parse((await vouchsafe(['cuda', 'status', '--json'])).stdout) as Status;
    if (status.libraries.every(({ state }) => state === 'pinned')) return;
    const path = join(folder, 'archive.tgz');
    writeFileSync(path, 'no archive');
    const { code, stderr } = await vouchsafe(['cuda', 'install', '--from', path]);
    expect(code).toBe(2);
    expect(stderr).toContain('ARCHIVE_UNKNOWN');
    expect((await vouchsafe(['cuda', 'install', '--from', join(folder, 'none')])).code).toBe(4);
  });

  test('is explained', async () => {
    const { code, stdout } = await vouchsafe(['cuda', 'install', '--help']);
    expect([code, stdout]).toEqual([0, expect.stringContaining('--dry-run')]);
  });
});

test('the bar fills', () => {
  expect(barOf(0, undefined)).toBe('…');
  expect(barOf(50_000_000, 100_000_000)).toBe(`${'█'.repeat(12)}${'░'.repeat(12)} 50 %, 50 of 100 MB`);
});
