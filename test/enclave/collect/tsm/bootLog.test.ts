import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { EV } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import { MAX_LOG_BYTES } from '../../../../attestation/evidence/bootlog/log.ts';
import { parseBootLog } from '../../../../attestation/evidence/bootlog/parse.ts';
import { readCcel } from '../../../../enclave/collect/tsm/bootLog.ts';
import { BOOT, ccelLog, tcg2Log, TD_BOOT } from '../../../attestation/evidence/bootlog/mint.ts';
import { codeOf } from './machines.ts';

let folder: string;
let path: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-ccel-'));
  path = join(folder, 'CCEL');
});

afterAll(() => rm(folder, { recursive: true }));

async function read(area: Uint8Array): Promise<Uint8Array | undefined> {
  await writeFile(path, area);
  return readCcel(path);
}

const LOG = ccelLog(TD_BOOT, 0);

test.each([0, 4, 8, 64, 65536])('a log with %i bytes of filling keeps its events', async (filling) => {
  const log = await read(ccelLog(TD_BOOT, filling));
  expect(log!.length).toBeLessThanOrEqual(LOG.length + 8);
  expect(parseBootLog(log!, 'rtmr')).toEqual(parseBootLog(LOG, 'rtmr'));
});

test.each([0, 64])(
  'data of a last event that end in 0xFF are kept, with %i bytes of filling',
  async (filling) => {
    const last = { register: 4, type: EV.EVENT_TAG, data: new Uint8Array(100).fill(0xff) };
    const area = ccelLog([...TD_BOOT, last], filling);
    expect(await read(area)).toEqual(area);
  },
);

test('without a log there is none', async () => {
  expect(await readCcel(join(folder, 'none'))).toBeUndefined();
  expect(await read(new Uint8Array())).toBeUndefined();
});

test.each([
  ['nothing but filling', new Uint8Array(65536).fill(0xff)],
  ['a log that is cut off', LOG.slice(0, -1)],
  ['a text', utf8('no log')],
  ['a log of a TPM', tcg2Log(BOOT)],
  ['bytes after its end', concat(LOG, Uint8Array.of(1))],
  ['more than the verifier takes', new Uint8Array(MAX_LOG_BYTES + 1)],
])('an area with %s is refused', async (_name, area) => {
  expect(await codeOf(read(area))).toBe('EVIDENCE_MALFORMED');
});

test('what cannot be read is not taken for absent', async () => {
  expect(await codeOf(readCcel(folder))).toBe('DEVICE_REFUSED');
});
