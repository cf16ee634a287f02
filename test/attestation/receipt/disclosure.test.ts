import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseDisclosure, type DisclosureResult } from '../../../attestation/appraiseDisclosure.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { itemKey } from '../../../attestation/receipt/commitment.ts';
import {
  encodeDisclosure,
  parseDisclosure,
  type Disclosure,
} from '../../../attestation/receipt/disclosure.ts';
import { openItems, type Selection } from '../../../attestation/receipt/openItems.ts';
import { issueKept, makeChunks, TENANT, type KeptExchange } from '../../support/keptExchange.ts';
import { contextOf, failures, makeWorld, type World } from '../../support/world.ts';

let world: World;
let body: KeptExchange;
let stream: KeptExchange;
/** Of the same instance, with the same content under another `k`. */
let other: KeptExchange;

beforeAll(async () => {
  world = await makeWorld();
  body = await issueKept(world);
  stream = await issueKept(world, { chunks: makeChunks(13) });
  other = await issueKept(world, { chunks: makeChunks(13) });
});

function disclose({ bundle, claims, kept }: KeptExchange, selection: Selection): Disclosure {
  return {
    source: { kind: 'bundle', bytes: bundle },
    ...openItems(claims, kept, selection, nodeCrypto),
  };
}

function judge(
  disclosure: Disclosure | Uint8Array,
  changes: Partial<AppraisalContext> = {},
): Promise<DisclosureResult> {
  const encoded = disclosure instanceof Uint8Array ? disclosure : encodeDisclosure(disclosure);
  return appraiseDisclosure(encoded, {}, contextOf(changes));
}

/** `id subject result` of the checks of the disclosure. */
async function outcome(disclosure: Disclosure | Uint8Array): Promise<readonly string[]> {
  const { verdict } = await judge(disclosure);
  return verdict.checks
    .filter(({ id }) => id.startsWith('disclosure.') && id !== 'disclosure.format')
    .map(({ id, subject, result, code }) => `${id} ${subject} ${result} ${code}`);
}

const ALL = { request: true, parameters: ['stop', 'tools'], tenant: true } as const;

describe('what is opened', () => {
  test('everything of a body passes, each item as a check of its own', async () => {
    const { verdict, shown } = await judge(disclose(body, { ...ALL, response: true }));
    expect(failures(verdict)).toEqual([]);
    expect(verdict.decision).toBe('accepted');
    expect(await outcome(disclose(body, { ...ALL, response: true }))).toEqual([
      'disclosure.request disclosure pass OK',
      'disclosure.response disclosure pass OK',
      'disclosure.parameter parameter stop pass OK',
      'disclosure.parameter parameter tools pass OK',
      'disclosure.tenant disclosure pass OK',
    ]);
    expect(shown.map(({ kind }) => kind)).toEqual([
      'request',
      'response',
      'parameter',
      'parameter',
      'tenant',
    ]);
    expect(shown.at(-1)).toEqual({ kind: 'tenant', bytes: utf8(TENANT) });
  });

  test('what is not opened is skipped as such, never passed', async () => {
    expect(await outcome(disclose(stream, { chunks: { start: 3, end: 10 } }))).toEqual([
      'disclosure.request disclosure skip NOT_OPENED',
      'disclosure.chunks disclosure pass OK',
      'disclosure.parameter parameter stop skip NOT_OPENED',
      'disclosure.parameter parameter tools skip NOT_OPENED',
      'disclosure.tenant disclosure skip NOT_OPENED',
    ]);
  });

  test.each([
    [0, 1],
    [0, 13],
    [3, 10],
    [12, 13],
    [7, 8],
  ])('chunks %i to %i of a stream of 13', async (start, end) => {
    const { verdict, shown } = await judge(disclose(stream, { chunks: { start, end } }));
    expect(verdict.decision).toBe('accepted');
    const chunks = makeChunks(13).slice(start, end);
    expect(shown).toEqual([{ kind: 'chunks', start, chunks, count: 13 }]);
  });

  test('nothing else is in the file: neither k, nor the key or the bytes of any other item', () => {
    const encoded = Buffer.from(encodeDisclosure(disclose(stream, { chunks: { start: 3, end: 5 } })));
    const { claims, kept } = stream;
    const key = (field: 'request' | 'chunk' | 'tenant', i: number) =>
      itemKey(kept.k, claims.id, field, i, nodeCrypto);
    const holds = (part: Uint8Array) => encoded.includes(Buffer.from(part));
    expect(holds(key('chunk', 3))).toBe(true);
    const hidden = [kept.k, key('chunk', 2), key('chunk', 5), key('request', 0), key('tenant', 0)];
    expect(hidden.filter(holds)).toEqual([]);
    const contents = [kept.request, makeChunks(13)[2]!, makeChunks(13)[5]!, utf8(TENANT)];
    expect(contents.filter(holds)).toEqual([]);
  });

  test('the portable door gives the same verdict', async () => {
    const disclosure = disclose(stream, { ...ALL, chunks: { start: 2, end: 9 } });
    const [node, portable] = [await judge(disclosure), await judge(disclosure, { crypto: portableCrypto })];
    expect(portable.verdict).toEqual(node.verdict);
  });

  test('under a policy that refuses the hardware it is refused, whatever opens', async () => {
    const { verdict } = await judge(disclose(body, ALL), { policy: DEFAULT_POLICY });
    expect(verdict.decision).toBe('refused');
  });

  test('a receipt without its bundle is judged with the evidence that it cites', async () => {
    const { receipt, cited } = parseBundle(body.bundle);
    const loose = { ...disclose(body, ALL), source: { kind: 'receipt', bytes: receipt } } as const;
    const encoded = encodeDisclosure(loose);
    const context = contextOf({ collateral: world.collateral });
    const { verdict } = await appraiseDisclosure(encoded, { cited }, context);
    expect(failures(verdict)).toEqual([]);
    const alone = await appraiseDisclosure(encoded, {}, contextOf());
    expect(failures(alone.verdict)).toEqual(['receipt: receipt.evidence EVIDENCE_INCOMPLETE']);
    expect(alone.shown).toEqual([]);
  });
});

