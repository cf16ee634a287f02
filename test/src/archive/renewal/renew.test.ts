import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { verifyRenewals } from '../../../../attestation/archive/verifyRenewals.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { encodeTimestampRequest } from '../../../../attestation/time/timestampExchange.ts';
import { openRenewals, renewalsFolder } from '../../../../src/export/renewals.ts';
import { openInstances } from '../../../../src/archive/renewal/instances.ts';
import { renewArchive, type RenewOptions } from '../../../../src/archive/renewal/renew.ts';
import { holdLock } from '../../../../src/log/lock.ts';
import { problemsOf, sinceOf } from '../../../support/renewedArchive.ts';
import { mintTimestampAuthority, timestampAuthority } from '../../../support/timestampAuthority.ts';

const OLD = '00112233445546778899aabbccddeeff';
const NEW = 'ffeeddccbbaa49889766554433221100';
const NOW = Date.parse('2027-01-01T00:00:00Z');

let data: string;
let server: Server;
let url: string;
/** What the authority does with a question. */
let answer: (query: Uint8Array) => Uint8Array | number;

beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'vouchsafe-renewal-'));
  await writeInstance(OLD, 1);
  await writeInstance(NEW, 2);
  answer = (query) => timestampAuthority().answer(query, NOW);
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = answer(Buffer.concat(chunks));
      if (typeof body === 'number') response.writeHead(body).end();
      else response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(data, { recursive: true });
});

async function writeInstance(instance: string, created: number): Promise<void> {
  const files = {
    origin: `localhost/vouchsafe/${instance}\n`,
    created: `${created}\n`,
    checkpoint: 'note',
    'evidence/0.cbor': 'document',
    'anchors/3.cbor': 'anchor',
    'tile/0/000.p/3': 'edge',
    'tile/entries/000': `entries of ${instance}`,
  };
  for (const [path, content] of Object.entries(files)) await writeOwn(instance, path, content);
}

async function writeOwn(instance: string, path: string, content: string): Promise<void> {
  const file = join(data, 'instances', instance, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content);
}

function renew(changes: Partial<RenewOptions> = {}) {
  return renewArchive({
    data,
    hash: 'sha512',
    timestampsOnly: false,
    authorities: [url],
    anchors: undefined,
    now: () => NOW,
    signal: new AbortController().signal,
    onFile: () => undefined,
    ...changes,
  });
}

async function audit(now = NOW + 1000) {
  const instances = (await openInstances(data)).map(({ files }) => files);
  const anchors = [timestampAuthority().anchor];
  return verifyRenewals(openRenewals(data), instances, { anchors, crypto: nodeCrypto, now });
}

describe('a renewal', () => {
  test('covers all files of a former instance, and of the newest those that stay', async () => {
    const { record, stamps, failures } = await renew();
    expect(record.segments.map(({ name, count }) => [name, count])).toEqual([
      [OLD, 7],
      [NEW, 4],
    ]);
    expect(stamps.map(({ file }) => file)).toEqual(['0.0.tsr']);
    expect(failures).toEqual([]);
    const audited = await audit();
    expect(audited.problems).toEqual([]);
    expect(sinceOf(audited, OLD)).toHaveLength(1);
    expect(audited.segments.find(({ name }) => name === NEW)?.uncovered).toBe(3);
  });

  test('covers the former one, its lists and its timestamps', async () => {
    await renew({ hash: 'sha384' });
    await renew({ timestampsOnly: true, hash: 'sha384' });
    const { record, kind } = await renew();
    expect(kind).toBe('hash-tree');
    // Two records, three lists, two timestamps.
    expect(record.segments.find(({ name }) => name === 'renewals')?.count).toBe(7);
    const audited = await audit();
    expect(audited.problems).toEqual([]);
    expect(audited.renewals.map(({ standing }) => standing)).toEqual([true, true, true]);
  });

  test('of several authorities needs one', async () => {
    const { failures, stamps } = await renew({ authorities: ['http://127.0.0.1:1/', url] });
    expect(failures.map(({ code }) => code)).toEqual(['AUTHORITY_FAILED']);
    expect(stamps.map(({ file }) => file)).toEqual(['0.0.tsr']);
  });

  test('can be checked by hand: the list is what sha512sum reads', async () => {
    await renew();
    const list = await readFile(join(data, 'renewals', `0.${OLD}.list`), 'utf8');
    const [digest, size, path] = list.split('\n')[0]!.split(' ');
    expect([path, size]).toEqual(['anchors/3.cbor', '6']);
    const bytes = await readFile(join(data, 'instances', OLD, path!));
    expect(digest).toBe(Buffer.from(nodeCrypto.hash('sha512', bytes)).toString('hex'));
  });
});

