import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { fixForAbsent, tsmWay } from '../../../../enclave/collect/tsm/way.ts';
import { codeOf } from './machines.ts';

test('a machine without configfs has no such evidence', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-no-configfs-'));
  for (const configfs of [folder, join(folder, 'config')]) {
    const way = tsmWay({ configfs });
    const finding = await way.find();
    expect(finding.state).toBe('absent');
    expect(finding.fix).toBeDefined();
    expect(await codeOf(way.open())).toBe('DEVICE_MISSING');
  }
  await rm(folder, { recursive: true });
});

test('what helps depends on the kernel and on whether configfs is mounted', () => {
  const old = fixForAbsent('6.1.0-28-amd64', true);
  expect(['6.6.99', '5.15.0', 'unknown'].map((kernel) => fixForAbsent(kernel, true))).toEqual([
    old,
    old,
    old,
  ]);
  const mounted = fixForAbsent('6.12.1+deb13-cloud-amd64', true);
  expect(['6.7.0', '7.0.1'].map((kernel) => fixForAbsent(kernel, true))).toEqual([mounted, mounted]);
  expect(new Set([old, mounted, fixForAbsent('6.12.1', false)]).size).toBe(3);
});

test.each([-1, 4, 0.5, Number.NaN])('there is no VMPL %p', (vmpl) => {
  expect(() => tsmWay({ vmpl })).toThrow(RangeError);
});
