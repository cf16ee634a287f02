import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc, type DcMap } from '../../../attestation/cbor/deterministic.ts';
import { sigStructure } from '../../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import {
  consistencyProtected,
  encodeConsistencyReceipt,
  encodeInclusionReceipt,
  inclusionProtected,
  logReceiptIssuer,
  PLACE,
  verifyLogGrowth,
  verifyLogReceipt,
} from '../../../attestation/log/logReceipt.ts';
import { MemoryTree } from '../../../attestation/log/memoryTree.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import type { Keyring } from '../../../enclave/keys/keyring.ts';
import { InclusionIssuer } from '../../../src/receipts/inclusion.ts';
import { MemoryLog } from '../../support/memoryLog.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeKeyring } from '../../support/world.ts';

const sha256 = sha256With(nodeCrypto);
const KINDS = ['ES256', 'Ed25519'] as const;
const rings = new Map<string, Keyring>();
let other: Keyring;

beforeAll(async () => {
  for (const kind of KINDS) rings.set(kind, await makeKeyring(kind));
  other = await makeKeyring();
});

function entryOf(index: number): Uint8Array {
  return utf8(`entry ${index}`);
}

function logOf(size: number): MemoryLog {
  const log = new MemoryLog();
  for (let i = 0; i < size; i++) log.enqueue(entryOf(i));
  return log;
}

function ring(kind = 'ES256'): Keyring {
  const found = rings.get(kind);
  if (!found) throw new TypeError(kind);
  return found;
}

