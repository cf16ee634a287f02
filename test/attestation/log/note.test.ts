import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { encodeCheckpoint, parseCheckpoint, verifyCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { cosignedBytes, verifyCosignature } from '../../../attestation/log/cosignature.ts';
import { emptyRoot } from '../../../attestation/log/merkle.ts';
import { formatNote, parseNote, verifyNote, type NoteSignature } from '../../../attestation/log/note.ts';
import {
  ed25519OfSpki,
  ed25519Spki,
  ed25519Verifier,
  encodeVkey,
  makeVkey,
  parseVkey,
  type Vkey,
} from '../../../attestation/log/vkey.ts';
import { describeCorpus } from '../../support/corpus.ts';

const sha256 = sha256With(nodeCrypto);

async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

interface NoteVector {
  readonly name: string;
  readonly trusted_vkeys: readonly string[];
  readonly note_base64: string;
  readonly want: 'verified' | 'reject';
  readonly verified_by?: readonly string[];
}

describeCorpus('signed note vectors', 'standards/vectors/tlog', (directory) => {
  const read = (file: string): unknown => JSON.parse(readFileSync(join(directory, file), 'utf8'));

  test.each((read('signed-note.json') as { vectors: NoteVector[] }).vectors.map((v) => [v.name, v] as const))(
    'note %s',
    async (_name, vector) => {
      const keys = vector.trusted_vkeys.map((vkey) => ed25519Verifier(parseVkey(vkey, sha256), nodeCrypto));
      const verifying = async () => verifyNote(parseNote(fromBase64(vector.note_base64)), keys);
      if (vector.want === 'reject') {
        expect(await codeOf(verifying)).toMatch(/^(MALFORMED|SIGNATURE_INVALID)$/);
      } else {
        const { signers } = await verifying();
        expect(signers.map(({ name }) => name)).toEqual(vector.verified_by);
      }
    },
  );

  interface VkeyVector {
    readonly name: string;
    readonly vkey: string;
    readonly valid: boolean;
  }
  test.each((read('vkey.json') as { vectors: VkeyVector[] }).vectors.map((v) => [v.name, v] as const))(
    'vkey %s',
    async (_name, { vkey, valid }) => {
      expect((await codeOf(() => parseVkey(vkey, sha256))) === 'accepted').toBe(valid);
      if (valid) expect(encodeVkey(parseVkey(vkey, sha256))).toBe(vkey);
    },
  );

  test('cosignature beside a signature of another type', async () => {
    const { vectors } = read('cosignatures.json') as {
      vectors: { cosigner_vkey: string; checkpoint: string }[];
    };
    for (const { cosigner_vkey, checkpoint } of vectors) {
      const vkey = parseVkey(cosigner_vkey, sha256);
      const { time } = await verifyCosignature(parseNote(utf8(checkpoint)), vkey, portableCrypto);
      expect(time).toBe(Date.UTC(2025, 11, 31) / 1000);
      const later = parseNote(utf8(checkpoint.replace('\n300\n', '\n301\n')));
      expect(await codeOf(() => verifyCosignature(later, vkey, nodeCrypto))).toBe('SIGNATURE_INVALID');
    }
  });

  test('checkpoints of a C2SP log at every size', async () => {
    const log = read('tessera-log.json') as {
      origin: string;
      vkey: string;
      checkpoints: Record<string, string>;
    };
    const { publicKey } = parseVkey(log.vkey, sha256);
    for (const [size, text] of Object.entries(log.checkpoints)) {
      const checkpoint = await verifyCheckpoint(utf8(text), log.origin, publicKey, portableCrypto);
      expect(checkpoint.size).toBe(Number(size));
      expect(encodeCheckpoint(checkpoint)).toBe(checkpoint.note.text);
      const forged = utf8(text.replace(`\n${size}\n`, '\n77\n'));
      expect(await codeOf(() => verifyCheckpoint(forged, log.origin, publicKey, nodeCrypto))).toBe(
        'SIGNATURE_INVALID',
      );
    }
  });
});

interface Signer {
  readonly vkey: Vkey;
  readonly key: KeyObject;
}

function makeSigner(name: string, type: 0x01 | 0x04 = 0x01): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = ed25519OfSpki(publicKey.export({ type: 'spki', format: 'der' }));
  return { vkey: makeVkey(sha256, name, raw, type), key: privateKey };
}

function signText({ vkey, key }: Signer, text: string): NoteSignature {
  return { name: vkey.name, keyId: vkey.keyId, signature: sign(null, utf8(text), key) };
}

const log = makeSigner('example.org/vouchsafe/00');
const other = makeSigner('other.example.org');
const body = { origin: log.vkey.name, size: 3, root: new Uint8Array(32).fill(7), extensions: ['x y'] };

