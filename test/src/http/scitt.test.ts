import { describe, expect, test } from '@jest/globals';
import { decode } from 'cborg';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, type DcMap } from '../../../attestation/cbor/deterministic.ts';
import { keyThumbprint } from '../../../attestation/cose/key.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { verifyLogReceipt } from '../../../attestation/log/logReceipt.ts';
import {
  encodeTransparentStatement,
  verifyLoggedStatement,
  verifyTransparentReceipt,
} from '../../../attestation/log/transparentStatement.ts';
import { announces } from '../../../attestation/receipt/entryKind.ts';
import { actSubject, parseRecord } from '../../../attestation/receipt/record.ts';
import type { ConfigOverrides } from '../../../src/config/load.ts';
import type { FormerServedLog } from '../../../src/http/servedLog.ts';
import { LogError } from '../../../src/log/errors.ts';
import { serveFormerLog } from '../../support/servedLog.ts';
import { makeWorld } from '../../support/world.ts';
import { apiKey, startTestService, type TestService } from '../../support/service.ts';
import { makeIssuer } from '../../support/statements.ts';

const issuer = makeIssuer();
const stranger = makeIssuer(issuer.iss);
const [alice, bob, auditor] = [apiKey('alice'), apiKey('bob'), apiKey('audit')];
const EMBED = { model: 'fake', input: 'x' };

function registering(more: ConfigOverrides = {}): Promise<TestService> {
  const { iss, publicKey } = issuer;
  return startTestService({ scitt: { enabled: true, issuers: [{ iss, publicKey }] }, ...more });
}

