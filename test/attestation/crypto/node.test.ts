import { constants, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { createNodeCrypto, nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import type { SignatureScheme } from '../../../attestation/crypto/provider.ts';
import { bitString, element, oid, sequence } from '../../../enclave/collect/simulated/der.ts';
import { propertyRuns } from '../../support/runs.ts';

interface Signed {
  readonly scheme: SignatureScheme;
  readonly spki: Uint8Array;
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}

const DATA = Uint8Array.from({ length: 700 }, (_, i) => i);
const NULL = element(5);
const names = [
  'P-256',
  'P-384',
  'P-521',
  'Ed25519',
  'RSA-PSS',
  'RSA-PKCS1',
  'RSA-4096',
  'RSA with a large exponent',
];
const signatures = new Map<string, Signed>();

function spkiOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: 'der', type: 'spki' }));
}

function ecdsa(
  curve: 'P-256' | 'P-384' | 'P-521',
  hash: 'sha256' | 'sha384' | 'sha512',
  data = DATA,
): Signed {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: curve });
  const signature = sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return { scheme: { kind: 'ecdsa', curve, hash }, spki: spkiOf(publicKey), data, signature };
}

function rsa(kind: 'rsa-pss' | 'rsa-pkcs1', modulusLength: number, publicExponent = 0x10001): Signed {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent });
  const padding = kind === 'rsa-pss' ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
  const signature = sign('sha384', DATA, { key: privateKey, padding, saltLength: 48 });
  const scheme =
    kind === 'rsa-pss'
      ? { kind, hash: 'sha384' as const, saltLength: 48 }
      : { kind, hash: 'sha384' as const };
  return { scheme, spki: spkiOf(publicKey), data: DATA, signature };
}

beforeAll(() => {
  const ed25519 = generateKeyPairSync('ed25519');
  const made: readonly Signed[] = [
    ecdsa('P-256', 'sha256'),
    ecdsa('P-384', 'sha384'),
    ecdsa('P-521', 'sha512'),
    {
      scheme: { kind: 'ed25519' },
      spki: spkiOf(ed25519.publicKey),
      data: DATA,
      signature: sign(null, DATA, ed25519.privateKey),
    },
    rsa('rsa-pss', 2048),
    rsa('rsa-pkcs1', 2048),
    rsa('rsa-pss', 4096),
    rsa('rsa-pss', 2048, 0xffff_fffb),
  ];
  for (const [i, name] of names.entries()) signatures.set(name, made[i]!);
}, 60_000);

function verify({ scheme, spki, data, signature }: Signed): Promise<boolean> {
  return nodeCrypto.verify(scheme, spki, data, signature);
}

describe.each(names)('verify with %s', (name) => {
  test('takes a good signature, as the portable provider does', async () => {
    const signed = signatures.get(name)!;
    expect(await verify(signed)).toBe(true);
    const { scheme, spki, data, signature } = signed;
    expect(await portableCrypto.verify(scheme, spki, data, signature)).toBe(true);
  });

  test('takes views of a larger buffer', async () => {
    const { spki, signature, ...rest } = signatures.get(name)!;
    const buffer = new Uint8Array([9, 9, 9, ...spki, ...signature]);
    const views = { spki: buffer.subarray(3, 3 + spki.length), signature: buffer.subarray(3 + spki.length) };
    expect(await verify({ ...rest, ...views })).toBe(true);
  });

  test('refuses any byte of key, data or signature changed, by false', async () => {
    const signed = signatures.get(name)!;
    const change = fc.tuple(
      fc.constantFrom('spki', 'data', 'signature'),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
    );
    await fc.assert(
      fc.asyncProperty(change, async ([part, position, mask]) => {
        const forged = Uint8Array.from(signed[part as 'spki']);
        const offset = position % forged.length;
        forged[offset] = forged[offset]! ^ mask;
        expect(await verify({ ...signed, [part]: forged })).toBe(false);
      }),
      propertyRuns(60),
    );
  });

  test('refuses a key cut short, with a byte more, and of any other kind', async () => {
    const signed = signatures.get(name)!;
    const { spki } = signed;
    for (const other of [new Uint8Array(), spki.subarray(0, -1), Uint8Array.of(...spki, 0)]) {
      expect(await verify({ ...signed, spki: other })).toBe(false);
    }
    for (const [, { spki: other }] of [...signatures].filter(([, { scheme }]) => scheme !== signed.scheme)) {
      expect(await verify({ ...signed, spki: other })).toBe(false);
    }
  });
});

