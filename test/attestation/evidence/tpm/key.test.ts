import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { ecSpki, pointSpki, publicKeyKind, rsaSpki } from '../../../../attestation/evidence/tpm/key.ts';
import {
  hierarchyOf,
  nameOf,
  parseTpm2bPublic,
  parseTpmtPublic,
} from '../../../../attestation/evidence/tpm/public.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import {
  AK_ATTRIBUTES,
  encodePublic,
  flipped,
  generateEc,
  generateRsa,
  jwkOf,
  primaryName,
  sized,
  spkiOf,
  u16,
  u32,
  type Keys,
} from '../../../support/tpmAuthority.ts';

let rsa: Keys, p256: Keys, p384: Keys, p521: Keys;

beforeAll(async () => {
  [rsa, p256, p384, p521] = await Promise.all([
    generateRsa(),
    generateEc('P-256'),
    generateEc('P-384'),
    generateEc('P-521'),
  ]);
});

const bytesOf = (text: string | undefined) => new Uint8Array(Buffer.from(text!, 'base64url'));
const EXPONENT = Uint8Array.of(1, 0, 1);
/** A modulus of exactly so many bits; it need not be a product of primes. */
const modulus = (bits: number) => {
  const bytes = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
  bytes[0] = 0xff >> (8 * bytes.length - bits);
  return bytes;
};

describe('public keys as SubjectPublicKeyInfo', () => {
  test('modulus and exponent of an RSA key', async () => {
    const { n, e } = await jwkOf(rsa);
    expect(rsaSpki(bytesOf(n), bytesOf(e))).toEqual(await spkiOf(rsa));
  });

  test('an uncompressed point, and coordinates without leading zeros', async () => {
    for (const [keys, curve, size] of [
      [p256, 'P-256', 32],
      [p384, 'P-384', 48],
    ] as const) {
      const jwk = await jwkOf(keys);
      const [x, y] = [bytesOf(jwk.x), bytesOf(jwk.y)];
      const spki = await spkiOf(keys);
      expect(pointSpki(concat(Uint8Array.of(4), x, y), curve)).toEqual(spki);
      expect(ecSpki(curve, x, y)).toEqual(spki);
      const short = ecSpki(curve, Uint8Array.of(1), y);
      expect(short.subarray(-2 * size, -size)).toEqual(concat(new Uint8Array(size - 1), Uint8Array.of(1)));
    }
  });

  test.each([
    ['a modulus of zero', Uint8Array.of(0), EXPONENT],
    ['a modulus of 513 bytes', modulus(8 * 513), EXPONENT],
    ['an exponent of 5 bytes', Uint8Array.of(1), new Uint8Array(5).fill(1)],
  ])('refuses %s', (_corruption, n, e) => {
    expect(refusalOf(() => rsaSpki(n, e))?.code).toBe('MALFORMED');
  });

  test.each([
    ['a compressed point', concat(Uint8Array.of(2), new Uint8Array(32))],
    ['another first byte', new Uint8Array(65)],
    ['a point cut by a byte', concat(Uint8Array.of(4), new Uint8Array(63))],
    ['a point of another curve', concat(Uint8Array.of(4), new Uint8Array(96))],
  ])('refuses %s', (_corruption, point) => {
    expect(refusalOf(() => pointSpki(point, 'P-256'))?.code).toBe('MALFORMED');
  });

  test('refuses coordinates longer than the curve', () => {
    expect(refusalOf(() => ecSpki('P-256', new Uint8Array(33), new Uint8Array(32)))?.code).toBe('MALFORMED');
  });
});

describe('publicKeyKind', () => {
  test('knows RSA, P-256 and P-384', async () => {
    expect(publicKeyKind(await spkiOf(rsa))).toEqual({ kind: 'rsa', bits: 2048 });
    expect(publicKeyKind(await spkiOf(p256))).toEqual({ kind: 'ec', curve: 'P-256' });
    expect(publicKeyKind(await spkiOf(p384))).toEqual({ kind: 'ec', curve: 'P-384' });
    expect(publicKeyKind(rsaSpki(modulus(4096), EXPONENT))).toEqual({ kind: 'rsa', bits: 4096 });
  });

  test.each([
    ['RSA of 1024 bits', rsaSpki(modulus(1024), EXPONENT)],
    ['RSA of 2047 bits', rsaSpki(modulus(2047), EXPONENT)],
    ['exponent 3', rsaSpki(modulus(2048), Uint8Array.of(3))],
    ['exponent 65536', rsaSpki(modulus(2048), Uint8Array.of(1, 0, 0))],
    ['an even exponent', rsaSpki(modulus(2048), Uint8Array.of(1, 0, 2))],
  ])('refuses %s', (_weakness, spki) => {
    expect(refusalOf(() => publicKeyKind(spki))?.code).toBe('ALGORITHM_MISMATCH');
  });

  test('refuses other curves and what is no key', async () => {
    expect(refusalOf(() => publicKeyKind(new Uint8Array()))?.code).toBe('MALFORMED');
    const spki = await spkiOf(p521);
    expect(refusalOf(() => publicKeyKind(spki))?.code).toBe('UNSUPPORTED');
  });

  test('throws nothing but refusals on a mutated key', async () => {
    const spki = await spkiOf(rsa);
    fc.assert(
      fc.property(fc.array(fc.nat(8 * 60), { minLength: 1, maxLength: 3 }), (bits) => {
        refusalOf(() => publicKeyKind(flipped(spki, ...bits)));
      }),
      propertyRuns(500),
    );
  });
});