describe('what is refused', () => {
  const mismatch = (id: string) => [`disclosure: ${id} COMMITMENT_MISMATCH`];
  async function refusals(disclosure: Disclosure): Promise<readonly string[]> {
    const { verdict, shown } = await judge(disclosure);
    expect(verdict.decision).toBe('refused');
    expect(shown).toEqual([]);
    return failures(verdict);
  }

  test('items of another receipt', async () => {
    const foreign = { ...disclose(other, { request: true }), source: disclose(stream, ALL).source };
    expect(await refusals(foreign)).toEqual(mismatch('disclosure.request'));
  });

  test('chunks of another receipt', async () => {
    const foreign = {
      ...disclose(other, { chunks: { start: 2, end: 5 } }),
      source: disclose(stream, ALL).source,
    };
    expect(await refusals(foreign)).toEqual(['disclosure: disclosure.chunks INCLUSION_INVALID']);
  });

  test('the request shown as the response, and the tenant as the request', async () => {
    const { items, ...rest } = disclose(body, { request: true });
    const [request] = items;
    const moved = { ...rest, items: [{ ...request!, field: 'response' }] } as Disclosure;
    expect(await refusals(moved)).toEqual(mismatch('disclosure.response'));
    const tenant = disclose(body, { tenant: true }).items[0]!;
    const named = { ...rest, items: [{ ...tenant, field: 'request' }] } as Disclosure;
    expect(await refusals(named)).toEqual(mismatch('disclosure.request'));
  });

  test('one parameter shown as another', async () => {
    const { items, ...rest } = disclose(body, { parameters: ['stop'] });
    const moved = { ...rest, items: items.map((item) => ({ ...item, item: 1 })) };
    expect(await refusals(moved)).toEqual(['parameter tools: disclosure.parameter COMMITMENT_MISMATCH']);
  });

  test('a parameter, a tenant and a body that the receipt does not commit to', async () => {
    const { items, ...rest } = disclose(body, { parameters: ['stop'] });
    const format = { ...rest, items: items.map((item) => ({ ...item, item: 2 })) };
    expect(await refusals(format)).toEqual([
      'parameter response_format: disclosure.parameter COMMITMENT_MISMATCH',
    ]);
    const source = disclose(stream, ALL).source;
    const response = { ...disclose(body, { response: true }), source };
    expect(await refusals(response)).toEqual(mismatch('disclosure.response'));
  });

  test('other bytes and another key', async () => {
    const { items, ...rest } = disclose(body, { request: true });
    const [item] = items;
    const bytes = concat(item!.bytes, utf8(' '));
    expect(await refusals({ ...rest, items: [{ ...item!, bytes }] })).toEqual(mismatch('disclosure.request'));
    const key = item!.key.with(0, item!.key[0]! ^ 1);
    expect(await refusals({ ...rest, items: [{ ...item!, key }] })).toEqual(mismatch('disclosure.request'));
  });

  test('k itself in place of an item key', async () => {
    const { items, ...rest } = disclose(body, { request: true });
    const withK = { ...rest, items: items.map((item) => ({ ...item, key: body.kept.k })) };
    expect(await refusals(withK)).toEqual(mismatch('disclosure.request'));
  });

  type Chunks = NonNullable<Disclosure['chunks']>;
  test.each<[string, (chunks: Chunks) => Partial<Chunks>, string]>([
    ['moved by one', ({ start }) => ({ start: start + 1 }), 'INCLUSION_INVALID'],
    ['moved to the front', () => ({ start: 0 }), 'INCLUSION_INVALID'],
    [
      'reordered',
      ({ chunks, keys }) => ({ chunks: chunks.toReversed(), keys: keys.toReversed() }),
      'INCLUSION_INVALID',
    ],
    [
      'with one left out',
      ({ chunks, keys }) => ({ chunks: chunks.toSpliced(2, 1), keys: keys.toSpliced(2, 1) }),
      'INCLUSION_INVALID',
    ],
    [
      'with one doubled',
      ({ chunks, keys }) => ({ chunks: [...chunks, chunks.at(-1)!], keys: [...keys, keys.at(-1)!] }),
      'INCLUSION_INVALID',
    ],
    ['with another key', ({ keys }) => ({ keys: keys.with(1, keys[0]!) }), 'INCLUSION_INVALID'],
    ['altered', ({ chunks }) => ({ chunks: chunks.with(1, utf8('{"secret":x}')) }), 'INCLUSION_INVALID'],
    ['with a shorter path', ({ path }) => ({ path: path.slice(1) }), 'INCLUSION_INVALID'],
    ['with a longer path', ({ path }) => ({ path: [...path, path[0]!] }), 'INCLUSION_INVALID'],
    ['with a reordered path', ({ path }) => ({ path: path.toReversed() }), 'INCLUSION_INVALID'],
    ['beyond the end', () => ({ start: 10 }), 'INCLUSION_INVALID'],
    [
      'with more bytes than the stream has',
      ({ chunks }) => ({ chunks: chunks.with(0, new Uint8Array(999)) }),
      'COMMITMENT_MISMATCH',
    ],
  ])('a range %s', async (_name, change, code) => {
    const disclosure = disclose(stream, { chunks: { start: 3, end: 8 } });
    const chunks = disclosure.chunks!;
    const changed = { ...disclosure, chunks: { ...chunks, ...change(chunks) } };
    expect(await refusals(changed)).toEqual([`disclosure: disclosure.chunks ${code}`]);
  });

  test('a whole stream without its last chunk', async () => {
    const disclosure = disclose(stream, { chunks: { start: 0, end: 13 } });
    const { keys, chunks, ...rest } = disclosure.chunks!;
    const cut = { ...rest, keys: keys.slice(0, 12), chunks: chunks.slice(0, 12) };
    expect(await refusals({ ...disclosure, chunks: cut })).toEqual([
      'disclosure: disclosure.chunks INCLUSION_INVALID',
    ]);
  });

  test('one good item does not carry a bad one', async () => {
    const { items, ...rest } = disclose(body, ALL);
    const bad = items.map((item) => (item.field === 'tenant' ? { ...item, bytes: utf8('rival') } : item));
    const { verdict, shown } = await judge({ ...rest, items: bad });
    expect(verdict.decision).toBe('refused');
    expect(failures(verdict)).toEqual(mismatch('disclosure.tenant'));
    expect(shown.map(({ kind }) => kind)).toEqual(['request', 'parameter', 'parameter']);
  });

  test('openings of a receipt that does not verify are not reached', async () => {
    const disclosure = disclose(body, { ...ALL, response: true });
    const bytes = Uint8Array.from(body.bundle);
    const at = Buffer.from(bytes).indexOf(body.issued.encoded) + body.issued.encoded.length - 1;
    bytes[at] = bytes[at]! ^ 1;
    const { verdict, shown } = await judge({ ...disclosure, source: { kind: 'bundle', bytes } });
    const own = verdict.checks.filter(({ id }) => id.startsWith('disclosure.') && id !== 'disclosure.format');
    expect([...new Set(own.map(({ code }) => code))]).toEqual(['NOT_REACHED']);
    expect([shown, verdict.decision]).toEqual([[], 'refused']);
  });
});

