import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { formatNote } from '../../../attestation/log/note.ts';
import { partialTiles, tilePath } from '../../../attestation/log/tiles.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import { serveFormerLogs } from '../../../src/log/formerLogs.ts';
import type { InstanceLog } from '../../../src/log/instanceLog.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { serveMemoryLog } from '../../support/servedLog.ts';
import { apiKey, makeFolder, startTestService } from '../../support/service.ts';

const auditor = apiKey('audit');
const KEYS = { keys: { auditorKeys: [auditor.entry] } };
const ORIGIN = 'example.org/vouchsafe/a0';
const SIZE = 600;
const PUBLISHED = 590;

async function fill(log: InstanceLog): Promise<void> {
  const waiting = Array.from({ length: SIZE }, (_, i) => log.enqueue(utf8(`entry ${i}`)).durable);
  await Promise.all(waiting);
  const root = await log.root(PUBLISHED);
  const text = encodeCheckpoint({ origin: ORIGIN, size: PUBLISHED, root, extensions: [] });
  const note = formatNote(text, [{ name: ORIGIN, keyId: 7, signature: new Uint8Array(64) }]);
  await log.publish(note, PUBLISHED);
}

/** Paths of all tiles and bundles of the published tree. */
function paths(): readonly string[] {
  const leaves = [
    { index: 0, width: 256 },
    { index: 1, width: 256 },
    { index: 2, width: PUBLISHED - 512 },
  ];
  return [
    ...leaves.flatMap((leaf) => [tilePath({ level: 0, ...leaf }), tilePath({ level: 'entries', ...leaf })]),
    ...partialTiles(PUBLISHED).map(tilePath),
  ];
}

async function get(url: string): Promise<{ readonly status: number; readonly hex: string }> {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${auditor.key}` } });
  return { status: answer.status, hex: toHex(new Uint8Array(await answer.arrayBuffer())) };
}

test('a log on disk is served while it is written and after its instance is gone', async () => {
  const folder = join(await makeFolder(), 'instances');
  const storage = diskStorage(folder);
  const reference = new MemoryLog();
  for (let i = 0; i < SIZE; i++) reference.enqueue(utf8(`entry ${i}`));
  const expected = serveMemoryLog(reference, ORIGIN);
  const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1 });
  await fill(log);
  const running = await startTestService(KEYS, { own: log });
  for (const path of paths()) {
    expect(await get(`${running.url}/log/${path}`)).toEqual({
      status: 200,
      hex: toHex((await expected.tile(path))!),
    });
  }
  const tail = `entries/002.p/${SIZE - 512}`;
  expect((await get(`${running.url}/log/tile/${tail}`)).status).toBe(404);
  await log.close();

  const { logs } = await recoverLogs(storage);
  const later = await startTestService(KEYS, { former: serveFormerLogs(storage, logs) });
  const prefix = `${later.url}/log/instances/a0`;
  for (const path of paths()) {
    expect(await get(`${prefix}/${path}`)).toEqual({ status: 200, hex: toHex((await expected.tile(path))!) });
  }
  const note = await readFile(join(folder, 'a0', 'checkpoint'));
  expect(await get(`${prefix}/checkpoint`)).toEqual({ status: 200, hex: toHex(note) });
  expect((await get(`${prefix}/tile/${tail}`)).status).toBe(200);
});

test('a damaged file is named as such, and nothing else is served in its place', async () => {
  const folder = join(await makeFolder(), 'instances');
  const storage = diskStorage(folder);
  const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1 });
  await fill(log);
  await log.close();
  const { logs } = await recoverLogs(storage);
  const { url } = await startTestService(KEYS, { former: serveFormerLogs(storage, logs) });
  await writeFile(join(folder, 'a0', 'tile', '0', '000'), new Uint8Array(8192));
  const answer = await fetch(`${url}/log/instances/a0/tile/0/000`);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ error: { code: 'LOG_UNREADABLE' } });
  await rm(join(folder, 'a0', 'tile', '0', '000'));
  expect((await fetch(`${url}/log/instances/a0/tile/0/000`)).status).toBe(503);
});