describe('keys', () => {
  test.each(['P-256', 'P-384'] as const)('a compressed %s point is read as before', async (curve) => {
    const signed = signatures.get(curve)!;
    const size = curve === 'P-256' ? 32 : 48;
    const point = signed.spki.subarray(-2 * size);
    const compressed = Uint8Array.of(2 + (point.at(-1)! & 1), ...point.subarray(0, size));
    const curveOid = curve === 'P-256' ? '1.2.840.10045.3.1.7' : '1.3.132.0.34';
    const spki = sequence(sequence(oid('1.2.840.10045.2.1'), oid(curveOid)), bitString(compressed));
    expect(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }).asymmetricKeyType).toBe(
      'ec',
    );
    expect(await verify({ ...signed, spki })).toBe(true);
  });

  test.each(['P-256', 'P-384', 'P-521'] as const)('a point off the curve %s is none', async (curve) => {
    const signed = signatures.get(curve)!;
    const spki = signed.spki.slice();
    spki[spki.length - 1] = spki.at(-1)! ^ 1;
    expect(await verify({ ...signed, spki })).toBe(false);
    expect(
      await verify({ ...signed, spki: signed.spki.map((byte, i) => (i < spki.length - 20 ? byte : 0xff)) }),
    ).toBe(false);
  });

  test('a point of the wrong curve for the scheme is none', async () => {
    const signed = signatures.get('P-384')!;
    const scheme = { kind: 'ecdsa', curve: 'P-256', hash: 'sha384' } as const;
    expect(await verify({ ...signed, scheme })).toBe(false);
  });

  test.each([
    ['rsaEncryption without NULL', (pkcs1: Uint8Array) => rsaSpki([], pkcs1)],
    [
      'RSASSA-PSS as the key algorithm',
      (pkcs1: Uint8Array) => sequence(sequence(oid('1.2.840.113549.1.1.10')), bitString(pkcs1)),
    ],
    ['bytes after the exponent', (pkcs1: Uint8Array) => rsaSpki([NULL], Uint8Array.of(...pkcs1, 0))],
    [
      'unused bits',
      (pkcs1: Uint8Array) => sequence(sequence(oid('1.2.840.113549.1.1.1'), NULL), bitString(pkcs1, 1)),
    ],
  ])('an RSA key with %s is none', async (_name, encode) => {
    const signed = signatures.get('RSA-PSS')!;
    const pkcs1 = createPublicKey({ key: Buffer.from(signed.spki), format: 'der', type: 'spki' }).export({
      format: 'der',
      type: 'pkcs1',
    });
    expect(await verify({ ...signed, spki: rsaSpki([NULL], pkcs1) })).toBe(true);
    expect(await verify({ ...signed, spki: encode(pkcs1) })).toBe(false);
  });

  test('another salt length or hash than the scheme names is refused', async () => {
    const signed = signatures.get('RSA-PSS')!;
    for (const changed of [
      { saltLength: 32 },
      { hash: 'sha256' as const },
      { saltLength: -1 },
      { saltLength: 2 ** 40 },
    ]) {
      const scheme = { ...(signed.scheme as Extract<SignatureScheme, { kind: 'rsa-pss' }>), ...changed };
      expect(await verify({ ...signed, scheme })).toBe(false);
    }
  });
});

describe('createNodeCrypto', () => {
  test.each([1, 3, 64])('with room for %d keys answers as nodeCrypto does', async (limit) => {
    const keeping = createNodeCrypto(limit);
    for (let round = 0; round < 3; round++) {
      for (const { scheme, spki, data, signature } of signatures.values()) {
        expect(await keeping.verify(scheme, spki, data, signature)).toBe(true);
        expect(await keeping.verify(scheme, spki, data.subarray(1), signature)).toBe(false);
      }
    }
  });

  test('knows a key by all of its bytes and by its kind', async () => {
    const keeping = createNodeCrypto(64);
    const { spki, data, signature } = signatures.get('P-256')!;
    const scheme = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;
    expect(await keeping.verify(scheme, spki, data, signature)).toBe(true);
    for (const curve of ['P-384', 'P-521'] as const) {
      expect(await keeping.verify({ ...scheme, curve }, spki, data, signature)).toBe(false);
    }
    expect(await keeping.verify({ kind: 'rsa-pkcs1', hash: 'sha256' }, spki, data, signature)).toBe(false);
    const other = ecdsa('P-256', 'sha256').spki;
    expect(await keeping.verify(scheme, other, data, signature)).toBe(false);
    expect(await keeping.verify(scheme, spki.subarray(0, -1), data, signature)).toBe(false);
    expect(await keeping.verify(scheme, spki, data, signature)).toBe(true);
  });

  test("a kept key is not the caller's buffer", async () => {
    const keeping = createNodeCrypto(4);
    const { scheme, spki, data, signature } = signatures.get('P-384')!;
    const borrowed = spki.slice();
    expect(await keeping.verify(scheme, borrowed, data, signature)).toBe(true);
    borrowed.fill(0);
    expect(await keeping.verify(scheme, borrowed, data, signature)).toBe(false);
    expect(await keeping.verify(scheme, spki, data, signature)).toBe(true);
  });

  test.each([0, -1, 0.5, Number.NaN, Infinity])('takes no limit of %d', (limit) => {
    expect(() => createNodeCrypto(limit)).toThrow(RangeError);
  });
});

test('long verifications leave the event loop free', async () => {
  const signed = signatures.get('P-521')!;
  const long = ecdsa('P-256', 'sha256', new Uint8Array(8 * 1024 * 1024));
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 1);
  const results = await Promise.all([...Array.from({ length: 20 }, () => verify(signed)), verify(long)]);
  clearInterval(ticking);
  expect(results.every(Boolean)).toBe(true);
  expect(ticks).toBeGreaterThan(0);
});

function rsaSpki(parameters: readonly Uint8Array[], pkcs1: Uint8Array): Uint8Array {
  return sequence(sequence(oid('1.2.840.113549.1.1.1'), ...parameters), bitString(pkcs1));
}