describe('the format', () => {
  const members = () =>
    decodeDc(encodeDisclosure(disclose(stream, { ...ALL, chunks: { start: 3, end: 5 } }))) as Map<string, Dc>;
  const itemsOf = () => members().get('items') as Dc[][];
  const changed = (change: (map: Map<string, Dc>) => void): Uint8Array => {
    const map = new Map(members());
    change(map);
    return encodeDc(map);
  };
  const withItem = (change: (item: Dc[]) => Dc[]) =>
    changed((map) => map.set('items', [change(itemsOf()[0]!)]));
  const withChunks = (change: (chunks: Dc[]) => Dc[]) =>
    changed((map) => map.set('chunks', change(members().get('chunks') as Dc[])));

  test('parses to what was encoded', () => {
    const disclosure = disclose(stream, { ...ALL, chunks: { start: 3, end: 5 } });
    expect(parseDisclosure(encodeDisclosure(disclosure))).toEqual(disclosure);
  });

  test('items are encoded in one order, whatever order they are given in', () => {
    const disclosure = disclose(body, { ...ALL, response: true });
    const reversed = { ...disclosure, items: disclosure.items.toReversed() };
    expect(encodeDisclosure(reversed)).toEqual(encodeDisclosure(disclosure));
  });

  test.each<[string, () => Uint8Array, string]>([
    ['nothing opened', () => changed((map) => [map.delete('items'), map.delete('chunks')]), 'MALFORMED'],
    ['an empty list of items', () => changed((map) => map.set('items', [])), 'MALFORMED'],
    ['no receipt', () => changed((map) => map.delete('bundle')), 'MALFORMED'],
    ['receipt and bundle', () => changed((map) => map.set('receipt', new Uint8Array(9))), 'MALFORMED'],
    ['an unknown member', () => changed((map) => map.set('k', new Uint8Array(32))), 'MALFORMED'],
    ['another version', () => changed((map) => map.set('format', 'vouchsafe/disclosure/2')), 'MALFORMED'],
    ['items out of order', () => changed((map) => map.set('items', itemsOf().toReversed())), 'MALFORMED'],
    ['an item twice', () => changed((map) => map.set('items', [itemsOf()[0]!, itemsOf()[0]!])), 'MALFORMED'],
    ['an unknown field', () => withItem(([, ...rest]) => ['chunk', ...rest]), 'MALFORMED'],
    ['a request with a number', () => withItem(([field, , ...rest]) => [field!, 1, ...rest]), 'UNSUPPORTED'],
    ['an unknown parameter', () => withItem(([, , ...rest]) => ['parameter', 9, ...rest]), 'UNSUPPORTED'],
    [
      'a key of 33 bytes',
      () => withItem(([field, item, , bytes]) => [field!, item!, new Uint8Array(33), bytes!]),
      'MALFORMED',
    ],
    [
      'a key of 31 bytes',
      () => withItem(([field, item, , bytes]) => [field!, item!, new Uint8Array(31), bytes!]),
      'MALFORMED',
    ],
    [
      'chunk keys of 33 bytes',
      () => withChunks(([start, , ...rest]) => [start!, new Uint8Array(66), ...rest]),
      'MALFORMED',
    ],
    [
      'no chunks',
      () => withChunks(([start, , , path]) => [start!, new Uint8Array(0), [], path!]),
      'MALFORMED',
    ],
    [
      'a path without end',
      () =>
        withChunks((chunks) => [
          ...chunks.slice(0, 3),
          Array.from({ length: 107 }, () => new Uint8Array(32)),
        ]),
      'MALFORMED',
    ],
    [
      'a short hash in the path',
      () => withChunks((chunks) => [...chunks.slice(0, 3), [new Uint8Array(31)]]),
      'MALFORMED',
    ],
    [
      'a byte behind the end',
      () =>
        concat(
          changed(() => undefined),
          new Uint8Array(1),
        ),
      'MALFORMED',
    ],
  ])('%s is refused', async (_name, encoded, code) => {
    const { verdict, receipt } = await judge(encoded());
    expect(failures(verdict)).toEqual([`disclosure: disclosure.format ${code}`]);
    expect([verdict.decision, receipt]).toEqual(['refused', undefined]);
  });
});