describe('signed notes', () => {
  const text = 'first\n\nsecond\n';
  const line = (signer: Signer) => signText(signer, text);

  test('the text may hold blank lines: the last one splits', async () => {
    const note = parseNote(formatNote(text, [line(log), line(other)]));
    expect(note.text).toBe(text);
    const { signers } = await verifyNote(note, [ed25519Verifier(log.vkey, nodeCrypto)]);
    expect(signers).toHaveLength(1);
  });

  test('100 signatures go, 101 do not', async () => {
    const many = (count: number) => formatNote(text, Array(count).fill(line(other)) as NoteSignature[]);
    expect(parseNote(many(100)).signatures).toHaveLength(100);
    expect(await codeOf(() => parseNote(many(101)))).toBe('MALFORMED');
  });

  test('a bad second signature of a known key rejects the note', async () => {
    const bad = { ...line(log), signature: new Uint8Array(64) };
    const note = parseNote(formatNote(text, [line(log), bad]));
    expect(await codeOf(() => verifyNote(note, [ed25519Verifier(log.vkey, nodeCrypto)]))).toBe(
      'SIGNATURE_INVALID',
    );
  });

  test.each([
    ['empty', ''],
    ['no final newline', 'a\n\n— n AAAAAAA='],
    ['control character', 'a\tb\n\n— n AAAAAAA=\n'],
    ['carriage return', 'a\r\n\n— n AAAAAAA=\n'],
    ['hyphen for em dash', 'a\n\n- n AAAAAAA=\n'],
    ['name with plus', 'a\n\n— n+m AAAAAAA=\n'],
    ['two spaces', 'a\n\n—  n AAAAAAA=\n'],
    ['no-break space in the name', 'a\n\n— n\u00a0m AAAAAAA=\n'],
    ['base64 without padding', 'a\n\n— n AAAAAAA\n'],
    ['key id only', 'a\n\n— n AAAAAA==\n'],
    ['text after signatures', 'a\n\n— n AAAAAAA=\nmore\n'],
  ])('refuses a note: %s', async (_name, note) => {
    expect(await codeOf(() => parseNote(utf8(note)))).toBe('MALFORMED');
  });

  test('refuses a note beyond the size bound', async () => {
    expect(await codeOf(() => parseNote(new Uint8Array(1_000_001).fill(0x61)))).toBe('MALFORMED');
  });

  test('raw Ed25519 keys go to SubjectPublicKeyInfo and back', async () => {
    expect(toHex(ed25519OfSpki(ed25519Spki(log.vkey.publicKey)))).toBe(toHex(log.vkey.publicKey));
    expect(await codeOf(() => ed25519OfSpki(new Uint8Array(44)))).toBe('MALFORMED');
    expect(await codeOf(() => ed25519OfSpki(new Uint8Array(0)))).toBe('MALFORMED');
  });
});

describe('checkpoints', () => {
  const text = encodeCheckpoint(body);
  const verify = (bytes: Uint8Array, origin = body.origin) =>
    verifyCheckpoint(bytes, origin, log.vkey.publicKey, nodeCrypto);

  test('keep extension lines', async () => {
    const checkpoint = await verify(formatNote(text, [signText(other, text), signText(log, text)]));
    expect(checkpoint).toMatchObject({ origin: body.origin, size: 3, extensions: ['x y'] });
  });

  test('of another log are refused before any signature', async () => {
    const bytes = formatNote(text, [signText(log, text)]);
    expect(await codeOf(() => verify(bytes, 'example.org/vouchsafe/01'))).toBe('CHECKPOINT_MISMATCH');
  });

  test('of an empty log have the empty root', async () => {
    const signed = (root: Uint8Array) => {
      const empty = encodeCheckpoint({ ...body, size: 0, root });
      return formatNote(empty, [signText(log, empty)]);
    };
    expect(await codeOf(() => verify(signed(body.root)))).toBe('CHECKPOINT_MISMATCH');
    expect(await codeOf(() => verify(signed(emptyRoot(sha256))))).toBe('accepted');
  });

  const root = 'BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=';
  test.each([
    ['leading zero', `o\n03\n${root}\n`],
    ['plus sign', `o\n+3\n${root}\n`],
    ['size beyond 2^53-1', `o\n9007199254740992\n${root}\n`],
    ['exponent', `o\n1e3\n${root}\n`],
    ['no origin', `\n3\n${root}\n`],
    ['root of 31 bytes', 'o\n3\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==\n'],
    ['two lines', 'o\n3\n'],
    ['empty extension line', `o\n3\n${root}\n\n`],
    ['no final newline', `o\n3\n${root}`],
  ])('refuse: %s', async (_name, bad) => {
    expect(await codeOf(() => parseCheckpoint(bad))).toBe('MALFORMED');
  });
});

describe('cosignatures', () => {
  const witness = makeSigner('witness.example.org', 0x04);
  const text = encodeCheckpoint(body);

  function cosign(time: number, over = text): NoteSignature {
    const stamp = new Uint8Array(72);
    new DataView(stamp.buffer).setBigUint64(0, BigInt(time));
    stamp.set(sign(null, cosignedBytes(time, utf8(over)), witness.key), 8);
    return { name: witness.vkey.name, keyId: witness.vkey.keyId, signature: stamp };
  }

  const verify = (...signatures: NoteSignature[]) =>
    verifyCosignature(
      parseNote(formatNote(text, [signText(log, text), ...signatures])),
      witness.vkey,
      nodeCrypto,
    );

  test('the earliest of several counts', async () => {
    expect((await verify(cosign(2000), cosign(1000))).time).toBe(1000);
  });

  test('a moved time, a plain signature and none at all are refused', async () => {
    const moved = cosign(1000);
    moved.signature[7]! ^= 1;
    expect(await codeOf(() => verify(moved))).toBe('SIGNATURE_INVALID');
    expect(await codeOf(() => verify(signText(witness, text)))).toBe('MALFORMED');
    expect(await codeOf(() => verify())).toBe('SIGNATURE_INVALID');
  });
});
