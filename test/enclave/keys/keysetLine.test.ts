import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import type { CipherSuite } from '@hpke/core';
import { openRequest, sealRequest } from '../../../attestation/channel/hpke.ts';
import { libraryRuntime } from '../../../attestation/channel/runtime.ts';
import { hpkeSuite, hybridSuite } from '../../../attestation/channel/suites.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeKeyset, keysetDigest, parseKeyset, type HpkeKey } from '../../../attestation/keyset.ts';
import type { Keyring } from '../../../enclave/keys/keyring.ts';
import type { KeysetLine } from '../../../enclave/keys/keysetLine.ts';
import { makeKeysetLine, NOW } from '../../support/world.ts';

const DATA = new Uint8Array(8);
const OVERLAP_MS = 60_000;

async function follow(line: KeysetLine): Promise<Keyring> {
  const next = await line.next();
  line.enter();
  return next;
}

/** The private keys of HPKE as their library holds them: 32 bytes each. */
function rawHpkeKeys({ hpke, hybrid }: Keyring): Uint8Array {
  const raw = [hpke, hybrid].map(
    ({ privateKey }) => (privateKey as CryptoKey & { readonly key: Uint8Array }).key,
  );
  return new Uint8Array(Buffer.concat(raw));
}

async function opens({ keyset, hpke, hybrid }: Keyring): Promise<boolean> {
  const [classical, postQuantum] = await Promise.all([
    isOpened(hpke.privateKey, keyset.hpke[0]!, hpkeSuite()),
    isOpened(hybrid.privateKey, keyset.hpke[1]!, await hybridSuite()),
  ]);
  expect(classical).toBe(postQuantum);
  return classical;
}

async function isOpened(key: CryptoKey, entry: HpkeKey, suite: CipherSuite): Promise<boolean> {
  const sealed = await sealRequest(entry, DATA);
  return openRequest(key, sealed.enc, sealed.body, libraryRuntime(suite)).then(
    () => true,
    () => false,
  );
}

beforeEach(() => {
  jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
});
afterEach(() => {
  jest.useRealTimers();
});

describe('the next generation', () => {
  test('keeps instance, origin and log key; all other keys are new, and it names the one before', async () => {
    const line = await makeKeysetLine();
    const before = line.current;
    const after = await follow(line);
    expect(line.current).toBe(after);
    expect(after.keyset).toMatchObject({
      instance: before.keyset.instance,
      origin: before.keyset.origin,
      log: before.keyset.log,
      generation: 1,
      previous: keysetDigest(encodeKeyset(before.keyset), nodeCrypto),
    });
    expect(after.log).toBe(before.log);
    const { receipt, inclusion, hpke } = before.keyset;
    expect(after.keyset.receipt).not.toEqual(receipt);
    expect(after.keyset.inclusion).not.toEqual(inclusion);
    expect(hpke.map(({ kem, publicKey }) => [kem, publicKey.length])).toEqual([
      [0x0020, 32],
      [0x647a, 1216],
    ]);
    for (const [i, { publicKey }] of hpke.entries())
      expect(after.keyset.hpke[i]!.publicKey).not.toEqual(publicKey);
    expect(parseKeyset(encodeKeyset(after.keyset)).generation).toBe(1);
  });

  test('is not in use before it is entered, and one that nobody enters is dropped', async () => {
    const line = await makeKeysetLine();
    const first = line.current;
    const given = await line.next();
    expect(line.current).toBe(first);
    expect(line.hpkeKeys).toEqual([first.hpke.privateKey]);
    const again = await line.next();
    expect(given.receipt.isDropped).toBe(true);
    expect(rawHpkeKeys(given)).toEqual(new Uint8Array(64));
    line.enter();
    expect(line.current).toBe(again);
    expect(again.keyset.generation).toBe(1);
    expect(() => {
      line.enter();
    }).toThrow();
  });

  test('is due when four fifths of the life are over', async () => {
    const clock = { now: NOW };
    const line = await makeKeysetLine({ lifetimeSeconds: 1000, now: () => clock.now });
    expect(line.dueAt).toBe(NOW + 800_000);
    clock.now += 850_000;
    await follow(line);
    expect(line.keyset.notAfter).toBe(NOW / 1000 + 1850);
    expect(line.dueAt).toBe(NOW + 1_650_000);
  });
});

describe('the former generation', () => {
  test('opens requests for the overlap, then its keys are wiped', async () => {
    const line = await makeKeysetLine({ overlapMs: OVERLAP_MS });
    const before = line.current;
    const after = await follow(line);
    expect(line.hpkeKeys).toEqual([after.hpke.privateKey, before.hpke.privateKey]);
    expect(line.hybridKeys).toEqual([after.hybrid.privateKey, before.hybrid.privateKey]);
    expect(await opens(before)).toBe(true);
    expect(before.receipt.isDropped).toBe(true);
    expect(() => before.receipt.sign(DATA)).toThrow();
    expect(before.inclusion.sign(DATA)).toHaveLength(64);
    jest.advanceTimersByTime(OVERLAP_MS);
    expect(line.hpkeKeys).toEqual([after.hpke.privateKey]);
    expect(rawHpkeKeys(before)).toEqual(new Uint8Array(64));
    expect(await opens(before)).toBe(false);
    expect(before.inclusion.isDropped).toBe(true);
    expect(line.current.log.sign(DATA)).toHaveLength(64);
    expect(await opens(after)).toBe(true);
  });

  test('gives way to a second rotation within its overlap, whose own overlap is whole', async () => {
    const line = await makeKeysetLine({ overlapMs: OVERLAP_MS });
    const [first, second] = [line.current, await follow(line)];
    jest.advanceTimersByTime(OVERLAP_MS - 1);
    const third = await follow(line);
    expect(line.hpkeKeys).toEqual([third.hpke.privateKey, second.hpke.privateKey]);
    expect(rawHpkeKeys(first)).toEqual(new Uint8Array(64));
    jest.advanceTimersByTime(OVERLAP_MS - 1);
    expect(line.hpkeKeys).toHaveLength(2);
    jest.advanceTimersByTime(1);
    expect(line.hpkeKeys).toEqual([third.hpke.privateKey]);
  });
});

test('at the end nothing is left of any generation', async () => {
  const line = await makeKeysetLine();
  const first = line.current;
  const rings = [first, await follow(line), await line.next()];
  line.close();
  expect([...line.hpkeKeys, ...line.hybridKeys]).toEqual([]);
  for (const ring of rings) {
    for (const key of [ring.receipt, ring.inclusion, ring.log]) expect(key.isDropped).toBe(true);
    expect(rawHpkeKeys(ring)).toEqual(new Uint8Array(64));
  }
  await expect(line.next()).rejects.toThrow();
});
