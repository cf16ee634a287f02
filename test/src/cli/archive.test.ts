import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { makeFolder } from '../../support/service.ts';
import { ADMIN, ALICE, AUDITOR, begin } from '../archive/served.ts';
import { type Ran, vouchsafe } from './program.ts';

const ON = { VOUCHSAFE_ARCHIVE_ENABLED: 'true' };

describe('vouchsafe archive, over a service', () => {
  test('queries, shows content, holds, erases, lifts, and says its state', async () => {
    const { url, ask } = await begin({ keepsContent: true });
    const { id } = await ask(ALICE.key);
    const run = (key: string, ...args: string[]): Promise<Ran> =>
      vouchsafe(['archive', ...args, '--url', url, '--json'], { VOUCHSAFE_API_KEY: key });
    const found = await run(AUDITOR.key, 'query', '--tenant', 'alice', '--from', '2026-11-21');
    expect(found.code).toBe(0);
    expect(JSON.parse(found.stdout)).toMatchObject({ receipts: [{ id, content: 'kept' }], next: null });
    const content = await run(ALICE.key, 'content', id);
    expect(JSON.parse(content.stdout)).toMatchObject({ receipt: id, response: { kind: 'body' } });
    const held = await run(ADMIN.key, 'hold', '--receipt', id, '--rule', 'case 7');
    const { id: hold } = JSON.parse(held.stdout) as { id: string };
    const refused = await run(ADMIN.key, 'erase', '--receipt', id, '--rule', 'r');
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('ARCHIVE_UNDER_HOLD');
    expect((await run(ADMIN.key, 'lift', hold, '--rule', 'settled')).code).toBe(0);
    expect(JSON.parse((await run(ADMIN.key, 'erase', '--tenant', 'alice', '--rule', 'r')).stdout)).toEqual({
      erased: 1,
    });
    expect((await run(ALICE.key, 'content', id)).code).toBe(2);
    const status = await run(AUDITOR.key, 'status');
    expect(status.code).toBe(0);
    expect(JSON.parse(status.stdout)).toMatchObject({ store: { counts: { contentErased: 1, holds: 0 } } });
  });

  test('says why it cannot: the wrong key, nobody there, misuse', async () => {
    const { url } = await begin();
    const run = (...args: string[]): Promise<Ran> =>
      vouchsafe(['archive', ...args], { VOUCHSAFE_API_KEY: ALICE.key });
    expect((await run('hold', '--tenant', 'x', '--rule', 'r', '--url', url)).code).toBe(2);
    expect((await run('status', '--url', 'http://127.0.0.1:1')).code).toBe(4);
    expect((await run('hold', '--tenant', 'x', '--url', url)).code).toBe(64);
    expect((await run('query', '--from', 'soon')).code).toBe(64);
    expect((await run('hold', '--rule', 'r', '--url', url)).code).toBe(2);
  });
});

describe('vouchsafe archive, on this machine', () => {
  test('reads an archive without a service', async () => {
    const folder = await makeFolder();
    const ran = await vouchsafe(['archive', 'status', '--data', folder, '--json'], ON);
    expect(ran.stderr).toBe('');
    expect(JSON.parse(ran.stdout)).toMatchObject({ store: { store: 'embedded', instances: [] } });
    expect(ran.code).toBe(0);
    const none = await vouchsafe(['archive', 'query', '--data', join(folder)], ON);
    expect(none.code).toBe(0);
    expect(none.stdout).toContain('none');
  });
});
