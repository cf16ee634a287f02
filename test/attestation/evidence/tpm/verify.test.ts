import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { HashName } from '../../../../attestation/crypto/provider.ts';
import type { PcrBank } from '../../../../attestation/evidence/evidence.ts';
import { derEcdsaSignature, parseTpmtSignature } from '../../../../attestation/evidence/tpm/signature.ts';
import { verifyTpmQuote, type TpmQuoteEvidence } from '../../../../attestation/evidence/tpm/verify.ts';
import { refusalOf, refusalOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import {
  AK_ATTRIBUTES,
  ALL_SHA256,
  der,
  encodeAttest,
  encodePublic,
  flipped,
  generateEc,
  generateRsa,
  integer,
  mintPcrs,
  pcrDigest,
  primaryName,
  signRaw,
  signTpmt,
  spkiOf,
  u16,
  type Keys,
  type QuoteFields,
  type Selection,
  type SignOptions,
} from '../../../support/tpmAuthority.ts';

const PCRS = [mintPcrs('sha256')];
let rsa: Keys, p256: Keys, p384: Keys;

beforeAll(async () => {
  [rsa, p256, p384] = await Promise.all([generateRsa(), generateEc('P-256'), generateEc('P-384')]);
});

async function quoteBy(
  keys: Keys,
  options: SignOptions = {},
  fields: QuoteFields = {},
): Promise<TpmQuoteEvidence> {
  const message = encodeAttest(fields);
  return { message, signature: parseTpmtSignature(await signTpmt(message, keys, options)), pcrs: PCRS };
}

const ECDSA = { scheme: 'ecdsa' } as const;

async function refusalFor(evidence: TpmQuoteEvidence, keys: Keys) {
  const spki = await spkiOf(keys);
  const refusal = await refusalOfAsync(() => verifyTpmQuote(evidence, spki, { crypto: nodeCrypto }));
  if (refusal) expect(refusal.check).toBe('cpu.vtpm-quote');
  return refusal?.code;
}

describe('verifyTpmQuote', () => {
  const digestOf = (hash: HashName) => pcrDigest(ALL_SHA256, PCRS, hash);
  const cases: readonly (readonly [string, () => Keys, SignOptions])[] = [
    ['RSASSA with SHA-256', () => rsa, { scheme: 'rsassa' }],
    ['RSASSA with SHA-384', () => rsa, { scheme: 'rsassa', hash: 'sha384' }],
    ['RSASSA with SHA-512', () => rsa, { scheme: 'rsassa', hash: 'sha512' }],
    ['RSAPSS with a salt as long as the digest', () => rsa, { scheme: 'rsapss' }],
    ['RSAPSS with the longest salt', () => rsa, { scheme: 'rsapss', saltLength: 256 - 32 - 2 }],
    [
      'RSAPSS with SHA-512 and the longest salt',
      () => rsa,
      { scheme: 'rsapss', hash: 'sha512', saltLength: 190 },
    ],
    ['ECDSA P-256 with SHA-256', () => p256, { scheme: 'ecdsa' }],
    ['ECDSA P-384 with SHA-384', () => p384, { scheme: 'ecdsa', hash: 'sha384' }],
  ];
  for (const [provider, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    test.each(cases)(`%s verifies with ${provider}`, async (_scheme, keys, options) => {
      const { scheme = 'rsassa', hash = 'sha256' } = options;
      const evidence = await quoteBy(keys(), options, { pcrDigest: digestOf(hash) });
      const quote = await verifyTpmQuote(evidence, await spkiOf(keys()), { crypto });
      expect(quote).toMatchObject({ scheme, hash, subject: 'cpu', hierarchy: undefined });
      expect(quote.checks).toMatchObject([{ id: 'cpu.vtpm-quote', subject: 'cpu', result: 'pass' }]);
    });
  }

  test('raw RSA and DER ECDSA forms verify as well', async () => {
    const message = encodeAttest();
    const bare = {
      message,
      signature: { scheme: 'rsassa', hash: 'sha256', signature: await signRaw(message, rsa) } as const,
      pcrs: PCRS,
    };
    expect(await refusalFor(bare, rsa)).toBeUndefined();
    const raw = await signRaw(message, p256, ECDSA);
    const scalar = (bytes: Uint8Array) => integer(BigInt(`0x${toHex(bytes)}`));
    const encoded = der(0x30, scalar(raw.subarray(0, 32)), scalar(raw.subarray(32)));
    const wrapped = { message, signature: derEcdsaSignature(encoded, 'sha256'), pcrs: PCRS };
    expect(await refusalFor(wrapped, p256)).toBeUndefined();
  });

  test('an ECDSA signature whose R or S is short verifies', async () => {
    const message = encodeAttest();
    for (let i = 0; i < 2000; i++) {
      const signature = parseTpmtSignature(await signTpmt(message, p256, ECDSA));
      if (signature.scheme !== 'ecdsa' || signature.r.length + signature.s.length === 64) continue;
      expect(await refusalFor({ message, signature, pcrs: PCRS }, p256)).toBeUndefined();
      return;
    }
    throw new Error('no short scalar in 2000 signatures');
  });

  test('a salt of another length, another hash and another scheme are refused', async () => {
    expect(await refusalFor(await quoteBy(rsa, { scheme: 'rsapss', saltLength: 20 }), rsa)).toBe(
      'SIGNATURE_INVALID',
    );
    const quote = await quoteBy(rsa);
    const { signature } = quote;
    if (signature.scheme === 'ecdsa') throw new Error('not reached');
    for (const change of [{ hash: 'sha384' }, { scheme: 'rsapss' }] as const) {
      expect(await refusalFor({ ...quote, signature: { ...signature, ...change } }, rsa)).toBe(
        'SIGNATURE_INVALID',
      );
    }
  });

  test('SHA-1 signatures are refused though they verify', async () => {
    const fields = { pcrDigest: digestOf('sha1') };
    expect(await refusalFor(await quoteBy(rsa, { hash: 'sha1' }, fields), rsa)).toBe('ALGORITHM_MISMATCH');
    expect(await refusalFor(await quoteBy(p256, { ...ECDSA, hash: 'sha1' }, fields), p256)).toBe(
      'ALGORITHM_MISMATCH',
    );
  });

  test('a signature of another kind than the key, another key and a weak key are refused', async () => {
    expect(await refusalFor(await quoteBy(rsa), p256)).toBe('ALGORITHM_MISMATCH');
    expect(await refusalFor(await quoteBy(p256, ECDSA), rsa)).toBe('ALGORITHM_MISMATCH');
    expect(await refusalFor(await quoteBy(p256, ECDSA), p384)).toBe('SIGNATURE_INVALID');
    expect(await refusalFor(await quoteBy(p384, ECDSA), p256)).toBe('SIGNATURE_INVALID');
    expect(await refusalFor(await quoteBy(await generateRsa()), rsa)).toBe('SIGNATURE_INVALID');
    const weak = await generateRsa('rsassa', 1024);
    expect(await refusalFor(await quoteBy(weak), weak)).toBe('ALGORITHM_MISMATCH');
  });

  test('a structure that is no quote is refused though the key signed it', async () => {
    expect(await refusalFor(await quoteBy(rsa, {}, { type: 0x8017 }), rsa)).toBe('UNSUPPORTED');
    expect(await refusalFor(await quoteBy(rsa, {}, { magic: 0 }), rsa)).toBe('MALFORMED');
  });
});

describe('PCR values of a quote', () => {
  const quoteOver = async (
    selection: readonly Selection[],
    pcrs: readonly PcrBank[],
    digest?: Uint8Array,
  ) => {
    const stated = digest ?? pcrDigest(selection, pcrs, 'sha256');
    return { ...(await quoteBy(p256, ECDSA, { selection, pcrDigest: stated })), pcrs };
  };
  const values = (
    hash: HashName,
    changes: readonly (readonly [number, Uint8Array | undefined])[],
  ): PcrBank => {
    const changed = new Map(mintPcrs(hash).values);
    for (const [index, value] of changes) {
      if (value) changed.set(index, value);
      else changed.delete(index);
    }
    return { hash, values: changed };
  };

  test('are digested with the hash of the scheme, whatever the bank', async () => {
    const selection = [{ hash: 'sha384', pcrs: [0, 4, 7] }] as const;
    const banks = [mintPcrs('sha384')];
    expect(await refusalFor(await quoteOver(selection, banks), p256)).toBeUndefined();
    const byBank = await quoteOver(selection, banks, pcrDigest(selection, banks, 'sha384'));
    expect(await refusalFor(byBank, p256)).toBe('PCR_MISMATCH');
  });

  test('cover several banks in the order of the selection, and no register beyond it', async () => {
    const selection = [
      { hash: 'sha384', pcrs: [9] },
      { hash: 'sha256', pcrs: [4, 8] },
    ] as const;
    const banks = [mintPcrs('sha256'), mintPcrs('sha384'), mintPcrs('sha1')];
    const evidence = await quoteOver(selection, banks);
    const quote = await verifyTpmQuote(evidence, await spkiOf(p256), { crypto: nodeCrypto });
    expect(quote.pcrs.map(({ hash, values: covered }) => [hash, [...covered.keys()]])).toEqual([
      ['sha384', [9]],
      ['sha256', [4, 8]],
    ]);
    const reversed = pcrDigest(selection.toReversed(), banks, 'sha256');
    expect(await refusalFor(await quoteOver(selection, banks, reversed), p256)).toBe('PCR_MISMATCH');
  });

  test('a changed, an absent, a short and a doubled value are refused', async () => {
    const quote = await quoteBy(p256, ECDSA);
    const code = (...pcrs: readonly PcrBank[]) => refusalFor({ ...quote, pcrs }, p256);
    expect(await code(values('sha256', [[4, new Uint8Array(32)]]))).toBe('PCR_MISMATCH');
    expect(await code(values('sha256', [[4, undefined]]))).toBe('EVIDENCE_INCOMPLETE');
    expect(await code(mintPcrs('sha384'))).toBe('EVIDENCE_INCOMPLETE');
    expect(await code()).toBe('EVIDENCE_INCOMPLETE');
    expect(await code(values('sha256', [[4, new Uint8Array(31)]]))).toBe('MALFORMED');
    expect(await code(mintPcrs('sha256'), mintPcrs('sha256'))).toBe('MALFORMED');
    expect(await code(mintPcrs('sha384'), mintPcrs('sha256'))).toBeUndefined();
  });

  test('two values swapped are refused', async () => {
    const [four, seven] = [4, 7].map((index) => PCRS[0]!.values.get(index)!);
    const swapped = values('sha256', [
      [4, seven],
      [7, four],
    ]);
    expect(await refusalFor({ ...(await quoteBy(p256, ECDSA)), pcrs: [swapped] }, p256)).toBe('PCR_MISMATCH');
  });

  test.each([
    ['no bank', []],
    ['a bank without registers', [{ hash: 'sha256', pcrs: [] }] as const],
  ])('a quote that selects %s is refused', async (_emptiness, selection) => {
    expect(await refusalFor(await quoteOver(selection, PCRS), p256)).toBe('EVIDENCE_INCOMPLETE');
  });
});

describe('the public area of the signing key', () => {
  const NULL_SCHEME = u16(0x0010);
  const withArea = async (fields: Parameters<typeof encodePublic>[1], keys = rsa) => {
    const publicArea = await encodePublic(keys, fields);
    const qualifiedSigner = primaryName(publicArea, 0x4000000b);
    return { ...(await quoteBy(rsa, {}, { qualifiedSigner })), publicArea };
  };

  test('is committed to by a primary key, and is of an attestation key', async () => {
    for (const scheme of [undefined, NULL_SCHEME]) {
      const evidence = await withArea(scheme ? { scheme } : {});
      const quote = await verifyTpmQuote(evidence, await spkiOf(rsa), {
        crypto: nodeCrypto,
        subject: 'vtpm',
      });
      expect(quote).toMatchObject({ hierarchy: 'endorsement', subject: 'vtpm' });
      expect(quote.checks[0]?.reason).toContain('endorsement');
    }
    const unbound = { ...(await quoteBy(rsa)), publicArea: await encodePublic(rsa) };
    const quote = await verifyTpmQuote(unbound, await spkiOf(rsa), { crypto: nodeCrypto });
    expect(quote.hierarchy).toBeUndefined();
  });

  test.each([
    ['not restricted', AK_ATTRIBUTES & ~(1 << 16)],
    ['not signing', AK_ATTRIBUTES & ~(1 << 18)],
    ['decrypting too', AK_ATTRIBUTES | (1 << 17)],
    ['to leave the TPM', AK_ATTRIBUTES & ~(1 << 1)],
    ['to leave its parent', AK_ATTRIBUTES & ~(1 << 4)],
    ['brought from outside', AK_ATTRIBUTES & ~(1 << 5)],
  ])('of a key that is %s is refused', async (_attribute, attributes) => {
    expect(await refusalFor(await withArea({ attributes }), rsa)).toBe('UNTRUSTED_KEY');
  });

  test('of another key, or bound to another scheme, is refused', async () => {
    expect(await refusalFor(await withArea({}, await generateRsa()), rsa)).toBe('UNTRUSTED_KEY');
    expect(await refusalFor(await withArea({}, p256), rsa)).toBe('UNTRUSTED_KEY');
    const pss = Uint8Array.of(0, 0x16, 0, 0x0b);
    expect(await refusalFor(await withArea({ scheme: pss }), rsa)).toBe('ALGORITHM_MISMATCH');
    const sha384 = Uint8Array.of(0, 0x14, 0, 0x0c);
    expect(await refusalFor(await withArea({ scheme: sha384 }), rsa)).toBe('ALGORITHM_MISMATCH');
    const { publicArea, ...quote } = await withArea({});
    expect(await refusalFor({ ...quote, publicArea: publicArea.subarray(1) }, rsa)).toBe('UNSUPPORTED');
  });
});

describe('mutated quotes', () => {
  test(
    'never verify with changed content, and throw nothing but refusals',
    async () => {
      const spkis = { rsa: await spkiOf(rsa), p256: await spkiOf(p256) };
      const originals = {
        rsa: { message: encodeAttest(), signature: await signTpmt(encodeAttest(), rsa) },
        p256: { message: encodeAttest(), signature: await signTpmt(encodeAttest(), p256, ECDSA) },
      };
      const change = fc.record({
        key: fc.constantFrom('rsa', 'p256'),
        part: fc.constantFrom('message', 'signature'),
        bits: fc.array(fc.nat(8 * 300), { minLength: 1, maxLength: 3 }),
      });
      await fc.assert(
        fc.asyncProperty(change, async ({ key, part, bits }) => {
          const original = originals[key];
          const changed = { ...original, [part]: flipped(original[part], ...bits) };
          if (toHex(changed[part]) === toHex(original[part])) return;
          const unreadable = refusalOf(() => parseTpmtSignature(changed.signature));
          if (unreadable) return;
          const evidence = { ...changed, signature: parseTpmtSignature(changed.signature), pcrs: PCRS };
          const refusal = await refusalOfAsync(() =>
            verifyTpmQuote(evidence, spkis[key], { crypto: nodeCrypto }),
          );
          expect(refusal?.check).toBe('cpu.vtpm-quote');
        }),
        propertyRuns(400),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'mutated PCR values never verify',
    async () => {
      const quote = await quoteBy(p256, ECDSA);
      const spki = await spkiOf(p256);
      await fc.assert(
        fc.asyncProperty(fc.nat(23), fc.nat(255), async (index, bit) => {
          const values = new Map(PCRS[0]!.values);
          values.set(index, flipped(values.get(index)!, bit));
          const evidence = { ...quote, pcrs: [{ hash: 'sha256', values }] as const };
          const refusal = await refusalOfAsync(() => verifyTpmQuote(evidence, spki, { crypto: nodeCrypto }));
          expect(refusal?.code).toBe('PCR_MISMATCH');
        }),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
