import { describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import type { Keyset } from '../../../attestation/keyset.ts';
import { parseAnchor } from '../../../attestation/log/anchor.ts';
import { cosignatureVerifier } from '../../../attestation/log/cosignature.ts';
import { parseNote, verifyNote } from '../../../attestation/log/note.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { HeadSigner } from '../../../src/receipts/headSigner.ts';
import { TimestampClient } from '../../../src/receipts/timestampClient.ts';
import { makeWitnessClient } from '../../../src/witness/client.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import {
  logVkey,
  startHttp,
  startTestWitness,
  startTimestampServer,
  type TestWitness,
} from '../../support/outsiders.ts';
import { startTestService, until } from '../../support/service.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import {
  contextOf,
  makeDraft,
  makeKeyring,
  makeWorld,
  NOW,
  policyOf,
  type World,
} from '../../support/world.ts';

const MINUTE = 60_000;
const YEAR = 365 * 86_400_000;

/** Two witnesses and a timestamp authority over sockets, an hour after everything else, or as told. */
function surroundings(offsetMs = MINUTE) {
  const clock = { now: NOW + offsetMs };
  const witnesses: TestWitness[] = [];
  const outsiders = async (log: MemoryLog, keyset: Keyset) => {
    for (const name of ['example.org/w1', 'example.org/w2']) {
      witnesses.push(await startTestWitness([logVkey(keyset)], { name, now: () => clock.now }));
    }
    const tsa = await startTimestampServer(() => clock.now);
    return [...witnesses.map((witness) => makeWitnessClient(witness, log)), new TimestampClient(tsa)];
  };
  return { clock, witnesses, outsiders };
}

const isAnchored =
  ({ vouching }: Pick<World, 'vouching'>, times: number) =>
  () =>
    vouching.anchoring.pendingSince === undefined && (vouching.anchoring.newest?.size ?? 0) >= times;

/** What a relying party says that trusts these witnesses and the minted authority. */
function trusting(witnesses: readonly TestWitness[], now: number) {
  const keys = witnesses.map(({ vkey }) => vkey);
  const policy = policyOf({
    witnesses: { quorum: 2, keys },
    timestamps: { authorities: [], required: true },
  });
  return contextOf({ policy, now, anchors: [...DEFAULT_ANCHORS, timestampAuthority().anchor] });
}

describe('a service with two witnesses and a timestamp authority', () => {
  test('gives bundles whose time and history outsiders confirm, judged years later', async () => {
    const { witnesses, outsiders } = surroundings();
    const running = await startTestService({}, { world: { outsiders } });
    const { url, world } = running;
    const answer = await running.post(
      '/v1/embeddings',
      { model: 'fake', input: 'hello' },
      { 'vouchsafe-fresh': '?1' },
    );
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    await until(isAnchored(world, 1));
    const bundle = new Uint8Array(await (await fetch(`${url}/v1/receipts/${id}/bundle`)).arrayBuffer());
    // Nine years later the certificates of the simulated chip have run out.
    const later = NOW + 9 * YEAR;
    const { verdict } = await appraiseBundle(bundle, {}, trusting(witnesses, later));
    expect(verdict.upper).toBe(new Date(NOW + MINUTE).toISOString());
    expect(verdict.checks.filter(({ result }) => result === 'fail')).toEqual([]);
    expect(verdict.decision).toBe('accepted');
    const check = (name: string) => verdict.checks.find((found) => found.id === name);
    expect(check('log.witnesses')).toMatchObject({ result: 'pass' });
    expect(check('log.timestamp')).toMatchObject({ result: 'pass' });
    const bare = await appraiseBundle(bundle, {}, contextOf({ now: later }));
    expect(bare.verdict.decision).toBe('refused');
    const ready = (await (await fetch(`${url}/readyz`)).json()) as { anchoring: object };
    expect(ready.anchoring).toMatchObject({ anchored_entries: 3, pending_seconds: 0, failing: [] });
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('vouchsafe_anchor_entries 3');
  });

  test('puts the newest token into the next document, which is thereby younger', async () => {
    const { clock, witnesses, outsiders } = surroundings(-10 * MINUTE);
    const world = await makeWorld({ outsiders });
    const { vouching, log } = world;
    expect(parseDocument(log.documents[0]!).timeAnchor).toBeUndefined();
    const first = await vouching.issue(makeDraft());
    await vouching.covered(first.index);
    await until(isAnchored(world, 1));
    clock.now = NOW + MINUTE;
    const draft = makeDraft();
    await vouching.attest(new Uint8Array(32).fill(1));
    const second = await vouching.issue(draft);
    await vouching.covered(second.index);
    await until(isAnchored(world, second.index + 1));
    const anchored = parseDocument(log.documents.at(-1)!);
    expect(anchored.timeAnchor).toEqual(parseAnchor(log.anchors.get(3)!).tokens[0]);
    const bundle = await vouching.bundle(Buffer.from(draft.id).toString('hex'), undefined);
    const { verdict } = await appraiseBundle(bundle, {}, trusting(witnesses, NOW + YEAR));
    expect(verdict.lower).toBe('2026-11-21T11:49:59.000Z');
    expect(verdict.decision).toBe('accepted');
  });

  test('without authorities the cosigned note is the time anchor', async () => {
    const { witnesses, outsiders } = surroundings();
    const world = await makeWorld({
      outsiders: async (log, keyset) =>
        (await outsiders(log, keyset)).filter(({ kind }) => kind === 'witness'),
    });
    const { vouching, log } = world;
    const { index } = await vouching.issue(makeDraft());
    await vouching.covered(index);
    await until(isAnchored(world, 1));
    await vouching.attest(new Uint8Array(32).fill(1));
    const note = parseNote(parseDocument(log.documents.at(-1)!).timeAnchor!);
    expect(
      note.signatures
        .map(({ name }) => name)
        .slice(1)
        .toSorted(),
    ).toEqual(witnesses.map(({ witness }) => witness.vkey.name));
  });

  test('a bundle carries the collateral of its document, not of the moment of the question', async () => {
    const world = await makeWorld();
    const { vouching, collector, log } = world;
    const draft = makeDraft();
    const { index } = await vouching.issue(draft);
    await vouching.covered(index);
    const then = await collector.collateral();
    collector.collateral = () => Promise.resolve({ ...then, crls: [] });
    const id = Buffer.from(draft.id).toString('hex');
    expect(parseBundle(await vouching.bundle(id, undefined)).collateral.crls).toHaveLength(1);
    const next = makeDraft();
    await vouching.covered((await vouching.issue(next)).index);
    const nextId = Buffer.from(next.id).toString('hex');
    expect(parseBundle(await vouching.bundle(nextId, undefined)).collateral.crls).toHaveLength(0);
    // Vendors that give nothing leave what was known before.
    collector.collateral = () => Promise.reject(new Error('unreachable'));
    await vouching.attest(new Uint8Array(32).fill(3));
    expect(log.collateral.at(-1)).toEqual(log.collateral.at(-2));
  });
});