describe('making one', () => {
  const refusal = (made: () => unknown) =>
    expect(made).toThrow(expect.objectContaining({ code: 'COMMITMENT_MISMATCH' }));

  test('refuses content that is not the receipt’s, before anything is revealed', () => {
    refusal(() => disclose({ ...body, kept: { ...body.kept, request: utf8('other') } }, { request: true }));
    refusal(() => disclose({ ...body, kept: { ...body.kept, k: new Uint8Array(32) } }, { request: true }));
    refusal(() => disclose({ ...body, kept: { ...body.kept, k: new Uint8Array(33) } }, { request: true }));
    refusal(() => disclose({ ...body, kept: { ...body.kept, tenant: undefined } }, { tenant: true }));
    const chunks = makeChunks(13).toReversed();
    refusal(() =>
      disclose({ ...stream, kept: { ...stream.kept, chunks } }, { chunks: { start: 0, end: 1 } }),
    );
  });

  test.each([
    [0, 0],
    [5, 14],
    [-1, 3],
    [4, 2],
    [0.5, 2],
    [NaN, 2],
  ])('refuses chunks %s to %s of 13', (start, end) => {
    refusal(() => disclose(stream, { chunks: { start, end } }));
  });

  test('refuses what the receipt does not have', () => {
    refusal(() => disclose(body, { chunks: { start: 0, end: 1 } }));
    refusal(() => disclose(stream, { response: true }));
    refusal(() => disclose(body, { parameters: ['response_format'] }));
  });
});
