import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { documentDigest, parseDocument } from '../../../attestation/evidence/document.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import type { Collector } from '../../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { Vouching } from '../../../src/receipts/vouching.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { makeDraft, makeKeyring, makeWorld, NOW } from '../../support/world.ts';

const nonceOf = (fill: number) => new Uint8Array(32).fill(fill);

/** Simulated hardware that counts, waits and fails as told. */
async function controlledCollector() {
  const real = await createSimulatedCollector({ gpus: 0, now: () => new Date(NOW) });
  const control = { calls: 0, running: 0, overlapped: false, fail: false, gate: Promise.resolve() };
  const collector: Collector = {
    ...real,
    async collectDevices(nonce) {
      control.calls++;
      control.running++;
      control.overlapped ||= control.running > 1;
      await control.gate;
      control.running--;
      if (control.fail) throw new Error('EBUSY');
      return real.collectDevices(nonce);
    },
  };
  return { collector, control };
}

async function start(collector: Collector, limits = {}, clock = { now: NOW }) {
  const log = new MemoryLog();
  const vouching = await Vouching.start({
    keys: await makeKeyring(),
    log,
    source: collector,
    configDigest: new Uint8Array(32),
    predecessor: undefined,
    limits: { periodMs: 3_600_000, receipts: 1000, maxEvidenceAgeMs: 60_000, ...limits },
    now: () => clock.now,
  });
  return { vouching, log };
}

