import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { openRequest, sealRequest } from '../../../attestation/channel/hpke.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { encodeKeyset, keysetDigest, parseKeyset } from '../../../attestation/keyset.ts';
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

/** The private key of HPKE as its library holds it. */
function rawHpkeKey({ hpke }: Keyring): Uint8Array {
  return (hpke.privateKey as CryptoKey & { readonly key: Uint8Array }).key;
}

async function opens(key: CryptoKey, { keyset }: Keyring): Promise<boolean> {
  const sealed = await sealRequest(keyset.hpke[0]!.publicKey, DATA);
  return openRequest(key, sealed.enc, sealed.body).then(
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
    expect(after.keyset.hpke).not.toEqual(hpke);
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
    expect(rawHpkeKey(given)).toEqual(new Uint8Array(32));
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
    expect(await opens(before.hpke.privateKey, before)).toBe(true);
    expect(before.receipt.isDropped).toBe(true);
    expect(() => before.receipt.sign(DATA)).toThrow();
    expect(before.inclusion.sign(DATA)).toHaveLength(64);
    jest.advanceTimersByTime(OVERLAP_MS);
    expect(line.hpkeKeys).toEqual([after.hpke.privateKey]);
    expect(rawHpkeKey(before)).toEqual(new Uint8Array(32));
    expect(await opens(before.hpke.privateKey, before)).toBe(false);
    expect(before.inclusion.isDropped).toBe(true);
    expect(line.current.log.sign(DATA)).toHaveLength(64);
    expect(await opens(after.hpke.privateKey, after)).toBe(true);
  });

  test('gives way to a second rotation within its overlap, whose own overlap is whole', async () => {
    const line = await makeKeysetLine({ overlapMs: OVERLAP_MS });
    const [first, second] = [line.current, await follow(line)];
    jest.advanceTimersByTime(OVERLAP_MS - 1);
    const third = await follow(line);
    expect(line.hpkeKeys).toEqual([third.hpke.privateKey, second.hpke.privateKey]);
    expect(rawHpkeKey(first)).toEqual(new Uint8Array(32));
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
  expect(line.hpkeKeys).toEqual([]);
  for (const ring of rings) {
    for (const key of [ring.receipt, ring.inclusion, ring.log]) expect(key.isDropped).toBe(true);
    expect(rawHpkeKey(ring)).toEqual(new Uint8Array(32));
  }
  await expect(line.next()).rejects.toThrow();
});
