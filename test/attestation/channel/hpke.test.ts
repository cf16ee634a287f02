import { randomBytes } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../attestation/bytes/bytes.ts';
import { openAll, openRequest, sealRequest, type OpenedRequest } from '../../../attestation/channel/hpke.ts';
import { libraryRuntime, type HpkeRuntime } from '../../../attestation/channel/runtime.ts';
import {
  chooseSuite,
  ENC_BYTES,
  hpkeSuite,
  hybridSuite,
  librarySender,
} from '../../../attestation/channel/suites.ts';
import {
  hybridNodeRuntime,
  nodeRuntime,
  nodeSender,
  sendUnder,
} from '../../../attestation/crypto/nodeHpke.ts';
import { agreementKey } from '../../../attestation/crypto/openssl.ts';
import { Refusal } from '../../../attestation/errors.ts';
import {
  encodeKeyset,
  HPKE_SUITE,
  HYBRID_SUITE,
  parseKeyset,
  type HpkeKey,
  type Keyset,
} from '../../../attestation/keyset.ts';
import type { Keyring } from '../../../enclave/keys/keyring.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeKeyring } from '../../support/world.ts';

let keyring: Keyring;
let runtimes: readonly (readonly [CryptoKey, HpkeKey, readonly HpkeRuntime[]])[];
beforeAll(async () => {
  keyring = await makeKeyring();
  const { keyset, hpke, hybrid } = keyring;
  runtimes = [
    [hpke.privateKey, chooseSuite(keyset, 'x25519'), [libraryRuntime(hpkeSuite()), nodeRuntime]],
    [
      hybrid.privateKey,
      chooseSuite(keyset, 'hybrid'),
      [libraryRuntime(await hybridSuite()), hybridNodeRuntime],
    ],
  ];
});

const PLAIN = Buffer.from('{"model":"fake"}');

function isRefused(opening: Promise<unknown>): Promise<boolean> {
  return opening.then(
    () => false,
    (error: unknown) => {
      if (error instanceof Refusal) return true;
      throw error;
    },
  );
}

describe('a sealed exchange', () => {
  test('opens under both suites on both runtimes, which seal the same bytes', async () => {
    for (const [[privateKey, entry, both], sender] of runtimes.flatMap((suite) =>
      [librarySender, nodeSender].map((each) => [suite, each] as const),
    )) {
      const sealed = await sealRequest(entry, PLAIN, sender);
      expect(sealed.enc.length).toBe(entry.kem === HPKE_SUITE.kem ? ENC_BYTES.x25519 : ENC_BYTES.hybrid);
      const nonce = randomBytes(32);
      const answers: Uint8Array[] = [];
      for (const runtime of both) {
        const opened = await openRequest(privateKey, sealed.enc, sealed.body, runtime);
        expect(Buffer.from(opened.plaintext).equals(PLAIN)).toBe(true);
        answers.push(await answerOf(opened, nonce));
      }
      expect(Buffer.compare(answers[0]!, answers[1]!)).toBe(0);
      const contents = await openAll(await sealed.opener(nonce), answers[0]!);
      expect(Buffer.concat(contents).toString()).toBe('headbody');
    }
  });

  test('under X25519 is sealed as the library seals it with the same ephemeral key', async () => {
    const [[privateKey, { publicKey }]] = runtimes as [(typeof runtimes)[number]];
    const suite = hpkeSuite();
    const ephemeral = await suite.kem.generateKeyPair();
    const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey);
    const [info, aad, label] = [Buffer.from('info'), Buffer.from('aad'), Buffer.from('label')];
    const library = await suite.createSenderContext({ recipientPublicKey, info, ekm: ephemeral });
    const own = sendUnder(agreementKey(ephemeral.privateKey), publicKey, info);
    expect(Buffer.from(own.enc).equals(Buffer.from(library.enc))).toBe(true);
    for (const text of [PLAIN, Buffer.alloc(0), Buffer.alloc(3000, 7)]) {
      const expected = Buffer.from(await library.seal(text, aad));
      expect(Buffer.from(own.seal(text, aad)).equals(expected)).toBe(true);
    }
    expect(Buffer.from(own.export(label, 32)).equals(Buffer.from(await library.export(label, 32)))).toBe(
      true,
    );
    const received = nodeRuntime.receive(privateKey, own.enc, info);
    expect(() => received.open(own.seal(PLAIN))).toThrow();
  });

  test('is sealed to no key of a suite that is unknown, nor to a point of small order', async () => {
    const [[, entry]] = runtimes as [(typeof runtimes)[number]];
    const zero = { ...entry, publicKey: new Uint8Array(32) };
    for (const sender of [librarySender, nodeSender]) {
      await expect(sealRequest({ ...entry, kem: 0x1234 }, PLAIN, sender)).rejects.toThrow(Refusal);
      await expect(sealRequest(zero, PLAIN, sender)).rejects.toThrow();
    }
  });

  test('hides the length of a short text', async () => {
    const [[, entry]] = runtimes as [(typeof runtimes)[number]];
    const lengths = await Promise.all(
      [1, 100, 251].map(async (length) => (await sealRequest(entry, new Uint8Array(length))).body.length),
    );
    expect(new Set(lengths).size).toBe(1);
  });

  test('opens under no key of another suite, and no encapsulated key of small order', async () => {
    const [classical, hybrid] = runtimes as [(typeof runtimes)[number], (typeof runtimes)[number]];
    const sealed = await sealRequest(classical[1], PLAIN);
    for (const runtime of [...classical[2], ...hybrid[2]]) {
      expect(await isRefused(openRequest(hybrid[0], sealed.enc, sealed.body, runtime))).toBe(true);
      const zero = new Uint8Array(sealed.enc.length);
      expect(await isRefused(openRequest(classical[0], zero, sealed.body, runtime))).toBe(true);
    }
  });

  test(
    'altered, cut, continued or reordered anywhere it is refused, both ways',
    async () => {
      const [[privateKey, entry]] = runtimes as [(typeof runtimes)[number]];
      const sealed = await sealRequest(entry, PLAIN);
      const opened = await openRequest(privateKey, sealed.enc, sealed.body, nodeRuntime);
      const nonce = randomBytes(32);
      const answer = await answerOf(opened, nonce);
      await fc.assert(
        fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 255 }), async (at, bits) => {
          for (const [bytes, open] of [
            [sealed.body, (body) => openRequest(privateKey, sealed.enc, body, nodeRuntime)],
            [answer, async (body) => openAll(await sealed.opener(nonce), body)],
          ] as readonly [Uint8Array, (body: Uint8Array) => Promise<unknown>][]) {
            const altered = bytes.slice();
            altered[at % bytes.length]! ^= bits;
            expect(await isRefused(open(altered))).toBe(true);
            expect(await isRefused(open(bytes.subarray(0, at % bytes.length)))).toBe(true);
            expect(await isRefused(open(concat(bytes, bytes.subarray(0, 1 + (at % bytes.length)))))).toBe(
              true,
            );
          }
        }),
        propertyRuns(40),
      );
      const half = answer.length / 2;
      const swapped = concat(answer.subarray(half), answer.subarray(0, half));
      expect(await isRefused(sealed.opener(nonce).then((opener) => openAll(opener, swapped)))).toBe(true);
    },
    PROPERTY_TIMEOUT,
  );
});

