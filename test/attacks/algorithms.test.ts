import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { encodeRenewal, parseRenewal } from '../../attestation/archive/renewal.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { concat, fromHex, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { ALG, parseCoseKey } from '../../attestation/cose/key.ts';
import { encodeSign1, parseSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeKeyset, parseKeyset } from '../../attestation/keyset.ts';
import { verifyCheckpoint } from '../../attestation/log/checkpoint.ts';
import { cosignedBytes, verifyCosignature } from '../../attestation/log/cosignature.ts';
import { parseInclusionReceipt } from '../../attestation/log/coseReceipt.ts';
import { encodeInclusionReceipt, verifyLogReceipt } from '../../attestation/log/logReceipt.ts';
import { formatNote, parseNote } from '../../attestation/log/note.ts';
import { encodeVkey, KEY_TYPE, makeVkey, parseVkey } from '../../attestation/log/vkey.ts';
import { parseReceipt, verifyEntry } from '../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import { verifyTimestamp } from '../../attestation/time/timestamp.ts';
import * as der from '../../enclave/collect/simulated/der.ts';
import { formatOf, reencode } from '../../scripts/golden/formats.ts';
import { packageVersion, versionFolder } from '../../scripts/golden/versionIndex.ts';
import { refusalOf, refusalOfAsync } from '../support/refusal.ts';
import { algorithm, mintTimestampAuthority, TIMESTAMP_OIDS } from '../support/timestampAuthority.ts';
import { makeDraft, makeWorld, NOW, type World } from '../support/world.ts';

// Every durable format says by which algorithms it was made, and each is taken for the role of its key alone.

const ALG_LABEL = 1;
/** COSE ids that are not our keys': EdDSA without a curve, ES384, PS256, HMAC, none at all. */
const FOREIGN_ALGS: readonly number[] = [-8, -35, -37, 5, 0];

let worlds: Readonly<Record<'ES256' | 'Ed25519', World>>;
const receipts = new Map<string, Uint8Array>();

beforeAll(async () => {
  worlds = { ES256: await makeWorld(), Ed25519: await makeWorld({ algorithm: 'Ed25519' }) };
  for (const [name, { vouching }] of Object.entries(worlds)) {
    receipts.set(name, (await vouching.issue(makeDraft())).encoded);
  }
});

const KINDS = ['ES256', 'Ed25519'] as const;

/** An entry with another algorithm in its header, signed by the genuine key under that header. */
function renamed(entry: Uint8Array, alg: number, { keyring }: World): Uint8Array {
  const { protectedBytes, payload } = parseSign1(entry);
  const header = encodeDc(new Map(decodeDc(protectedBytes) as ReadonlyMap<number, Dc>).set(ALG_LABEL, alg));
  return encodeSign1(header, payload, keyring.receipt.sign(sigStructure(header, payload)));
}

function otherAlgs(kind: 'ES256' | 'Ed25519'): readonly number[] {
  return [kind === 'ES256' ? ALG.ed25519 : ALG.es256, ...FOREIGN_ALGS];
}