function post(
  { url }: TestService,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Response> {
  const type = { 'content-type': 'application/cose' };
  return fetch(`${url}/entries`, {
    method: 'POST',
    body: Buffer.from(body),
    headers: { ...type, ...headers },
  });
}

/** Status, title and code of a refusal. */
async function problemOf(answer: Response): Promise<readonly unknown[]> {
  expect(answer.headers.get('content-type')).toBe('application/concise-problem-details+cbor');
  // A decoder that is not ours.
  const problem = decode(new Uint8Array(await answer.arrayBuffer()), { useMaps: true }) as Map<
    number,
    string
  >;
  expect([...problem.keys()]).toEqual([-1, -2]);
  return [answer.status, problem.get(-1), problem.get(-2)?.split(':', 1)[0]];
}

async function bytesOf(answer: Response): Promise<Uint8Array> {
  expect(answer.status).toBeLessThan(300);
  return new Uint8Array(await answer.arrayBuffer());
}

describe('registration', () => {
  test('answers with a receipt that makes the statement transparent', async () => {
    const service = await registering();
    const statement = issuer.sign({ unprotected: new Map([[-70000, 'removed']]) });
    const answer = await post(service, statement);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([201, 'application/cose']);
    const location = answer.headers.get('location')!;
    const receipt = await bytesOf(answer);
    const { keyset } = service.world.keyring;
    const logged = await verifyLoggedStatement(
      encodeTransparentStatement(issuer.sign(), [receipt]),
      keyset,
      nodeCrypto,
    ).catch(() => undefined);
    // ECDSA signatures differ each time: another signature is another statement.
    expect(logged).toBeUndefined();
    const { entries } = service.world.log;
    const entry = entries.at(-1)!;
    const place = await verifyLogReceipt(receipt, entry, keyset, nodeCrypto);
    expect(place.index).toBe(entries.length - 1);
    const again = await bytesOf(await fetch(service.url + location));
    expect((await verifyLogReceipt(again, entry, keyset, nodeCrypto)).index).toBe(place.index);
  });

  test('logs the policy once, and an announcement before each statement', async () => {
    const service = await registering();
    const before = service.world.log.entries.length;
    await Promise.all([post(service, issuer.sign()), post(service, issuer.sign())]);
    const [policy, ...rest] = service.world.log.entries.slice(before);
    const text = await bytesOf(await fetch(`${service.url}/.well-known/scitt-policy`));
    expect(JSON.parse(Buffer.from(text).toString())).toMatchObject({ issuers: [{ iss: issuer.iss }] });
    expect(parseRecord(policy!).record).toMatchObject({
      act: 'policy-registered',
      subject: actSubject([nodeCrypto.hash('sha256', text)], nodeCrypto),
      count: 1,
    });
    expect(rest).toHaveLength(4);
    for (const at of [0, 2]) {
      const { record } = parseRecord(rest[at]!);
      expect(record).toMatchObject({ act: 'statement-registered', actor: 'anonymous' });
      expect(announces(record, rest[at + 1]!, nodeCrypto)).toBe(true);
    }
  });

  const claims = (iss: string) =>
    new Map([
      [
        15,
        new Map<number, string>([
          [1, iss],
          [2, 's'],
        ]),
      ],
    ]);
  test.each<[string, readonly unknown[], Uint8Array]>([
    ['by a key that is not pinned', [400, 'Rejected', 'STATEMENT_REFUSED'], stranger.sign()],
    [
      'of an issuer that is not pinned',
      [400, 'Rejected', 'STATEMENT_REFUSED'],
      issuer.sign({ header: claims('other') }),
    ],
    ['without its payload', [400, 'Payload Missing', 'STATEMENT_PAYLOAD'], issuer.sign({ detached: true })],
    [
      'by an algorithm that is not taken',
      [400, 'Bad Signature Algorithm', 'STATEMENT_ALGORITHM'],
      issuer.sign({ header: new Map([[1, -37]]) }),
    ],
    ['that is none', [400, 'Rejected', 'STATEMENT_INVALID'], Uint8Array.of(1, 2, 3)],
    ['that is nothing', [400, 'Rejected', 'STATEMENT_INVALID'], new Uint8Array(0)],
    [
      'that says it is a receipt',
      [400, 'Rejected', 'STATEMENT_REFUSED'],
      issuer.sign({ header: new Map([[16, 'application/vouchsafe-receipt+cose']]) }),
    ],
    [
      'that says it is a record',
      [400, 'Rejected', 'STATEMENT_REFUSED'],
      issuer.sign({ header: new Map([[16, 'application/Vouchsafe-record+cose']]) }),
    ],
    [
      'that is too large',
      [413, 'Rejected', 'BODY_TOO_LARGE'],
      issuer.sign({ payload: new Uint8Array(65_535) }),
    ],
    [
      'with a certificate and an issuer that is no URI',
      [400, 'Rejected', 'STATEMENT_INVALID'],
      issuer.sign({ header: new Map([[33, new Uint8Array(8)]]) }),
    ],
  ])('refuses a statement %s', async (_name, expected, statement) => {
    const service = await registering();
    const { length } = service.world.log.entries;
    expect(await problemOf(await post(service, statement))).toEqual(expected);
    expect(service.world.log.entries).toHaveLength(length);
  });

  test('refuses an entry that does not fit the log, and a key or name of the instance', async () => {
    const service = await registering({
      scitt: {
        enabled: true,
        issuers: [{ iss: issuer.iss, publicKey: issuer.publicKey }],
        maxBytes: 100_000,
      },
    });
    const large = issuer.sign({ payload: new Uint8Array(65_500) });
    expect(await problemOf(await post(service, large))).toEqual([400, 'Rejected', 'STATEMENT_REFUSED']);
    const { keyset } = service.world.keyring;
    const kid = keyThumbprint(keyset.receipt, nodeCrypto);
    const own = issuer.sign({ header: new Map([[4, kid]]) });
    expect(await problemOf(await post(service, own))).toEqual([400, 'Rejected', 'STATEMENT_REFUSED']);
    // What is removed before it is logged may be large.
    const padded = issuer.sign({ unprotected: new Map([[-70000, new Uint8Array(70_000)]]) });
    expect((await post(service, padded)).status).toBe(201);
  });

  test('is off by default, keyed where keys are, and of COSE alone', async () => {
    const off = await startTestService();
    expect(await problemOf(await post(off, issuer.sign()))).toEqual([404, 'Not Found', 'REGISTRATION_OFF']);
    expect((await fetch(`${off.url}/.well-known/scitt-policy`)).status).toBe(404);
    const service = await registering({ keys: { apiKeys: [alice.entry], auditorKeys: [auditor.entry] } });
    expect((await problemOf(await post(service, issuer.sign())))[0]).toBe(401);
    const asking = (key: string) => ({ authorization: `Bearer ${key}` });
    expect((await problemOf(await post(service, issuer.sign(), asking(auditor.key))))[0]).toBe(403);
    const answer = await post(service, issuer.sign(), asking(alice.key));
    expect(answer.status).toBe(201);
    expect(parseRecord(service.world.log.entries.at(-2)!).record).toMatchObject({ actor: 'alice' });
    expect((await fetch(service.url + answer.headers.get('location')!)).status).toBe(401);
    const wrong = await post(service, issuer.sign(), {
      ...asking(alice.key),
      'content-type': 'application/json',
    });
    expect((await problemOf(wrong))[0]).toBe(415);
    const method = await fetch(`${service.url}/entries`);
    expect([method.status, method.headers.get('allow')]).toEqual([405, 'POST']);
    await problemOf(method);
  });

  test('takes nothing while nothing can be logged', async () => {
    const service = await registering();
    await service.world.vouching.stop();
    expect((await problemOf(await post(service, issuer.sign()))).slice(0, 2)).toEqual([503, 'NOT_VOUCHING']);
  });
});

describe('the read side', () => {
  test('gives the receipt of an own answer, by its id and key', async () => {
    const service = await startTestService({ keys: { apiKeys: [alice.entry, bob.entry] } });
    const headers = { authorization: `Bearer ${alice.key}` };
    const answer = await service.post('/v1/embeddings', EMBED, headers);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const { keyset } = service.world.keyring;
    const get = async (path: string): Promise<Uint8Array> =>
      bytesOf(await fetch(service.url + path, { headers }));
    const statement = await get(`/v1/receipts/${id}/statement`);
    const { receipt, places } = await verifyTransparentReceipt(statement, keyset, nodeCrypto);
    expect(toHex(receipt.claims.id)).toBe(id);
    for (const path of [`/v1/receipts/${id}/inclusion`, `/entries/${id}`]) {
      const place = await verifyLogReceipt(await get(path), receipt.encoded, keyset, nodeCrypto);
      expect(place.index).toBe(places[0]?.index);
    }
    const other = { authorization: `Bearer ${bob.key}` };
    expect(await problemOf(await fetch(`${service.url}/entries/${id}`, { headers: other }))).toEqual([
      404,
      'Not Found',
      'ENTRY_NOT_FOUND',
    ]);
  });

  test('names receipts over the published tree where it holds the entry', async () => {
    const service = await startTestService();
    const answer = await service.post('/v1/embeddings', EMBED);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const fresh = { headers: { 'vouchsafe-fresh': '?1' } };
    const statement = await bytesOf(await fetch(`${service.url}/v1/receipts/${id}/statement`, fresh));
    const { keyset } = service.world.keyring;
    const { places } = await verifyTransparentReceipt(statement, keyset, nodeCrypto);
    expect(service.service.logs.own.publishedSize).toBeGreaterThanOrEqual(places[0]!.size);
  });

  test('gives no receipt of a tenant by its place, though leaf hashes are public', async () => {
    const service = await registering();
    await service.post('/v1/embeddings', EMBED);
    await post(service, issuer.sign());
    const statuses: number[] = [];
    for (const [index, entry] of service.world.log.entries.entries()) {
      const hash = nodeCrypto.hash('sha256', Uint8Array.from([0, ...entry]));
      const locator = `${index}-${toHex(hash.subarray(0, 16))}`;
      statuses.push((await fetch(`${service.url}/entries/${locator}`)).status);
    }
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.at(-1)).toBe(200);
  });

  test.each(['x', '0', '0-', `0-${'0'.repeat(32)}`, `99-${'0'.repeat(32)}`, '0'.repeat(32), '%00'])(
    'knows no entry %s',
    async (id) => {
      const service = await startTestService();
      expect(await problemOf(await fetch(`${service.url}/entries/${id}`))).toEqual([
        404,
        'Not Found',
        'ENTRY_NOT_FOUND',
      ]);
    },
  );

  test('has the keys as a COSE Key Set', async () => {
    const service = await startTestService();
    const set = decodeDc(await bytesOf(await fetch(`${service.url}/.well-known/scitt-keys`))) as DcMap[];
    expect(set).toHaveLength(1);
    const { inclusion } = service.world.keyring.keyset;
    const kid = keyThumbprint(inclusion, nodeCrypto);
    expect(set[0]?.get(2)).toEqual(kid);
    expect(set[0]?.get(-2)).toEqual(new Uint8Array(inclusion.x));
    const name = Buffer.from(kid).toString('base64url');
    const one = decodeDc(await bytesOf(await fetch(`${service.url}/.well-known/scitt-keys/${name}`)));
    expect(one).toEqual(set[0]);
    const none = await fetch(`${service.url}/.well-known/scitt-keys/${toHex(kid)}`);
    expect(await problemOf(none)).toEqual([404, 'No such key', 'KEY_NOT_FOUND']);
  });
});