describe('the line of evidence documents', () => {
  test('starts with an open record that the first document covers', async () => {
    const { log, vouching } = await makeWorld();
    expect(parseRecord(log.entries[0]!).record).toMatchObject({ kind: 'open', predecessor: undefined });
    const { statement } = parseDocument(vouching.head.encoded);
    expect(statement).toMatchObject({ seq: 0, logSize: 1, final: false, nonceCount: 0 });
  });

  test('nonces that arrive during a collection share the next one', async () => {
    const { collector, control } = await controlledCollector();
    const { vouching } = await start(collector);
    let open: () => void = () => undefined;
    control.gate = new Promise((resolve) => (open = resolve));
    control.calls = 0;
    const first = vouching.attest(nonceOf(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const rest = Array.from({ length: 50 }, (_, i) => vouching.attest(nonceOf(i + 2)));
    open();
    const answers = await Promise.all([first, ...rest]);
    expect(control.calls).toBe(2);
    expect(control.overlapped).toBe(false);
    expect(answers.map(({ count }) => count)).toEqual([1, ...Array<number>(50).fill(50)]);
    expect(new Set(answers.slice(1).map(({ head }) => toHex(head.digest))).size).toBe(1);
  });

  test('each document names the one before', async () => {
    const { collector } = await controlledCollector();
    const { vouching, log } = await start(collector);
    await vouching.attest(nonceOf(1));
    await vouching.attest(nonceOf(2));
    const documents = log.documents.map(parseDocument);
    expect(documents.map(({ statement }) => statement.seq)).toEqual([0, 1, 2]);
    for (const [i, { statement }] of documents.slice(1).entries()) {
      expect(statement.previous).toEqual(documentDigest(log.documents[i]!, nodeCrypto));
    }
  });

  test('refuses more waiting nonces than one document answers', async () => {
    const { collector, control } = await controlledCollector();
    const { vouching } = await start(collector);
    let open: () => void = () => undefined;
    control.gate = new Promise((resolve) => (open = resolve));
    const first = vouching.attest(nonceOf(1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const waiting = Array.from({ length: 4096 }, () => vouching.attest(nonceOf(2)));
    expect(() => vouching.attest(nonceOf(3))).toThrow(expect.objectContaining({ code: 'TOO_MANY_NONCES' }));
    open();
    await Promise.all([first, ...waiting]);
  });
});

describe('epochs', () => {
  test('end by count, cover every receipt and leave a record', async () => {
    const { collector } = await controlledCollector();
    const { vouching, log } = await start(collector, { receipts: 3 });
    const issued = await Promise.all([1, 2, 3].map(() => vouching.issue(makeDraft())));
    await vouching.covered(issued[2]!.index);
    expect(vouching.uncovered).toBe(0);
    expect(parseDocument(log.documents[1]!).statement.logSize).toBe(4);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(parseRecord(log.entries[4]!).record).toMatchObject({
      kind: 'epoch',
      seq: 1,
      evidenceDigest: documentDigest(log.documents[1]!, nodeCrypto),
    });
    // The record alone starts no epoch.
    expect(log.documents).toHaveLength(2);
  });

  test('the cited document never gets older as the index rises', async () => {
    const { collector } = await controlledCollector();
    const { vouching, log } = await start(collector, { receipts: 2 });
    await Promise.all(Array.from({ length: 40 }, () => vouching.issue(makeDraft())));
    const seqs = log.entries.slice(1).flatMap((entry) => {
      try {
        const { claims } = parseReceipt(entry);
        return log.documents.findIndex((document) =>
          Buffer.from(documentDigest(document, nodeCrypto)).equals(claims.evidenceDigest),
        );
      } catch {
        return [];
      }
    });
    expect(seqs).toHaveLength(40);
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
  });
});

describe('failing hardware', () => {
  test('askers are told, issuing goes on until the evidence is too old, and recovers', async () => {
    const { collector, control } = await controlledCollector();
    const clock = { now: NOW };
    const { vouching } = await start(collector, {}, clock);
    control.fail = true;
    await expect(vouching.attest(nonceOf(1))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.evidenceFailure?.message).toBe('EBUSY');
    await vouching.issue(makeDraft());
    clock.now += 61_000;
    await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    control.fail = false;
    await vouching.attest(nonceOf(2));
    expect(vouching.stopReason).toBeUndefined();
    await vouching.issue(makeDraft());
  });

  test('a service without evidence does not start', async () => {
    const { collector, control } = await controlledCollector();
    control.fail = true;
    await expect(start(collector)).rejects.toThrow('EBUSY');
  });

  test('a keyset past its end stops issuing', async () => {
    const { collector } = await controlledCollector();
    const clock = { now: NOW };
    const { vouching } = await start(collector, {}, clock);
    clock.now += 31 * 86_400_000;
    await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
  });
});

test('a clean stop waits for receipts in flight and makes final evidence over all of them', async () => {
  const { collector } = await controlledCollector();
  const { vouching, log } = await start(collector);
  const inFlight = [1, 2, 3].map(() => vouching.issue(makeDraft()));
  await vouching.stop();
  await Promise.all(inFlight);
  expect(parseDocument(log.documents.at(-1)!).statement).toMatchObject({ final: true, logSize: 4 });
  await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
});

test('a receipt is for the tenant that made the request, and nobody else learns that it exists', async () => {
  const { vouching } = await makeWorld();
  const draft = makeDraft({ tenant: 'alice' });
  const { encoded } = await vouching.issue(draft);
  const id = toHex(draft.id);
  expect(await vouching.receipt(id, 'alice')).toEqual(encoded);
  for (const tenant of ['bob', undefined]) {
    await expect(vouching.receipt(id, tenant)).rejects.toMatchObject({ code: 'RECEIPT_NOT_FOUND' });
    await expect(vouching.bundle(id, tenant)).rejects.toMatchObject({ code: 'RECEIPT_NOT_FOUND' });
  }
});

test('one draft that does not fit the log is refused alone', async () => {
  const { collector } = await controlledCollector();
  const { vouching, log } = await start(collector);
  const huge = makeDraft({ parameters: new Map([['note', 'x'.repeat(70_000)]]) });
  const results = await Promise.allSettled([makeDraft(), huge, makeDraft()].map((d) => vouching.issue(d)));
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(log.entries.slice(1).map((entry) => parseReceipt(entry).claims.index)).toEqual([1, 2]);
});
