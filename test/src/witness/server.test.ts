import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { concat, toBase64Url, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { encodeKeyset } from '../../../attestation/keyset.ts';
import { verifyCosignature } from '../../../attestation/log/cosignature.ts';
import { parseNote } from '../../../attestation/log/note.ts';
import { parseVkey } from '../../../attestation/log/vkey.ts';
import { originHash } from '../../../src/witness/records.ts';
import { encodeAddCheckpoint } from '../../../src/witness/request.ts';
import { startHttp, startTestWitness, type TestWitness } from '../../support/outsiders.ts';
import { makeKeyring } from '../../support/world.ts';
import { makeLog, TEXTS } from './logOf.ts';

const ORIGIN = 'example.org/log';

async function post({ url }: TestWitness, body: Uint8Array) {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: Buffer.from(body) });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

const statusOf = async (witness: TestWitness, body: Uint8Array) => (await post(witness, body)).status;

/** Time of the cosignature in an answer, which must verify. */
function cosigned(witness: TestWitness, checkpoint: Uint8Array, lines: string) {
  const note = parseNote(concat(checkpoint, utf8(lines)));
  return verifyCosignature(note, parseVkey(witness.vkey, sha256With(nodeCrypto)), nodeCrypto);
}

describe('add-checkpoint', () => {
  test('the first head and those that follow from it are cosigned', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey], { now: () => 1_800_000_000_500 });
    for (const [old, size] of [
      [0, 1],
      [1, 1],
      [1, 7],
      [7, 8],
      [8, 40],
    ] as const) {
      const answer = await post(witness, log.request(old, size));
      expect(answer.status).toBe(200);
      const { time } = await cosigned(witness, log.checkpoint(size), answer.text);
      expect(time).toBe(1_800_000_000);
    }
    const monitored = await fetch(`${witness.url}/${originHash(ORIGIN)}/checkpoint`);
    const note = parseNote(new Uint8Array(await monitored.arrayBuffer()));
    expect(note.signatures.map(({ name }) => name)).toEqual([ORIGIN, 'example.org/w1']);
    expect(note.text).toBe(parseNote(log.checkpoint(40)).text);
  });

  test('404: a log that is not in the list', async () => {
    const witness = await startTestWitness([makeLog('example.org/other', TEXTS).vkey]);
    expect(await statusOf(witness, makeLog(ORIGIN, TEXTS).request(0, 3))).toBe(404);
  });

  test('403: a known origin under another key', async () => {
    const witness = await startTestWitness([makeLog(ORIGIN, TEXTS).vkey]);
    expect(await statusOf(witness, makeLog(ORIGIN, TEXTS).request(0, 3))).toBe(403);
  });

  test('403: a head that was changed after it was signed', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    const changed = Buffer.from(log.request(0, 3)).toString('utf8').replace('\n3\n', '\n4\n');
    expect(await statusOf(witness, utf8(changed))).toBe(403);
  });

  test('400: an old size above that of the head', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    const body = encodeAddCheckpoint({ oldSize: 9, path: [], checkpoint: log.checkpoint(3) });
    expect(await statusOf(witness, body)).toBe(400);
  });

  test.each([
    ['nothing', ''],
    ['no empty line', 'old 0\n'],
    ['no old size', 'new 0\n\nx'],
    ['an old size with a leading zero', 'old 01\n\nx'],
    ['a proof line that is no hash', 'old 1\nAAAA\n\nx'],
    ['no checkpoint', 'old 0\n\nhello\n'],
  ])('400: %s', async (_name, text) => {
    const witness = await startTestWitness([]);
    expect(await statusOf(witness, utf8(text))).toBe(400);
  });

  test('400: more proof lines than any proof has', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    const line = `${Buffer.alloc(32).toString('base64')}\n`;
    const body = concat(utf8(`old 1\n${line.repeat(64)}\n`), log.checkpoint(3));
    expect(await statusOf(witness, body)).toBe(400);
  });

  test('409: another size than the recorded one, which is named', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    expect(await post(witness, log.request(2, 5))).toMatchObject({ status: 409, text: '0\n' });
    await post(witness, log.request(0, 5));
    expect(await post(witness, log.request(0, 9))).toEqual({
      status: 409,
      type: 'text/x.tlog.size',
      text: '5\n',
    });
  });

  test('409: a log that was rolled back', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    await post(witness, log.request(0, 20));
    expect(await post(witness, log.request(5, 10))).toMatchObject({ status: 409, text: '20\n' });
  });

  test('422: another history of the log, which is kept', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const fork = log.makeView(TEXTS.with(3, 'another entry'));
    const witness = await startTestWitness([log.vkey]);
    await post(witness, log.request(0, 10));
    expect(await statusOf(witness, fork.request(10, 20))).toBe(422);
    expect(await statusOf(witness, fork.request(10, 10))).toBe(422);
    expect(await statusOf(witness, log.request(10, 20))).toBe(200);
    expect(await readdir(join(witness.state, 'contradictions'))).toHaveLength(2);
    expect(witness.events.map(({ status }) => status)).toEqual([200, 422, 422, 200]);
  });

  test('422: proofs that prove nothing, or where nothing is to be proved', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    const hash = new Uint8Array(32);
    const withPath = (oldSize: number, size: number, path: readonly Uint8Array[]) =>
      statusOf(witness, encodeAddCheckpoint({ oldSize, path, checkpoint: log.checkpoint(size) }));
    expect(await withPath(0, 5, [hash])).toBe(422);
    await post(witness, log.request(0, 5));
    expect(await withPath(5, 9, [])).toBe(422);
    expect(await withPath(5, 9, [...log.proof(5, 9), hash])).toBe(422);
    expect(await withPath(5, 5, [hash])).toBe(422);
  });

  test('503: a clock that went back', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    let now = 1_800_000_000_000;
    const witness = await startTestWitness([log.vkey], { now: () => now });
    await post(witness, log.request(0, 5));
    now -= 60_000;
    expect(await statusOf(witness, log.request(5, 6))).toBe(503);
  });

  test('of requests that race each other one wins, and no head goes back', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const witness = await startTestWitness([log.vkey]);
    await post(witness, log.request(0, 5));
    const sizes = [6, 9, 7, 40, 12];
    const statuses = await Promise.all(sizes.map((size) => statusOf(witness, log.request(5, size))));
    expect(statuses.toSorted()).toEqual([200, 409, 409, 409, 409]);
    const winner = sizes[statuses.indexOf(200)];
    expect(await post(witness, log.request(0, 1))).toMatchObject({ text: `${winner}\n` });
  });
});