async function answerOf(opened: OpenedRequest, nonce: Uint8Array): Promise<Uint8Array> {
  const sealer = await opened.sealer(nonce);
  return concat(await sealer.seal(Buffer.from('head'), false), await sealer.seal(Buffer.from('body'), true));
}

describe('the HPKE keys of a keyset', () => {
  const key = (ids: Pick<HpkeKey, 'kem' | 'kdf' | 'aead'>, length: number, byte = 1): HpkeKey => ({
    ...ids,
    publicKey: new Uint8Array(length).fill(byte),
  });
  const classical = key(HPKE_SUITE, 32);
  const withKeys = (hpke: readonly HpkeKey[]): Keyset =>
    parseKeyset(encodeKeyset({ ...keyring.keyset, hpke }));

  test('may be one, as older keysets have it, or hold suites that nobody here knows', () => {
    const unknown = key({ kem: 0x1234, kdf: 1, aead: 2 }, 77, 2);
    expect(withKeys([classical]).hpke).toHaveLength(1);
    const { hpke } = withKeys([classical, unknown]);
    expect(hpke).toHaveLength(2);
    expect(chooseSuite({ hpke }, 'auto')).toEqual(classical);
    expect(() => chooseSuite({ hpke }, 'hybrid')).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }));
    expect(() => chooseSuite({ hpke: [unknown] }, 'auto')).toThrow(Refusal);
  });

  test('are chosen as the caller wants', () => {
    const { keyset } = keyring;
    expect(chooseSuite(keyset, 'x25519').kem).toBe(HPKE_SUITE.kem);
    expect(chooseSuite(keyset, 'hybrid').kem).toBe(HYBRID_SUITE.kem);
    expect(chooseSuite(keyset, 'auto').kem).toBe(HYBRID_SUITE.kem);
  });

  test.each<[string, readonly HpkeKey[]]>([
    ['hybrid-first', [key(HYBRID_SUITE, 1216), key(HPKE_SUITE, 32, 2)]],
    ['hybrid-short', [classical, key(HYBRID_SUITE, 1215)]],
    ['hybrid-long', [classical, key(HYBRID_SUITE, 1217)]],
    ['x25519-of-another-aead-short', [classical, key({ ...HPKE_SUITE, aead: 1 }, 31, 2)]],
    ['suite-twice', [classical, key(HPKE_SUITE, 32, 2)]],
    ['key-twice', [classical, key({ kem: 0x1234, kdf: 1, aead: 2 }, 32)]],
    ['empty-key', [classical, key({ kem: 0x1234, kdf: 1, aead: 2 }, 0)]],
    ['endless-key', [classical, key({ kem: 0x1234, kdf: 1, aead: 2 }, 8193)]],
    ['kem-beyond-16-bits', [classical, key({ kem: 0x1647a, kdf: 1, aead: 2 }, 1216)]],
    ['none', []],
    ['five', [1, 2, 3, 4, 5].map((kdf) => key({ ...HPKE_SUITE, kdf }, 32, kdf))],
  ])('%s is refused', (_name, hpke) => {
    expect(() => withKeys(hpke)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });
});