describe.each(KINDS)('under a key of %s', (kind) => {
  test('a receipt that names another algorithm is refused, though the key signed it', async () => {
    const world = worlds[kind];
    const { receipt: key, instance } = world.keyring.keyset;
    const genuine = receipts.get(kind)!;
    await verifyEntry(parseReceipt(genuine), key, instance, nodeCrypto);
    for (const alg of otherAlgs(kind)) {
      const forged = parseReceipt(renamed(genuine, alg, world));
      const refusal = await refusalOfAsync(() => verifyEntry(forged, key, instance, nodeCrypto));
      expect(refusal?.code).toBe('ALGORITHM_MISMATCH');
    }
  });

  test('a record that names another algorithm is refused, though the key signed it', async () => {
    const world = worlds[kind];
    const { receipt: key, instance } = world.keyring.keyset;
    const open = world.log.entries[0]!;
    await verifyEntry(parseRecord(open), key, instance, nodeCrypto);
    for (const alg of otherAlgs(kind)) {
      const forged = parseRecord(renamed(open, alg, world));
      const refusal = await refusalOfAsync(() => verifyEntry(forged, key, instance, nodeCrypto));
      expect(refusal?.code).toBe('ALGORITHM_MISMATCH');
    }
  });

  test('a COSE receipt of the log that names another algorithm is refused, though the key signed it', async () => {
    const { vouching, keyring, log } = worlds[kind];
    const entry = log.entries[0]!;
    const { protectedBytes, proof } = parseInclusionReceipt(await vouching.inclusion.inclusion(0));
    const own = keyring.keyset.inclusion.alg;
    const root = await log.root(proof.size);
    for (const alg of [ALG.es256, ALG.ed25519, ...FOREIGN_ALGS].filter((other) => other !== own)) {
      const header = encodeDc(
        new Map(decodeDc(protectedBytes) as ReadonlyMap<number, Dc>).set(ALG_LABEL, alg),
      );
      const signature = keyring.inclusion.sign(sigStructure(header, root));
      const forged = encodeInclusionReceipt(header, proof, signature);
      const refusal = await refusalOfAsync(() => verifyLogReceipt(forged, entry, keyring.keyset, nodeCrypto));
      expect(refusal?.code).toBe('ALGORITHM_MISMATCH');
    }
  });

  test('its key under the algorithm of the other is no key', () => {
    const { keyset } = worlds[kind].keyring;
    const map = decodeDc(encodeKeyset(keyset)) as ReadonlyMap<number, Dc>;
    const key = new Map(map.get(5) as ReadonlyMap<number, Dc>);
    expect(parseCoseKey(key, 'key')).toEqual(keyset.receipt);
    // COSE_Key: alg 3.
    for (const alg of otherAlgs(kind)) {
      expect(refusalOf(() => parseCoseKey(new Map(key).set(3, alg), 'key'))?.code).toBe('ALGORITHM_MISMATCH');
    }
  });
});

test('a keyset whose log key is of ES256 is refused: notes are of Ed25519', () => {
  const { keyset } = worlds.ES256.keyring;
  const other = { ...keyset, log: { ...keyset.receipt, x: new Uint8Array(32).fill(1) } };
  expect(refusalOf(() => parseKeyset(encodeKeyset(other)))?.code).toBe('ALGORITHM_MISMATCH');
});

describe('of a checkpoint', () => {
  const sha256 = sha256With(nodeCrypto);

  test.each([KEY_TYPE.cosignature, 0x02, 0x06, 0xff])(
    'a signature under the key id of type %d counts for nothing',
    async (type) => {
      const { keyset, log: signer } = worlds.ES256.keyring;
      const { text } = parseNote(worlds.ES256.log.checkpoints.at(-1)!);
      // The id binds the type: SHA-256(name || 0x0a || type || key).
      const hash = nodeCrypto.hash(
        'sha256',
        concat(utf8(keyset.origin), Uint8Array.of(0x0a, type), keyset.log.x),
      );
      const keyId = Number.parseInt(toHex(hash.subarray(0, 4)), 16);
      const note = formatNote(text, [{ name: keyset.origin, keyId, signature: signer.sign(utf8(text)) }]);
      const refusal = await refusalOfAsync(() =>
        verifyCheckpoint(note, keyset.origin, keyset.log.x, nodeCrypto),
      );
      expect(refusal?.code).toBe('SIGNATURE_INVALID');
    },
  );

  test('a plain signature is no cosignature, and a cosignature no plain one', async () => {
    const { keyset, log: signer } = worlds.ES256.keyring;
    const { text } = parseNote(worlds.ES256.log.checkpoints.at(-1)!);
    const witness = makeVkey(sha256, 'witness', keyset.log.x, KEY_TYPE.cosignature);
    const { name, keyId } = witness;
    const plain = formatNote(text, [{ name, keyId, signature: signer.sign(utf8(text)) }]);
    expect((await refusalOfAsync(() => verifyCosignature(parseNote(plain), witness, nodeCrypto)))?.code).toBe(
      'MALFORMED',
    );
    const own = makeVkey(sha256, keyset.origin, keyset.log.x);
    const timed = concat(new Uint8Array(8), signer.sign(cosignedBytes(0, utf8(text))));
    const note = formatNote(text, [{ name: own.name, keyId: own.keyId, signature: timed }]);
    const refusal = await refusalOfAsync(() =>
      verifyCheckpoint(note, keyset.origin, keyset.log.x, nodeCrypto),
    );
    expect(refusal?.code).toBe('SIGNATURE_INVALID');
  });

  test('the key of another type than its id is refused', () => {
    const witness = encodeVkey(makeVkey(sha256, 'witness', new Uint8Array(32).fill(1), KEY_TYPE.cosignature));
    const log = encodeVkey(makeVkey(sha256, 'witness', new Uint8Array(32).fill(1)));
    const mixed = `${witness.split('+').slice(0, 2).join('+')}+${log.split('+').slice(2).join('+')}`;
    expect(refusalOf(() => parseVkey(mixed, sha256))?.code).toBe('MALFORMED');
  });
});