describe('the door', () => {
  test('knows two paths, their methods, and how large a body may be', async () => {
    const { url } = await startTestWitness([]);
    const status = async (path: string, init?: RequestInit) => (await fetch(url + path, init)).status;
    expect(await status('/')).toBe(404);
    expect(await status('/add-checkpoint')).toBe(405);
    expect(await status(`/${'0'.repeat(64)}/checkpoint`)).toBe(404);
    expect(await status(`/${'0'.repeat(64)}/checkpoint`, { method: 'DELETE' })).toBe(405);
    expect(await status('/../key')).toBe(404);
    const large = Buffer.alloc(65 * 1024, 'a');
    expect(await status('/add-checkpoint', { method: 'POST', body: large })).toBe(413);
  });

  test('a stop ends idle connections and what comes too late', async () => {
    const witness = await startTestWitness([]);
    const { port } = new URL(witness.url);
    const socket = createConnection(Number(port), '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const ended = new Promise((resolve) => socket.once('close', resolve));
    await fetch(`${witness.url}/`);
    await witness.stop();
    await ended;
    await expect(fetch(witness.url)).rejects.toThrow();
  });
});

describe('what is remembered', () => {
  test('outlives the process: a fork is refused after a restart', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const first = await startTestWitness([log.vkey]);
    await post(first, log.request(0, 10));
    await first.stop();
    const second = await startTestWitness([], { state: first.state, logs: first.logs });
    expect(second.vkey).toBe(first.vkey);
    expect(await post(second, log.request(0, 12))).toMatchObject({ status: 409, text: '10\n' });
    const fork = log.makeView(TEXTS.with(0, 'another entry'));
    expect(await statusOf(second, fork.request(10, 12))).toBe(422);
    expect(await statusOf(second, log.request(10, 12))).toBe(200);
  });

  test('a record that somebody else wrote stops that log', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const first = await startTestWitness([log.vkey]);
    await post(first, log.request(0, 10));
    await first.stop();
    const path = join(first.state, 'heads', originHash(ORIGIN));
    await writeFile(path, log.checkpoint(2));
    const problems: unknown[] = [];
    const settings = { state: first.state, logs: first.logs, onProblem: (e: unknown) => problems.push(e) };
    const second = await startTestWitness([], settings);
    expect(await statusOf(second, log.request(2, 12))).toBe(500);
    expect(problems).toMatchObject([{ code: 'STATE_CORRUPT' }]);
  });

  test('the key is readable by its owner alone, and is refused where it is not', async () => {
    const witness = await startTestWitness([]);
    const path = join(witness.state, 'key');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await witness.stop();
    await chmod(path, 0o640);
    const again = { state: witness.state, logs: witness.logs };
    await expect(startTestWitness([], again)).rejects.toMatchObject({ code: 'KEY_EXPOSED' });
    await chmod(path, 0o600);
    await writeFile(path, 'no key');
    await expect(startTestWitness([], again)).rejects.toMatchObject({ code: 'KEY_INVALID' });
  });

  test('two witnesses never share a folder; what a killed one left is no lock', async () => {
    const witness = await startTestWitness([]);
    const again = { state: witness.state, logs: witness.logs };
    await expect(startTestWitness([], again)).rejects.toMatchObject({ code: 'STATE_LOCKED' });
    await witness.stop();
    await writeFile(join(witness.state, 'lock'), '');
    await startTestWitness([], again);
  });
});

