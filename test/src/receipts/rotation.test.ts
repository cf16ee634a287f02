import { describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { equalBytes, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { documentDigest, parseDocument } from '../../../attestation/evidence/document.ts';
import type { Keyset } from '../../../attestation/keyset.ts';
import {
  verifyTransparentReceipt,
  verifyLoggedStatement,
} from '../../../attestation/log/transparentStatement.ts';
import { parseReceipt, verifyEntry } from '../../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { Generations } from '../../../src/receipts/generations.ts';
import { KeyRotation } from '../../../src/receipts/rotation.ts';
import {
  contextOf,
  failures,
  makeDraft,
  makeKeyring,
  makeKeysetLine,
  makeWorld,
  NOW,
  policyOf,
  type World,
} from '../../support/world.ts';

const COVERED = contextOf({ policy: policyOf({ coverage: 'required' }) });

async function issue({ vouching }: World) {
  const draft = makeDraft();
  return { id: toHex(draft.id), issued: await vouching.issue(draft) };
}

/** Hardware that fails or waits as told. */
async function controlled() {
  const real = await createSimulatedCollector({ gpus: 1, now: () => new Date(NOW) });
  const control = { calls: 0, fail: false, gate: Promise.resolve() };
  const collector: typeof real = {
    ...real,
    async collectDevices(nonce) {
      control.calls++;
      await control.gate;
      if (control.fail) throw new Error('EBUSY');
      return real.collectDevices(nonce);
    },
  };
  return { collector, control };
}

function keysetAt({ log }: World, seq: number): Keyset {
  return parseDocument(log.documents[seq]!).keyset;
}

describe('bundles across a rotation', () => {
  test('a receipt of the old keys is covered by a document of the new ones, and verifies', async () => {
    const world = await makeWorld();
    const before = await issue(world);
    const head = await world.vouching.rotateKeys();
    expect(parseDocument(head.encoded).keyset.generation).toBe(1);
    const bundle = await world.vouching.bundle(before.id, undefined);
    const { cited, covering } = parseBundle(bundle);
    expect(parseDocument(cited).keyset.generation).toBe(0);
    expect(parseDocument(covering!.document).keyset.generation).toBe(1);
    const { verdict, receipt } = await appraiseBundle(bundle, {}, COVERED);
    expect(failures(verdict)).toEqual([]);
    expect(verdict.decision).toBe('accepted');
    await verifyEntry(receipt!, world.keyring.keyset.receipt, world.keyring.keyset.instance, nodeCrypto);
  });

  test('from then on receipts are of the new keys and verify, also with Ed25519', async () => {
    for (const algorithm of ['ES256', 'Ed25519'] as const) {
      const world = await makeWorld({ algorithm });
      await world.vouching.rotateKeys();
      const after = await issue(world);
      await world.vouching.covered(after.issued.index);
      const bundle = await world.vouching.bundle(after.id, undefined);
      const { verdict, receipt } = await appraiseBundle(bundle, {}, COVERED);
      expect(verdict.decision).toBe('accepted');
      expect(receipt!.claims.keysetDigest).toEqual(world.vouching.keysetDigest);
      await verifyEntry(receipt!, world.keys.keyset.receipt, world.keyring.keyset.instance, nodeCrypto);
      await expect(
        verifyEntry(receipt!, world.keyring.keyset.receipt, world.keyring.keyset.instance, nodeCrypto),
      ).rejects.toThrow();
    }
  });

  test('every receipt is of the keyset of its evidence, whenever it was asked for', async () => {
    const world = await makeWorld();
    const issued: Promise<unknown>[] = [];
    for (let round = 0; round < 3; round++) {
      const rotating = world.vouching.rotateKeys();
      const state = { isDone: false };
      const ended = rotating.finally(() => (state.isDone = true));
      while (!state.isDone) {
        issued.push(issue(world));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await ended;
    }
    await Promise.all(issued);
    const documents = world.log.documents.map((encoded) => ({
      digest: documentDigest(encoded, nodeCrypto),
      ...parseDocument(encoded),
    }));
    let lastSeq = 0;
    const seen = new Set<number>();
    for (const [index, entry] of world.log.entries.entries()) {
      const receipt = receiptOf(entry);
      if (!receipt) continue;
      expect(receipt.claims.index).toBe(index);
      const cited = documents.find(({ digest }) => equalBytes(digest, receipt.claims.evidenceDigest))!;
      expect(cited.statement.keysetDigest).toEqual(receipt.claims.keysetDigest);
      await verifyEntry(receipt, cited.keyset.receipt, cited.keyset.instance, nodeCrypto);
      expect(cited.statement.seq).toBeGreaterThanOrEqual(lastSeq);
      lastSeq = cited.statement.seq;
      seen.add(cited.keyset.generation);
    }
    expect(seen.size).toBeGreaterThan(1);
    expect(world.vouching.keysets.map(({ generation }) => generation)).toEqual([3, 2, 1, 0]);
  });
});

function receiptOf(entry: Uint8Array) {
  try {
    return parseReceipt(entry);
  } catch {
    return undefined;
  }
}

describe('a rotation', () => {
  test('that finds no evidence leaves the old keys in use; the next document carries the new ones', async () => {
    const { collector, control } = await controlled();
    const world = await makeWorld({ collector });
    control.fail = true;
    await expect(world.vouching.rotateKeys()).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    const { issued } = await issue(world);
    expect(parseReceipt(issued.encoded).claims.keysetDigest).toEqual(
      parseDocument(world.log.documents[0]!).statement.keysetDigest,
    );
    expect(world.keys.keyset.generation).toBe(0);
    control.fail = false;
    const { head } = await world.vouching.attest(new Uint8Array(32).fill(1));
    expect(parseDocument(head.encoded).keyset.generation).toBe(1);
    expect(world.keys.keyset.generation).toBe(1);
  });

  test('is one for all who ask at once, and another for who asks later', async () => {
    const world = await makeWorld();
    const [a, b] = await Promise.all([world.vouching.rotateKeys(), world.vouching.rotateKeys()]);
    expect(a).toBe(b);
    expect(world.keys.keyset.generation).toBe(1);
    await world.vouching.rotateKeys();
    expect(world.keys.keyset.generation).toBe(2);
  });

  test('does not change what a collection that already runs vouches for', async () => {
    const { collector, control } = await controlled();
    const world = await makeWorld({ collector });
    let open: () => void = () => undefined;
    control.gate = new Promise((resolve) => (open = resolve));
    const asked = world.vouching.attest(new Uint8Array(32).fill(1));
    while (control.calls < 2) await new Promise((resolve) => setImmediate(resolve));
    const rotating = world.vouching.rotateKeys();
    open();
    expect(parseDocument((await asked).head.encoded).keyset.generation).toBe(0);
    expect(parseDocument((await rotating).encoded).keyset.generation).toBe(1);
    expect(keysetAt(world, 1).generation).toBe(0);
    expect(keysetAt(world, 2).generation).toBe(1);
  });

  test('is made when it is due, and tried again after a failure', async () => {
    const { collector, control } = await controlled();
    const clock = { now: NOW };
    const world = await makeWorld({ collector, keys: { lifetimeSeconds: 1000, now: () => clock.now } });
    const parts = {
      source: world.keys,
      generations: new Generations(world.keys.current),
      line: { collect: () => Promise.resolve(), failure: new Error('EBUSY'), head: world.vouching.head },
      now: () => clock.now,
    };
    const rotation = new KeyRotation(parts);
    await rotation.rotateWhenDue();
    expect(parts.generations.isPending).toBe(false);
    clock.now = world.keys.dueAt;
    control.fail = true;
    await rotation.rotateWhenDue();
    expect(parts.generations.isPending).toBe(true);
    const pending = parts.generations.next;
    await rotation.rotateWhenDue();
    expect(parts.generations.next).toBe(pending);
    rotation.stop();
  });

  test('is refused while the instance stops, and after the end of the keys it is the way on', async () => {
    const clock = { now: NOW };
    const world = await makeWorld({
      now: () => clock.now,
      keys: { lifetimeSeconds: 1000, now: () => clock.now },
      limits: { maxEvidenceAgeMs: 3_600_000 },
    });
    clock.now += 1_001_000;
    expect(world.vouching.stopReason?.code).toBe('KEYSET_EXPIRED');
    await world.vouching.rotateKeys();
    expect(world.vouching.stopReason).toBeUndefined();
    await issue(world);
    await world.vouching.stop();
    expect(() => world.vouching.rotateKeys()).toThrow();
  });

  test('keys that do not follow those in use are refused', async () => {
    const keys = await makeKeysetLine();
    const generations = new Generations(keys.current);
    const next = await keys.next();
    const other = await makeKeyring();
    const wrong: readonly Partial<Keyset>[] = [
      { generation: 2 },
      { previous: new Uint8Array(32) },
      { previous: undefined },
      { instance: other.keyset.instance },
      { origin: other.keyset.origin },
      { log: other.keyset.log },
    ];
    for (const change of wrong) {
      expect(() => {
        generations.prepare({ ...next, keyset: { ...next.keyset, ...change } });
      }).toThrow(TypeError);
    }
    generations.prepare(next);
    expect(generations.next.keys).toBe(next);
  });
});

describe('the log across a rotation', () => {
  test('records are signed by the keys that are in use', async () => {
    const world = await makeWorld();
    const act = { act: 'admin', actor: 'x', rule: 'y', subject: new Uint8Array(32), count: 1 } as const;
    const before = await world.vouching.recordAct(act);
    await world.vouching.rotateKeys();
    const after = await world.vouching.recordAct(act);
    for (const [index, keyset] of [
      [before, world.keyring.keyset],
      [after, world.keys.keyset],
    ] as const) {
      const record = parseRecord(world.log.entries[index]!);
      await verifyEntry(record, keyset.receipt, keyset.instance, nodeCrypto);
    }
  });

  test('one keyset verifies a receipt and its inclusion as long as its keys are kept; then two are needed', async () => {
    const world = await makeWorld();
    const { vouching, keyring, keys } = world;
    const { issued } = await issue(world);
    await vouching.rotateKeys();
    const within = await vouching.inclusion.statement(issued.index);
    const { receipt } = await verifyTransparentReceipt(within, keyring.keyset, nodeCrypto);
    expect(receipt.claims.index).toBe(issued.index);
    await vouching.rotateKeys();
    const later = await vouching.inclusion.statement(issued.index);
    await expect(verifyLoggedStatement(later, keyring.keyset, nodeCrypto)).rejects.toMatchObject({
      code: 'KEYSET_MISMATCH',
    });
    const { places } = await verifyLoggedStatement(later, keys.keyset, nodeCrypto);
    expect(places[0]?.index).toBe(issued.index);
  });
});