describe('a renewal goes on', () => {
  test('with the timestamp that is lacking', async () => {
    answer = () => 503;
    await expect(renew()).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
    answer = (query) => timestampAuthority().answer(query, NOW);
    const { isContinued, record } = await renew();
    expect([isContinued, record.seq]).toEqual([true, 0]);
    expect((await audit()).problems).toEqual([]);
  });

  test('behind the last whole line of a list', async () => {
    const interrupted = new AbortController();
    let files = 0;
    const onFile = () => {
      if (++files === 3) interrupted.abort(new Error('killed'));
    };
    await expect(renew({ signal: interrupted.signal, onFile })).rejects.toThrow('killed');
    const folder = renewalsFolder(data);
    // What a run that was killed had written, and a line that it had not finished.
    const whole = (await renewedElsewhere())[0]!.split('\n').slice(0, 2).join('\n');
    await writeFile(join(folder, `0.${OLD}.list.tmp`), `${whole}\n`);
    await appendFile(join(folder, `0.${OLD}.list.tmp`), 'abcd');
    let read = 0;
    await renew({ onFile: () => read++ });
    expect(read).toBe(5 + 4);
    expect((await audit()).problems).toEqual([]);
  });

  test('from the start where another hash is wanted', async () => {
    await mkdir(renewalsFolder(data));
    await writeFile(join(renewalsFolder(data), `0.${OLD}.list.tmp`), `${'ab'.repeat(48)} 1 a\n`);
    await renew();
    expect((await audit()).problems).toEqual([]);
  });

  test('where the process that held the folder was killed', async () => {
    await mkdir(renewalsFolder(data));
    await writeFile(join(renewalsFolder(data), 'lock'), '');
    await renew();
  });

  /** The lists of a finished renewal, taken away again. */
  async function renewedElsewhere(): Promise<readonly string[]> {
    await rm(renewalsFolder(data), { recursive: true });
    await renew();
    const lists = await Promise.all(
      [OLD, NEW].map((instance) => readFile(join(data, 'renewals', `0.${instance}.list`), 'utf8')),
    );
    await rm(renewalsFolder(data), { recursive: true });
    await mkdir(renewalsFolder(data));
    return lists;
  }
});

describe('nothing is renewed', () => {
  test('where a file is not as it was', async () => {
    await renew();
    await writeOwn(OLD, 'evidence/0.cbor', 'forged!!');
    await expect(renew()).rejects.toMatchObject({ code: 'DATA_ALTERED' });
    expect((await readdir(renewalsFolder(data))).filter((name) => name.endsWith('.cbor'))).toEqual([
      '0.cbor',
    ]);
  });

  test('where the former list is not that of its record', async () => {
    await renew();
    await appendFile(join(data, 'renewals', `0.${OLD}.list`), `${'ab'.repeat(64)} 1 zzz\n`);
    await expect(renew()).rejects.toMatchObject({ code: 'RENEWAL_DAMAGED' });
  });

  test('where the former record is damaged', async () => {
    await renew();
    await writeFile(join(data, 'renewals/0.cbor'), 'x');
    await expect(renew()).rejects.toMatchObject({ code: 'RENEWAL_DAMAGED' });
  });

  test('by a weaker hash', async () => {
    await renew();
    await expect(renew({ hash: 'sha384' })).rejects.toMatchObject({ code: 'HASH_WEAKER' });
  });

  test('where there are no timestamps to renew', async () => {
    await expect(renew({ timestampsOnly: true })).rejects.toMatchObject({ code: 'NOTHING_TO_RENEW' });
  });

  test('where the folder is no data folder', async () => {
    await expect(renew({ data: join(data, 'nowhere') })).rejects.toMatchObject({ code: 'DATA_UNREADABLE' });
  });

  test('while another process renews', async () => {
    await mkdir(renewalsFolder(data));
    const lock = await holdLock(renewalsFolder(data));
    await expect(renew()).rejects.toMatchObject({ code: 'RENEWAL_BUSY' });
    await lock.release();
  });

  test.each<[string, (query: Uint8Array) => Uint8Array | number]>([
    ['is of another request', () => timestampAuthority().answer(otherQuery(), NOW)],
    ['has another nonce', (query) => timestampAuthority().answer(query, NOW, { nonce: Uint8Array.of(1) })],
    [
      'is over other bytes',
      (query) => timestampAuthority().answer(query, NOW, { imprint: new Uint8Array(64) }),
    ],
    ['is no timestamp', () => Uint8Array.of(0x30, 0x00)],
    ['is too large', () => new Uint8Array(200_000)],
    ['is a failure', () => 500],
  ])('by an authority whose answer %s', async (_what, hostile) => {
    answer = hostile;
    await expect(renew()).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
    expect((await readdir(renewalsFolder(data))).filter((name) => name.endsWith('.tsr'))).toEqual([]);
  });

  test('by an authority that is not the named one', async () => {
    const { anchor } = mintTimestampAuthority();
    await expect(renew({ anchors: [anchor] })).rejects.toMatchObject({ code: 'AUTHORITY_FAILED' });
    expect((await renew({ anchors: [timestampAuthority().anchor] })).isContinued).toBe(true);
  });
});

function otherQuery(): Uint8Array {
  return encodeTimestampRequest({ digest: new Uint8Array(32), nonce: Uint8Array.of(9), certReq: true });
}

test('an altered file is found by the audit', async () => {
  await renew();
  await writeOwn(OLD, 'origin', 'elsewhere\n');
  expect(problemsOf(await audit())).toEqual(['FILES_CHANGED 0']);
});