async function codeOf(attempt: () => unknown): Promise<string> {
  try {
    await attempt();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

describe('receipts of a log', () => {
  test.each(KINDS)('hold for each entry and size, by %s and both providers', async (kind) => {
    const keys = ring(kind);
    const log = logOf(9);
    const issuer = new InclusionIssuer(keys, log);
    for (let size = 1; size <= 9; size++) {
      for (let index = 0; index < size; index++) {
        const receipt = await issuer.inclusion(index, size);
        const root = await log.root(size);
        for (const crypto of [nodeCrypto, portableCrypto]) {
          const place = await verifyLogReceipt(receipt, entryOf(index), keys.keyset, crypto);
          expect(place).toEqual({ origin: keys.keyset.origin, size, index, root });
        }
      }
    }
  });

  test('hold between all sizes', async () => {
    const keys = ring();
    const log = logOf(9);
    const issuer = new InclusionIssuer(keys, log);
    for (let size2 = 1; size2 <= 9; size2++) {
      for (let size1 = 1; size1 <= size2; size1++) {
        const receipt = await issuer.consistency(size1, size2);
        const roots = { root1: await log.root(size1), root2: await log.root(size2) };
        const grown = await verifyLogGrowth(receipt, roots, keys.keyset, nodeCrypto);
        expect(grown).toEqual({ origin: keys.keyset.origin, size1, size2 });
      }
    }
  });

  test(
    'no changed byte is accepted, nor another entry',
    async () => {
      const keys = ring();
      const issuer = new InclusionIssuer(keys, logOf(7));
      const receipts = await Promise.all([0, 3, 6].map((index) => issuer.inclusion(index, 7)));
      const changes = fc.record({
        which: fc.integer({ min: 0, max: 2 }),
        at: fc.nat(),
        flip: fc.integer({ min: 1, max: 255 }),
      });
      await fc.assert(
        fc.asyncProperty(changes, async ({ which, at, flip }) => {
          const bad = Uint8Array.from(receipts[which]!);
          bad[at % bad.length]! ^= flip;
          const verify = () => verifyLogReceipt(bad, entryOf(3 * which), keys.keyset, nodeCrypto);
          expect(await codeOf(verify)).not.toBe('accepted');
          const another = () =>
            verifyLogReceipt(receipts[which]!, entryOf(3 * which + 1), keys.keyset, nodeCrypto);
          expect(await codeOf(another)).toBe('SIGNATURE_INVALID');
        }),
        propertyRuns(400),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'no bytes make the verifier throw anything but a refusal',
    async () => {
      const keys = ring();
      const good = await new InclusionIssuer(keys, logOf(3)).inclusion(1, 3);
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.nat({ max: good.length }).map((length) => good.subarray(0, length)),
        fc.uint8Array({ minLength: 1, maxLength: 9 }).map((tail) => Uint8Array.from([...good, ...tail])),
      );
      await fc.assert(
        fc.asyncProperty(bytes, async (hostile) => {
          fc.pre(hostile.length !== good.length);
          const roots = { root1: new Uint8Array(32), root2: new Uint8Array(32) };
          const { keyset } = keys;
          expect(await codeOf(() => verifyLogReceipt(hostile, entryOf(1), keyset, nodeCrypto))).not.toBe(
            'accepted',
          );
          expect(await codeOf(() => verifyLogGrowth(hostile, roots, keyset, nodeCrypto))).not.toBe(
            'accepted',
          );
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** What a log says of itself that it should not, signed by its own key. */
function signed(
  proof: { index: number; size: number },
  header: (map: Map<number | string, Dc>) => void,
): Uint8Array {
  const keys = ring();
  const leaves = [0, 1, 2].map((i) => leafHash(sha256, entryOf(i)));
  const tree = new MemoryTree(sha256, leaves);
  const path = tree.inclusionPath(0);
  const honest = inclusionProtected(logReceiptIssuer(keys.keyset, nodeCrypto), { index: 0, size: 3, path });
  const map = new Map(decodeDc(honest) as DcMap);
  header(map);
  const bytes = encodeDc(map);
  const signature = keys.inclusion.sign(sigStructure(bytes, tree.root));
  return encodeInclusionReceipt(bytes, { ...proof, path }, signature);
}

describe('a receipt is refused', () => {
  const place = { index: 0, size: 3 };
  const verify = (bytes: Uint8Array, keyring = ring()): Promise<string> =>
    codeOf(() => verifyLogReceipt(bytes, entryOf(0), keyring.keyset, nodeCrypto));
  const nothing = (): void => undefined;

  test('unless it is as the log writes it', async () => {
    expect(await verify(signed(place, nothing))).toBe('accepted');
  });

  test('with another size than was signed, though the path fits both', async () => {
    // Leaf 0 of 3 and of 4 have paths of one shape.
    expect(await verify(signed({ index: 0, size: 4 }, nothing))).toBe('INCLUSION_INVALID');
  });

  test('with another index than was signed', async () => {
    expect(await verify(signed({ index: 1, size: 3 }, nothing))).toBe('INCLUSION_INVALID');
  });

  test.each<[string, string, (map: Map<number | string, Dc>) => void]>([
    ['without the size', 'MALFORMED', (map) => map.delete(PLACE.size)],
    ['without the index', 'MALFORMED', (map) => map.delete(PLACE.index)],
    ['without the origin', 'MALFORMED', (map) => map.delete(PLACE.origin)],
    ['without claims', 'MALFORMED', (map) => map.delete(15)],
    ['with a label that is not known', 'MALFORMED', (map) => map.set(-65799, 1)],
    ['of another log', 'KEYSET_MISMATCH', (map) => map.set(PLACE.origin, 'elsewhere')],
    [
      'of another issuer',
      'KEYSET_MISMATCH',
      (map) =>
        map.set(
          15,
          new Map([
            [1, 'urn:x'],
            [2, 'y'],
          ]),
        ),
    ],
    ['naming another key', 'ALGORITHM_MISMATCH', (map) => map.set(4, new Uint8Array(32))],
    ['naming another algorithm', 'ALGORITHM_MISMATCH', (map) => map.set(1, -19)],
    ['over another kind of tree', 'UNSUPPORTED', (map) => map.set(395, 2)],
  ])('%s', async (_name, code, change) => {
    expect(await verify(signed(place, change))).toBe(code);
  });

  test('under the keyset of another instance', async () => {
    expect(await verify(signed(place, nothing), other)).toBe('ALGORITHM_MISMATCH');
  });

  test('by the receipt key in place of the inclusion key', async () => {
    const keys = ring();
    const wrong = { keyset: keys.keyset, inclusion: keys.receipt };
    expect(await verify(await new InclusionIssuer(wrong, logOf(3)).inclusion(0, 3))).toBe(
      'SIGNATURE_INVALID',
    );
  });

  test('with the payload attached', async () => {
    const good = signed(place, nothing);
    const at = good.lastIndexOf(0xf6, good.length - 66);
    const root = await logOf(3).root(3);
    const attached = Uint8Array.from([...good.subarray(0, at), ...encodeDc(root), ...good.subarray(at + 1)]);
    expect(good[at]).toBe(0xf6);
    expect(await verify(attached)).toBe('MALFORMED');
  });

  test('with the other form of its signature', async () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const bytes = Uint8Array.from(signed(place, nothing));
    const s = BigInt(`0x${Buffer.from(bytes.subarray(-32)).toString('hex')}`);
    bytes.set(Buffer.from((order - s).toString(16).padStart(64, '0'), 'hex'), bytes.length - 32);
    expect(await verify(bytes)).toBe('SIGNATURE_MALLEABLE');
  });

  test('of one kind where the other is asked for', async () => {
    const keys = ring();
    const issuer = new InclusionIssuer(keys, logOf(3));
    expect(await verify(await issuer.consistency(1, 3))).toBe('MALFORMED');
    const roots = { root1: await logOf(1).root(1), root2: await logOf(3).root(3) };
    const inclusion = await issuer.inclusion(0, 3);
    expect(await codeOf(() => verifyLogGrowth(inclusion, roots, keys.keyset, nodeCrypto))).toBe('MALFORMED');
  });

  test('of growth with another size than was signed, or other roots', async () => {
    const keys = ring();
    const log = logOf(8);
    const proof = { size1: 6, size2: 8, path: await log.consistencyProof(6, 8) };
    const issuer = logReceiptIssuer(keys.keyset, nodeCrypto);
    const header = consistencyProtected(issuer, { ...proof, size1: 5 });
    const root2 = await log.root(8);
    const receipt = encodeConsistencyReceipt(header, proof, keys.inclusion.sign(sigStructure(header, root2)));
    const roots = { root1: await log.root(6), root2 };
    const refuse = (bytes: Uint8Array, pair: typeof roots): Promise<string> =>
      codeOf(() => verifyLogGrowth(bytes, pair, keys.keyset, nodeCrypto));
    expect(await refuse(receipt, roots)).toBe('CONSISTENCY_INVALID');
    const good = await new InclusionIssuer(keys, log).consistency(6, 8);
    expect(await refuse(good, roots)).toBe('accepted');
    expect(await refuse(good, { ...roots, root1: root2 })).toBe('CONSISTENCY_INVALID');
    expect(await refuse(good, { ...roots, root2: roots.root1 })).toBe('SIGNATURE_INVALID');
  });
});