describe('of a timestamp', () => {
  const authority = mintTimestampAuthority();
  const data = utf8('head of a log');

  test.each([
    ['a signature that is said to be of RSA', { signatureAlgorithm: algorithm('1.2.840.113549.1.1.11') }],
    [
      'a signature that is said to be of Ed25519',
      { signatureAlgorithm: der.sequence(der.oid('1.3.101.112')) },
    ],
    [
      'a signature that is said to be over SHA-384',
      { signatureAlgorithm: der.sequence(der.oid('1.2.840.10045.4.3.3')) },
    ],
    ['an imprint that is said to be of SHA-384', { imprintAlgorithm: algorithm(TIMESTAMP_OIDS.sha384) }],
    ['a digest that is said to be of SHA-512', { digestAlgorithm: algorithm(TIMESTAMP_OIDS.sha512) }],
  ])('%s is refused', async (_what, changes) => {
    const options = { data, anchors: [authority.anchor], crypto: nodeCrypto };
    await verifyTimestamp(authority.token(data, NOW), options);
    const refusal = await refusalOfAsync(() => verifyTimestamp(authority.token(data, NOW, changes), options));
    expect(refusal?.code).toMatch(/^(?:SIGNATURE_INVALID|MALFORMED|UNSUPPORTED|CERT_CHAIN_INVALID)$/);
  });
});

test('a renewal under the name of another hash is refused', () => {
  const root = new Uint8Array(64).fill(1);
  const segments = [{ name: 'renewals', root, count: 1, bytes: 1 }];
  const record = encodeRenewal({ hash: 'sha512', seq: 0, previous: undefined, segments, madeAt: 1 });
  const items = decodeDc(record) as readonly Dc[];
  for (const hash of ['sha384', 'sha256', 'sha1', 'md5']) {
    expect(refusalOf(() => parseRenewal(encodeDc(items.with(1, hash))))?.code).toMatch(
      /^(?:MALFORMED|UNSUPPORTED)$/,
    );
  }
});

describe('formats without a field of their own name their algorithms by their version', () => {
  const folder = versionFolder(packageVersion());
  const read = (name: string): Uint8Array => new Uint8Array(readFileSync(join(folder, name)));

  test.each([
    ['bundle.witnessed.cbor', 'vouchsafe/bundle/1'],
    ['disclosure.cbor', 'vouchsafe/disclosure/1'],
    ['keyset.cbor', 'vouchsafe/keyset/1'],
    ['statement.cbor', 'vouchsafe/binding/1'],
    ['anchor.cbor', 'vouchsafe/anchor/1'],
    ['renewal.cbor', 'vouchsafe/renewal/1'],
    ['operator.cose', 'vouchsafe/operator-statement/1'],
    ['receipt.cose', 'vouchsafe,2026:receipt/1'],
    ['record.open.cose', 'vouchsafe,2026:record/1'],
    ['evidence.cited.cbor', 'vouchsafe,2026:evidence/1'],
    ['policy.simulated.json', 'vouchsafe/policy/1'],
    ['manifest.json', 'vouchsafe/export/1'],
    ['revocations.json', 'vouchsafe/revocations/1'],
    ['content.cbor', 'vouchsafe/archived-content/1'],
  ])('%s of another version than %s is refused', (name, label) => {
    const hex = Buffer.from(read(name)).toString('hex');
    const at = Buffer.from(label).toString('hex');
    expect(hex.split(at)).toHaveLength(2);
    const next = Buffer.from(label.replace(/1$/, '2')).toString('hex');
    expect(() => reencode(formatOf(name)!, fromHex(hex.replace(at, next)))).toThrow();
  });

  test('the parts of a bundle have their versions as well', () => {
    const { cited } = parseBundle(read('bundle.witnessed.cbor'));
    const text = Buffer.from(cited).toString('latin1');
    for (const label of [
      'vouchsafe/keyset/1',
      'vouchsafe/binding/1',
      'vouchsafe/devices/1',
      'vouchsafe/cpu/',
    ]) {
      expect(text).toContain(label);
    }
  });
});
