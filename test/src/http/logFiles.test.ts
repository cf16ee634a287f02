import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { actSubject } from '../../../attestation/receipt/record.ts';
import { OPENAPI } from '../../../src/http/openapi.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import { serveFormerLogs } from '../../../src/log/formerLogs.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { decodeDc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { apiKey, makeFolder, startTestService, type TestService } from '../../support/service.ts';
import { ADMIN, ALICE, AUDITOR, begin } from '../archive/served.ts';

const [alice, auditor, admin] = [apiKey('alice'), apiKey('audit'), apiKey('root')];
const KEYS = {
  keys: { apiKeys: [alice.entry], auditorKeys: [auditor.entry], adminKeySha256: admin.entry.sha256 },
};
const COLLATERAL = utf8('what vendors said');
const DIGEST = toHex(nodeCrypto.hash('sha256', COLLATERAL));
const FOREVER = 'private, max-age=31536000, immutable';
const SHORTLY = 'private, max-age=5, must-revalidate';

/** Paths below the instance with what they answer. */
const FILES = [
  ['evidence/0.cbor', 'document 0', FOREVER],
  ['evidence/1.cbor', 'document 1', FOREVER],
  ['evidence/0.collateral', `${DIGEST}\n`, FOREVER],
  [`collateral/${DIGEST}.cbor`, 'what vendors said', FOREVER],
  ['anchors', '{"sizes":[2,10]}', SHORTLY],
  ['anchors/2.cbor', 'anchor 2', SHORTLY],
] as const;

/** Paths that name nothing, or by another spelling. */
const ABSENT = [
  'evidence/2.cbor',
  'evidence/00.cbor',
  'evidence/0',
  'evidence/0.CBOR',
  'evidence/1.collateral',
  'evidence/%30.cbor',
  'evidence/..%2forigin',
  'evidence/0.cbor%00',
  'evidence/origin',
  `collateral/${'0'.repeat(64)}.cbor`,
  `collateral/${DIGEST.toUpperCase()}.cbor`,
  `collateral/${DIGEST}`,
  `collateral/..%2fanchors%2f2.cbor`,
  'anchors/3.cbor',
  'anchors/02.cbor',
  'anchors/2.cbor.tmp',
  `acts/${'0'.repeat(64)}.cbor`,
  'origin',
  'created',
  'journal',
  'lock',
];

/** A service with a former log on disk that has files beside its entries. */
async function started(): Promise<{ readonly service: TestService; readonly prefix: string }> {
  const storage = diskStorage(join(await makeFolder(), 'instances'));
  const log = await openLog({ storage, instance: 'a0', origin: 'example.org/a0', created: 1 });
  await log.enqueue(utf8('entry')).durable;
  for (const seq of [0, 1]) await log.writeEvidence(seq, utf8(`document ${seq}`));
  await log.writeCollateral(0, COLLATERAL);
  for (const size of [10, 2]) await log.writeAnchor(size, utf8(`anchor ${size}`));
  await log.close();
  const { logs } = await recoverLogs(storage);
  const service = await startTestService(KEYS, { former: serveFormerLogs(storage, logs) });
  return { service, prefix: `${service.url}/log/instances/a0` };
}

function get(url: string, key?: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, { headers: { ...(key && { authorization: `Bearer ${key}` }), ...headers } });
}

describe('what lies beside the entries of a log', () => {
  test('is served to auditors and the admin by its names, and by no other', async () => {
    const { prefix } = await started();
    for (const key of [auditor.key, admin.key]) {
      for (const [path, body, caches] of FILES) {
        const answer = await get(`${prefix}/${path}`, key);
        expect([path, answer.status, await answer.text()]).toEqual([path, 200, body]);
        expect(answer.headers.get('cache-control')).toBe(caches);
        expect(answer.headers.get('vary')).toContain('authorization');
        const again = await get(`${prefix}/${path}`, key, { 'if-none-match': answer.headers.get('etag')! });
        expect(again.status).toBe(304);
      }
      for (const path of ABSENT) {
        const answer = await get(`${prefix}/${path}`, key);
        expect([path, answer.status]).toEqual([path, 404]);
        expect(answer.headers.get('cache-control') ?? '').not.toContain('max-age');
      }
    }
  });

  test('is closed to everybody else, there or not', async () => {
    const { prefix } = await started();
    for (const path of [...FILES.map(([name]) => name), 'evidence/7.cbor', `acts/${'0'.repeat(64)}.cbor`]) {
      expect((await get(`${prefix}/${path}`)).status).toBe(401);
      expect((await get(`${prefix}/${path}`, alice.key)).status).toBe(403);
    }
  });

  test('is served of the running instance', async () => {
    const { service } = await started();
    const { log, keyring } = service.world;
    const prefix = `${service.url}/log/instances/${toHex(keyring.keyset.instance)}`;
    const answer = await get(`${prefix}/evidence/0.cbor`, auditor.key);
    expect(toHex(new Uint8Array(await answer.arrayBuffer()))).toBe(toHex(log.documents[0]!));
    expect(await (await get(`${prefix}/anchors`, auditor.key)).json()).toEqual({ sizes: [] });
  });

  test('has the ids of acts where the archive has them', async () => {
    const { get: ask, post } = await begin();
    const hold = { tenant: 'alice', rule: 'case 7' };
    expect((await post('/v1/archive/holds', hold, ADMIN.key)).status).toBeLessThan(300);
    const { acts } = (await (await ask('/v1/archive/acts', AUDITOR.key)).json()) as {
      acts: { subject: string; instance: string }[];
    };
    const path = `/log/instances/${acts[0]!.instance}/acts/${acts[0]!.subject}.cbor`;
    expect((await ask(path, ALICE.key)).status).toBe(403);
    const answer = await ask(path, AUDITOR.key);
    const ids = decodeDc(new Uint8Array(await answer.arrayBuffer())) as readonly Uint8Array[];
    expect(toHex(actSubject(ids, nodeCrypto))).toBe(acts[0]!.subject);
  });

  test('is in the description of all routes', () => {
    const paths = Object.keys(OPENAPI.paths);
    for (const path of ['evidence/{file}', 'collateral/{file}', 'anchors', 'anchors/{file}', 'acts/{file}']) {
      expect(paths).toContain(`/log/instances/{instance}/${path}`);
    }
  });
});
