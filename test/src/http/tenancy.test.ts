import { setImmediate } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { createApp } from '../../../src/http/app.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import type { FormerServedLogs } from '../../../src/http/servedLog.ts';
import { apiKey, startTestService, type TestService } from '../../support/service.ts';
import { serveFormerLog } from '../../support/servedLog.ts';
import { makeDraft, makeWorld } from '../../support/world.ts';

const [alice, bob, auditor, admin] = ['alice', 'bob', 'audit', 'root'].map(apiKey) as [
  ReturnType<typeof apiKey>,
  ReturnType<typeof apiKey>,
  ReturnType<typeof apiKey>,
  ReturnType<typeof apiKey>,
];
const FORMER = 'ab'.repeat(16);
const EMBED = { model: 'fake', input: 'the words of alice' };

interface Layer {
  readonly route?: { readonly path: string; readonly methods: Record<string, boolean> };
}

/** Every route of the app, as method and path. */
function routesOf(service: TestService): readonly (readonly [string, string])[] {
  const layers = (createApp(service.service).router as unknown as { stack: Layer[] }).stack;
  return layers.flatMap(({ route }) => {
    if (!route) return [];
    // A route of all methods refuses those that the path does not have.
    const methods = Object.keys(route.methods).filter((method) => method !== '_all');
    return methods.map((method) => [method, route.path] as const);
  });
}

/** Every way to fill in the parameters of a path that could name something of Alice's. */
function pathsOf(path: string, names: Readonly<Record<string, readonly string[]>>): readonly string[] {
  const [, marker, name] = /([:*])(\w+)/.exec(path) ?? [];
  if (marker === undefined || name === undefined) return [path];
  return (names[name] ?? ['x']).flatMap((value) => pathsOf(path.replace(`${marker}${name}`, value), names));
}

test('no route gives a receipt of one tenant to nobody, to another tenant or by another id', async () => {
  const { service, needles, names } = await startWithReceipts();
  const keys = [undefined, 'unknown', bob.key];
  let asked = 0;
  for (const [method, route] of routesOf(service)) {
    for (const path of pathsOf(route, names)) {
      for (const query of ['', '?index=1&size=3&from=1&to=3']) {
        for (const key of keys) {
          const body = await ask(service, method, path + query, key);
          asked++;
          for (const needle of needles)
            expect([key, path, body.includes(needle)]).toEqual([key, path, false]);
        }
      }
    }
  }
  expect(asked).toBeGreaterThan(200);
}, 60_000);

test('the same walk finds them with the keys of who may read them', async () => {
  const { service, needles, names } = await startWithReceipts();
  const found = new Map<string, string[]>();
  for (const key of [alice.key, auditor.key, admin.key]) {
    for (const [method, route] of routesOf(service).filter(([name]) => name === 'get')) {
      for (const path of pathsOf(route, names)) {
        const body = await ask(service, method, path, key);
        if (needles.some((needle) => body.includes(needle))) {
          found.set(key, [...new Set([...(found.get(key) ?? []), route])]);
        }
      }
    }
  }
  const bundles = ['/log/tile/*tile', '/log/instances/:instance/tile/*tile'];
  expect(found.get(alice.key)?.sort()).toEqual([
    '/v1/receipts/:id',
    '/v1/receipts/:id/bundle',
    '/v1/receipts/:id/statement',
  ]);
  expect(found.get(auditor.key)).toEqual(bundles);
  // The feed of the console names receipts by their ids.
  expect(found.get(admin.key)).toEqual([...bundles, '/v1/console/receipts']);
}, 60_000);

interface Prepared {
  readonly service: TestService;
  /** What only a receipt of Alice's has: its id, and its signature. */
  readonly needles: readonly Buffer[];
  /** Values for parameters of paths. */
  readonly names: Readonly<Record<string, readonly string[]>>;
}

/** Alice has a receipt in the running log and one in a former log; all of it is published. */
async function startWithReceipts(): Promise<Prepared> {
  const former = await makeWorld();
  const draft = makeDraft({ tenant: 'alice' });
  const old = await former.vouching.issue(draft);
  await former.vouching.covered(old.index);
  const served = serveFormerLog(former.log, former.keyring.keyset.origin);
  const logs: FormerServedLogs = {
    logs: [{ instance: FORMER, state: 'whole', size: served.size }],
    open: (name) => Promise.resolve(name === FORMER ? served : undefined),
  };
  const service = await startTestService(
    {
      keys: {
        apiKeys: [alice.entry, bob.entry],
        auditorKeys: [auditor.entry],
        adminKeySha256: admin.entry.sha256,
      },
    },
    { former: logs },
  );
  const answer = await service.post('/v1/embeddings', EMBED, { authorization: `Bearer ${alice.key}` });
  const id = answer.headers.get('vouchsafe-receipt-id')!;
  const { vouching, log, keyring } = service.world;
  await vouching.covered(log.size - 1);
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  const receipts = [old.encoded, await vouching.receipt(id, 'alice')].map(parseReceipt);
  const size = service.service.logs.own.publishedSize;
  const attached = await service.service.logs.own.extras();
  const widths = Array.from({ length: size }, (_, i) => i + 1);
  return {
    service,
    needles: receipts.flatMap(({ claims, sign1 }) => [
      Buffer.from(claims.id),
      Buffer.from(toHex(claims.id)),
      Buffer.from(sign1.signature),
    ]),
    names: {
      id: [id, toHex(draft.id), `1-${'0'.repeat(32)}`, '1', toHex(keyring.keyset.instance)],
      instance: [FORMER, toHex(keyring.keyset.instance)],
      file: [
        '0.cbor',
        '1.cbor',
        '0.collateral',
        `${'0'.repeat(64)}.cbor`,
        ...attached.flatMap((path) => path.split('/').slice(1)),
      ],
      tile: widths.flatMap((width) => [`0/000.p/${width}`, `entries/000.p/${width}`]),
    },
  };
}

async function ask(service: TestService, method: string, path: string, key?: string): Promise<Buffer> {
  const headers = {
    'content-type': 'application/json',
    'vouchsafe-nonce': 'cd'.repeat(32),
    ...(key && { authorization: `Bearer ${key}` }),
  };
  const body = method === 'post' ? JSON.stringify({ model: 'none', input: 'x' }) : null;
  const answer = await fetch(service.url + path, { method: method.toUpperCase(), headers, body });
  const told = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  return Buffer.concat([Buffer.from(told), Buffer.from(await answer.arrayBuffer())]);
}
