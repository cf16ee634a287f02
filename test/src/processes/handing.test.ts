import { expect, test } from '@jest/globals';
import { ArchiveError } from '../../../src/archive/errors.ts';
import { Channel } from '../../../src/processes/channel.ts';
import { signerState } from '../../../src/processes/desk.ts';
import { Handing } from '../../../src/processes/handing.ts';
import { SECRET_VARIABLES, withoutSecrets } from '../../../src/processes/secrets.ts';
import { apiKey, testConfig } from '../../support/service.ts';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { makeWorld } from '../../support/world.ts';

const ALICE = apiKey('alice');

/** A channel to nobody. */
function silent(): Channel {
  const port = { send: () => undefined, onFrames: () => undefined, onEnd: () => undefined };
  return new Channel(port, { calls: {}, told: () => undefined });
}

test('a process refuses work where content is to be kept and cannot be, as the one that signs does', async () => {
  const { vouching } = await makeWorld();
  const archive: { contentFailure: ArchiveError | undefined } = { contentFailure: undefined };
  const parts = { engine: new FakeEngine(), vouching, archive };
  const handing = new Handing(silent(), signerState(parts));
  expect(() => handing.archive.requireContent()).not.toThrow();
  archive.contentFailure = new ArchiveError('STORE_UNAVAILABLE', 'the database is away');
  handing.update(structuredClone(signerState(parts)));
  expect(() => handing.archive.requireContent()).toThrow(
    expect.objectContaining({ code: 'STORE_UNAVAILABLE' }),
  );
});

test('a process is given no secret but the digests of keys', () => {
  const secret = 'a-secret-that-stays';
  const config = testConfig({
    keys: { apiKeys: [ALICE.entry] },
    archive: { postgresql: `postgresql://user:${secret}@host/db`, contentKey: '07'.repeat(32) },
    objectStore: { secretAccessKey: secret },
  });
  const given = withoutSecrets(config);
  expect(given.keys.apiKeys).toEqual([ALICE.entry]);
  expect(JSON.stringify(given)).not.toContain(secret);
  expect(given.archive.contentKey).toBeUndefined();
  expect(SECRET_VARIABLES).toEqual(
    expect.arrayContaining(['VOUCHSAFE_ARCHIVE_CONTENT_KEY', 'VOUCHSAFE_OBJECTSTORE_SECRET_ACCESS_KEY']),
  );
});
