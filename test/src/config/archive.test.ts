import { describe, expect, test } from '@jest/globals';
import { configDigest } from '../../../src/config/load.ts';
import { ArchiveKey } from '../../../src/archive/envelope.ts';
import { testConfig } from '../../support/service.ts';

const KEY = '07'.repeat(32);

describe('the archive in the configuration', () => {
  test('is off, and keeps receipts for six months where it is on', () => {
    const { archive } = testConfig();
    expect(archive).toMatchObject({ enabled: false, content: false, receiptsMinDays: 183, blobs: 'disk' });
  });

  test.each([
    ['content without a key', { enabled: true, content: true }],
    ['content without an archive', { content: true, contentKey: KEY }],
    ['a short key', { contentKey: '07' }],
    ['a maximum of content below its minimum', { contentMinDays: 10, contentMaxDays: 9 }],
    ['a maximum of receipts below its minimum', { receiptsMaxDays: 30 }],
    ['another kind of database', { postgresql: 'mysql://host/db' }],
  ])('%s is refused', (_name, archive) => {
    expect(() => testConfig({ archive })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
  });

  test('the key is hex or base64 of the same bytes', () => {
    const base64 = Buffer.from(KEY, 'hex').toString('base64');
    const { archive } = testConfig({ archive: { contentKey: base64 } });
    expect(ArchiveKey.parse(archive.contentKey!).id).toEqual(ArchiveKey.parse(KEY).id);
  });

  test('receipts say whether content is kept, and nothing of the key', () => {
    const [off, on] = [
      testConfig(),
      testConfig({ archive: { enabled: true, content: true, contentKey: KEY } }),
    ];
    expect(configDigest(on)).not.toEqual(configDigest(off));
    const other = testConfig({ archive: { enabled: true, content: true, contentKey: '08'.repeat(32) } });
    expect(configDigest(other)).toEqual(configDigest(on));
  });
});