test('keys of former instances stay, as far as their logs can be read', async () => {
  const gone = await makeWorld();
  for (let i = 0; i < 3; i++) {
    await gone.vouching.attest(new Uint8Array(32).fill(1));
    await gone.vouching.rotateKeys();
  }
  const served = serveFormerLog(gone.log, gone.keyring.keyset.origin);
  const damaged = { ...served, readEvidence: () => Promise.resolve(Uint8Array.of(1)) };
  const logs = new Map<string, FormerServedLog>([
    ['a', served],
    ['b', damaged],
  ]);
  const service = await startTestService(
    {},
    {
      former: {
        logs: ['a', 'b', 'c'].map((instance) => ({ instance, state: 'whole', size: 1 })),
        open: (instance) =>
          instance === 'c'
            ? Promise.reject(new LogError('LOG_CORRUPT', 'it is damaged'))
            : Promise.resolve(logs.get(instance)),
      },
    },
  );
  const set = decodeDc(await bytesOf(await fetch(`${service.url}/.well-known/scitt-keys`))) as DcMap[];
  const keysets = [service.world, gone].flatMap(({ vouching }) => vouching.keysets);
  expect(keysets).toHaveLength(5);
  const kids = keysets.map(({ inclusion }) => keyThumbprint(inclusion, nodeCrypto));
  expect(set.map((key) => key.get(2))).toEqual(kids);
  const name = Buffer.from(kids[1]!).toString('base64url');
  expect((await fetch(`${service.url}/.well-known/scitt-keys/${name}`)).status).toBe(200);
});

test('an issuer’s key that is none is refused with the configuration', async () => {
  const issuers = [{ iss: 'a', publicKey: '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----' }];
  await expect(startTestService({ scitt: { issuers } })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});