describe('a clean stop', () => {
  test('anchors every receipt under a document that a record names, then makes the final one', async () => {
    const { witnesses, outsiders } = surroundings();
    const { vouching, log, keyring } = await makeWorld({ outsiders });
    await vouching.issue(makeDraft());
    const { index } = await vouching.issue(makeDraft());
    await vouching.stop();
    const [first, covering, final] = log.documents.map(parseDocument);
    expect([first, covering, final].map((document) => document?.statement.final)).toEqual([
      false,
      false,
      true,
    ]);
    const record = parseRecord(log.entries.at(-1)!).record;
    expect(record).toMatchObject({ kind: 'epoch', seq: 1 });
    expect(covering!.statement.logSize).toBe(index + 1);
    expect(final!.statement.logSize).toBe(log.size);
    expect([...log.anchors.keys()]).toEqual([log.size]);
    const { note, tokens } = parseAnchor(log.anchors.get(log.size)!);
    expect(tokens).toHaveLength(1);
    const known = witnesses.map(({ witness }) => cosignatureVerifier(witness.vkey, nodeCrypto));
    const { signers } = await verifyNote(parseNote(note), known);
    expect(signers).toHaveLength(2);
    expect(parseNote(note).text.startsWith(keyring.keyset.origin)).toBe(true);
  });

  test('without outsiders the final document alone covers the rest, as ever', async () => {
    const { vouching, log } = await makeWorld();
    await vouching.issue(makeDraft());
    await vouching.stop();
    expect(log.documents.map((document) => parseDocument(document).statement.final)).toEqual([false, true]);
    expect(log.anchors.size).toBe(0);
  });

  test('what was anchored already is not anchored again', async () => {
    const { witnesses, outsiders } = surroundings();
    const world = await makeWorld({ outsiders });
    await world.vouching.covered((await world.vouching.issue(makeDraft())).index);
    await until(isAnchored(world, 1));
    await world.vouching.stop();
    expect(witnesses[0]!.events).toHaveLength(1);
  });
});