describe('the list of logs', () => {
  test('is read again when it changes, and stays as it was when it cannot be read', async () => {
    const log = makeLog(ORIGIN, TEXTS);
    const problems: unknown[] = [];
    const witness = await startTestWitness(['# none yet'], { onProblem: (e) => problems.push(e) });
    expect(await statusOf(witness, log.request(0, 3))).toBe(404);
    await writeFile(witness.logs, `log ${log.vkey}\n`);
    expect(await statusOf(witness, log.request(0, 3))).toBe(200);
    await writeFile(witness.logs, 'nonsense\n');
    expect(await statusOf(witness, log.request(3, 4))).toBe(200);
    expect(problems).toMatchObject([{ code: 'LOGS_INVALID' }]);
  });

  test.each(['nonsense', 'service ftp://x', 'service nowhere'])(
    'a line «%s» starts nothing',
    async (line) => {
      await expect(startTestWitness([line])).rejects.toMatchObject({ code: 'LOGS_INVALID' });
    },
  );

  test('a service is asked for the key of its log, and the first key of an origin stays', async () => {
    const keyring = await makeKeyring();
    const { origin } = keyring.keyset;
    let keyset = keyring.keyset;
    let asked = 0;
    const service = await startHttp((_body, _request, response) => {
      asked++;
      response.end(JSON.stringify({ keyset: toBase64Url(encodeKeyset(keyset)) }));
    });
    const witness = await startTestWitness([`service ${service}`]);
    const stranger = makeLog('example.org/stranger', TEXTS);
    expect(await statusOf(witness, stranger.request(0, 2))).toBe(404);
    const impostor = makeLog(origin, TEXTS);
    expect(await statusOf(witness, impostor.request(0, 2))).toBe(403);
    // The service is asked once a second at most, whatever strangers send.
    expect(asked).toBe(1);
    const other = await makeKeyring();
    keyset = { ...other.keyset, origin, instance: keyset.instance };
    const kept = await readFile(join(witness.state, 'keys', originHash(origin)), 'utf8');
    expect(await statusOf(witness, impostor.request(0, 2))).toBe(403);
    expect(await readFile(join(witness.state, 'keys', originHash(origin)), 'utf8')).toBe(kept);
  });
});