describe('parseTpmtPublic', () => {
  test('reads RSA and ECC keys', async () => {
    for (const keys of [rsa, p256, p384]) {
      const bytes = await encodePublic(keys);
      const area = parseTpmtPublic(bytes);
      expect(area.spki).toEqual(await spkiOf(keys));
      expect(area.scheme).toEqual({ algorithm: keys === rsa ? 0x14 : 0x18, hash: 'sha256' });
      expect([...area.attributes]).toEqual([
        'fixedTpm',
        'fixedParent',
        'sensitiveDataOrigin',
        'userWithAuth',
        'restricted',
        'sign',
      ]);
      expect(parseTpm2bPublic(sized(bytes))).toEqual(area);
    }
  });

  test('reads keys without a scheme, with a cipher, and of RSAES', async () => {
    expect(parseTpmtPublic(await encodePublic(p256, { scheme: u16(0x0010) })).scheme).toBeUndefined();
    const symmetric = concat(u16(0x0006), u16(128), u16(0x0043));
    const storage = parseTpmtPublic(await encodePublic(rsa, { symmetric, scheme: u16(0x0015) }));
    expect(storage.scheme).toEqual({ algorithm: 0x0015, hash: undefined });
  });

  test('names a key by its hash, and a primary key by its hierarchy', async () => {
    const bytes = await encodePublic(rsa);
    const area = parseTpmtPublic(bytes);
    const name = concat(u16(0x000b), nodeCrypto.hash('sha256', bytes));
    expect(nameOf(area, nodeCrypto)).toEqual(name);
    expect(hierarchyOf(area, primaryName(bytes, 0x40000001), nodeCrypto)).toBe('owner');
    expect(hierarchyOf(area, primaryName(bytes, 0x40000007), nodeCrypto)).toBe('null');
    expect(hierarchyOf(area, primaryName(bytes, 0x4000000b), nodeCrypto)).toBe('endorsement');
    expect(hierarchyOf(area, primaryName(bytes, 0x4000000c), nodeCrypto)).toBe('platform');
    expect(hierarchyOf(area, primaryName(bytes, 0x81000001), nodeCrypto)).toBeUndefined();
    expect(hierarchyOf(area, name, nodeCrypto)).toBeUndefined();
  });

  test('refuses what is no RSA or ECC key of the form', async () => {
    const bytes = await encodePublic(rsa);
    const changed = (offset: number, ...values: readonly number[]) => {
      const copy = bytes.slice();
      copy.set(values, offset);
      return copy;
    };
    const code = (area: Uint8Array) => refusalOf(() => parseTpmtPublic(area))?.code;
    expect(code(changed(0, 0x00, 0x08))).toBe('UNSUPPORTED'); // a keyed hash
    expect(code(changed(2, 0x00, 0x12))).toBe('UNSUPPORTED'); // named by SM3
    expect(code(changed(4, 0x80))).toBe('UNSUPPORTED'); // a reserved attribute
    expect(code(changed(8, 0xff, 0xff))).toBe('MALFORMED'); // a policy of 65,535 bytes
    expect(code(changed(16, 0x04, 0x00))).toBe('MALFORMED'); // 1024 bits with a modulus of 2048
    expect(code(concat(bytes, Uint8Array.of(0)))).toBe('MALFORMED');
    expect(code(bytes.subarray(0, -1))).toBe('MALFORMED');
    const other = refusalOf(() => parseTpm2bPublic(concat(sized(bytes), Uint8Array.of(0))));
    expect(other?.code).toBe('MALFORMED');
    const larger = await encodePublic(p521);
    expect(code(larger)).toBe('UNSUPPORTED');
  });

  test('a mutated area never keeps its name, and throws nothing but refusals', async () => {
    for (const keys of [rsa, p256]) {
      const bytes = await encodePublic(keys);
      const name = nameOf(parseTpmtPublic(bytes), nodeCrypto);
      fc.assert(
        fc.property(fc.array(fc.nat(8 * bytes.length - 1), { minLength: 1, maxLength: 3 }), (bits) => {
          const changed = flipped(bytes, ...new Set(bits));
          const refusal = refusalOf(() => parseTpmtPublic(changed));
          if (!refusal) expect(nameOf(parseTpmtPublic(changed), nodeCrypto)).not.toEqual(name);
        }),
        propertyRuns(300),
      );
    }
  });

  test('attribute bits are those of TPMA_OBJECT', async () => {
    const attributes = async (bits: number) => [
      ...parseTpmtPublic(await encodePublic(p256, { attributes: bits })).attributes,
    ];
    expect(await attributes(0)).toEqual([]);
    expect(await attributes(0x00020440)).toEqual(['userWithAuth', 'noDa', 'decrypt']);
    expect(await attributes(AK_ATTRIBUTES)).toContain('restricted');
    expect(u32(AK_ATTRIBUTES)).toEqual(Uint8Array.of(0, 5, 0, 0x72));
  });
});