describe('outsiders that fail', () => {
  test('stop nothing: receipts and bundles go on, and readiness names them', async () => {
    const refuse = await startHttp((_body, _request, response) => {
      response.statusCode = 503;
      response.end();
    });
    const witness = await startTestWitness([]);
    const outsiders = (log: MemoryLog) =>
      Promise.resolve([
        makeWitnessClient(witness, log),
        makeWitnessClient({ ...witness, url: 'http://127.0.0.1:1' }, log),
        new TimestampClient(refuse),
      ]);
    const running = await startTestService({}, { world: { outsiders } });
    const { url, world } = running;
    const answer = await running.post(
      '/v1/embeddings',
      { model: 'fake', input: 'hello' },
      { 'vouchsafe-fresh': '?1' },
    );
    expect(answer.status).toBe(200);
    await until(() => world.vouching.anchoring.failing.size > 1);
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(200);
    const { anchoring } = (await ready.json()) as { anchoring: { failing: { code: string }[] } };
    const codes = anchoring.failing.map(({ code }) => code);
    expect(codes).toContain('STATUS');
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    const bundle = new Uint8Array(await (await fetch(`${url}/v1/receipts/${id}/bundle`)).arrayBuffer());
    expect(parseBundle(bundle).witnessed).toBeUndefined();
    expect(parseBundle(bundle).covering).toBeDefined();
  });
});

describe('the client of a witness', () => {
  const signal = new AbortController().signal;

  /** A log of `count` entries with its signer. */
  async function smallLog(count: number) {
    const world = await makeWorld();
    for (let i = 1; i < count; i++) await world.vouching.issue(makeDraft());
    const heads = new HeadSigner(world.keyring);
    const head = async (size: number) => heads.sign(size, await world.log.root(size));
    return { log: world.log, keyset: world.keyring.keyset, head, heads };
  }

  test('goes on from the size that the witness recorded, as after a lost answer', async () => {
    const { log, keyset, head } = await smallLog(6);
    const witness = await startTestWitness([logVkey(keyset)]);
    await makeWitnessClient(witness, log).confirm(await head(2), signal);
    // Another client knows nothing of that.
    const client = makeWitnessClient(witness, log);
    await client.confirm(await head(5), signal);
    await client.confirm(await head(6), signal);
    await client.confirm(await head(6), signal);
    expect(witness.events.map(({ status }) => status)).toEqual([200, 409, 200, 200, 200]);
  });

  test('a log that shows another history, and one that was rolled back, get no cosignature', async () => {
    const { log, keyset, head, heads } = await smallLog(6);
    const witness = await startTestWitness([logVkey(keyset)]);
    await makeWitnessClient(witness, log).confirm(await head(4), signal);
    const fork = new MemoryLog();
    for (const [i, entry] of log.entries.entries()) fork.enqueue(i === 1 ? Uint8Array.of(1) : entry);
    const forked = heads.sign(6, await fork.root(6));
    await expect(makeWitnessClient(witness, fork).confirm(forked, signal)).rejects.toMatchObject({
      code: 'CONTRADICTED',
    });
    // The witness names the size that it saw, which is larger.
    await expect(makeWitnessClient(witness, log).confirm(await head(2), signal)).rejects.toMatchObject({
      code: 'CONTRADICTED',
    });
    expect(witness.events.map(({ status }) => status)).toEqual([200, 409, 422, 409]);
  });

  test('statuses of the witness are told apart', async () => {
    const { log, head, keyset } = await smallLog(2);
    const codeOf = async (lines: readonly string[]) => {
      const witness = await startTestWitness(lines);
      return makeWitnessClient(witness, log).confirm(await head(2), signal);
    };
    await expect(codeOf([])).rejects.toMatchObject({ code: 'LOG_UNKNOWN' });
    const other = await makeKeyring();
    const sameName = logVkey({ ...other.keyset, origin: keyset.origin });
    await expect(codeOf([sameName])).rejects.toMatchObject({ code: 'LOG_KEY_REFUSED' });
  });

  test.each([
    ['that is no line', 'thank you'],
    ['of another key', '— example.org/w9 AAAAAAAAAAAA\n'],
    ['without end', 'x'.repeat(20_000)],
    ['of too many lines', '— a AAAAAAAA\n'.repeat(20)],
  ])('an answer %s is refused', async (_name, text) => {
    const { log, head } = await smallLog(2);
    const { vkey } = await startTestWitness([]);
    const url = await startHttp((_body, _request, response) => response.end(text));
    const asked = makeWitnessClient({ url, vkey }, log).confirm(await head(2), signal);
    await expect(asked).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
  });

  test('a cosignature over another head is refused', async () => {
    const { log, keyset, head } = await smallLog(5);
    const witness = await startTestWitness([logVkey(keyset)]);
    let kept: Buffer | undefined;
    const proxy = await startHttp(async (body, _request, response) => {
      const answer = await fetch(`${witness.url}/add-checkpoint`, {
        method: 'POST',
        body: Buffer.from(body),
      });
      kept ??= Buffer.from(await answer.arrayBuffer());
      response.end(kept);
    });
    const client = makeWitnessClient({ url: proxy, vkey: witness.vkey }, log);
    await client.confirm(await head(2), signal);
    await expect(client.confirm(await head(5), signal)).rejects.toMatchObject({ code: 'ANSWER_INVALID' });
  });
});
