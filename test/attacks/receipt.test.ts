import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle, appraiseReceipt } from '../../attestation/appraise.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { ALG } from '../../attestation/cose/key.ts';
import { encodeSign1, parseSign1 } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeDocument, parseDocument, documentDigest } from '../../attestation/evidence/document.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { SIMULATED_POLICY, DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import { encodeClaims } from '../../attestation/receipt/claims.ts';
import { provesEquivocation, provesFork, provesSplitView } from '../../attestation/receipt/misbehaviour.ts';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import type { Exchange } from '../../attestation/receipt/appraise.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { generateSigningKey } from '../../enclave/keys/signing.ts';
import { ChunkHasher } from '../../src/receipts/chunks.ts';
import { Vouching } from '../../src/receipts/vouching.ts';
import { rebundle, resign, signReceipt } from '../support/forgery.ts';
import { MemoryLog } from '../support/memoryLog.ts';
import {
  contextOf,
  failures,
  issueBundle,
  makeDraft,
  makeKeyring,
  makeWorld,
  NOW,
  policyOf,
  type Bundled,
  type World,
} from '../support/world.ts';

// Rows of the attack table that a verifier of receipts and bundles must catch or must say.

let world: World;
let genuine: Bundled;
let other: Bundled;

beforeAll(async () => {
  world = await makeWorld();
  genuine = await issueBundle(world);
  other = await issueBundle(world);
});

async function judge(
  bundle: Uint8Array,
  exchange: Exchange = {},
  changes: Partial<AppraisalContext> = {},
): Promise<Verdict> {
  return (await appraiseBundle(bundle, exchange, contextOf(changes))).verdict;
}

const withReceipt = (receipt: Uint8Array) => rebundle(genuine.bundle, () => ({ receipt }));
const receiptKey = () => world.keyring.receipt;
const instance = () => world.keyring.keyset.instance;

test('a genuine bundle is accepted, offline, as a warning because it is simulated', async () => {
  const verdict = await judge(genuine.bundle);
  expect(failures(verdict)).toEqual([]);
  expect(verdict).toMatchObject({ decision: 'accepted', tier: 'warning' });
});

describe('backdate', () => {
  test('old evidence with the collateral of its day is judged now', async () => {
    const YEARS = 3 * 365 * 86_400_000;
    const old = await makeWorld({ hardware: { now: () => new Date(NOW - YEARS) } });
    const { bundle } = await issueBundle(old);
    expect(failures(await judge(bundle))).toContain('cited cpu: cpu.revocation CRL_EXPIRED');
  });

  test('an old iat moves no window', async () => {
    const receipt = resign(genuine.issued.encoded, { issuedAt: 1 }, receiptKey(), instance());
    const verdict = await judge(withReceipt(receipt));
    expect(verdict.judgedAt).toBe(new Date(NOW).toISOString());
  });

  test('a time that contradicts the keyset or the judge is refused', async () => {
    for (const issuedAt of [NOW / 1000 + 3600, NOW / 1000 + 40 * 86_400]) {
      const receipt = resign(genuine.issued.encoded, { issuedAt }, receiptKey(), instance());
      expect(failures(await judge(withReceipt(receipt)))).toContain(
        'receipt: receipt.time TIME_CONTRADICTION',
      );
    }
  });
});

test('bundled-policy: what the bundle says of itself changes nothing', async () => {
  const lax = { ...SIMULATED_POLICY, coverage: 'warning', simulated: ['cpu', 'gpu'] };
  const dressed = rebundle(genuine.bundle, () => ({
    policy: JSON.stringify(lax),
    verdict: JSON.stringify({ decision: 'accepted', tier: 'affirming' }),
  }));
  const [plain, withPolicy] = [
    await judge(genuine.bundle, {}, { policy: DEFAULT_POLICY }),
    await judge(dressed, {}, { policy: DEFAULT_POLICY }),
  ];
  expect(withPolicy).toEqual(plain);
  expect(withPolicy.decision).toBe('refused');
});

test('es256-flip', async () => {
  const P256_ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const { protectedBytes, payload, signature } = parseSign1(genuine.issued.encoded);
  const s = BigInt(`0x${toHex(signature.subarray(32))}`);
  const flipped = Buffer.from((P256_ORDER - s).toString(16).padStart(64, '0'), 'hex');
  const receipt = encodeSign1(protectedBytes, payload, concat(signature.subarray(0, 32), flipped));
  expect(failures(await judge(withReceipt(receipt)))).toContain(
    'receipt: receipt.signature SIGNATURE_MALLEABLE',
  );
});

describe('outer-reencode', () => {
  const parts = () => parseSign1(genuine.issued.encoded);
  test.each<[string, () => Uint8Array, string]>([
    ['missing tag', () => genuine.issued.encoded.subarray(1), 'MALFORMED'],
    [
      'filled unprotected header',
      () => {
        const { protectedBytes, payload, signature } = parts();
        const header = new Map<number, Dc>([[4, new Uint8Array(1)]]);
        return concat(Uint8Array.of(0xd2), encodeDc([protectedBytes, header, payload, signature]));
      },
      'MALFORMED',
    ],
    [
      'long length',
      () => {
        const { encoded } = genuine.issued;
        // The signature is 58 40 and 64 bytes: write its length in two bytes.
        return concat(encoded.subarray(0, -66), Uint8Array.of(0x59, 0x00, 0x40), encoded.subarray(-64));
      },
      'NOT_CANONICAL',
    ],
    ['trailing byte', () => concat(genuine.issued.encoded, Uint8Array.of(0)), 'MALFORMED'],
  ])('%s', async (_name, receipt, code) => {
    expect(failures(await judge(withReceipt(receipt())))).toContain(`receipt: receipt.format ${code}`);
  });
});

describe('float-claim', () => {
  const payload = () => parseSign1(genuine.issued.encoded).payload;
  /** `-65537: index` in its one encoding: 3a 00010000 and a small integer. */
  const indexAt = () => Buffer.from(payload()).indexOf(Buffer.from('3a00010000', 'hex')) + 5;
  test.each<[string, () => Uint8Array, string]>([
    [
      'index as float',
      () =>
        concat(
          payload().subarray(0, indexAt()),
          Buffer.from('f94000', 'hex'),
          payload().subarray(indexAt() + 1),
        ),
      'NOT_CANONICAL',
    ],
    [
      'non-shortest integer',
      () =>
        concat(
          payload().subarray(0, indexAt()),
          Buffer.from('1802', 'hex'),
          payload().subarray(indexAt() + 1),
        ),
      'NOT_CANONICAL',
    ],
    [
      'duplicate map key',
      () => {
        const bytes = Buffer.from(payload());
        const count = bytes[0]! & 0x1f;
        const extra = bytes.subarray(indexAt() - 5, indexAt() + 1);
        return concat(Uint8Array.of(0xa0 | (count + 1)), bytes.subarray(1), extra);
      },
      'MALFORMED',
    ],
  ])('%s, signed by a stolen key', async (_name, changed, code) => {
    const receipt = signReceipt(changed(), receiptKey(), instance(), 'test-model');
    expect(failures(await judge(withReceipt(receipt)))).toContain(`receipt: receipt.format ${code}`);
  });
});

describe('equivocate', () => {
  test('two payloads at one index are a proof', async () => {
    const second = resign(genuine.issued.encoded, { path: '/v1/other' }, receiptKey(), instance());
    const { keyset } = world.keyring;
    expect(await provesEquivocation(genuine.issued.encoded, second, keyset, nodeCrypto)).toBe(true);
  });

  test('two signatures over one payload are none, nor are two indexes', async () => {
    const again = resign(genuine.issued.encoded, {}, receiptKey(), instance());
    const { keyset } = world.keyring;
    expect(await provesEquivocation(genuine.issued.encoded, again, keyset, nodeCrypto)).toBe(false);
    expect(await provesEquivocation(genuine.issued.encoded, other.issued.encoded, keyset, nodeCrypto)).toBe(
      false,
    );
  });

  test('an accusation whose signature does not verify is refused', async () => {
    const thief = generateSigningKey(ALG.es256);
    const forged = resign(genuine.issued.encoded, { path: '/x' }, thief, instance());
    await expect(
      provesEquivocation(genuine.issued.encoded, forged, world.keyring.keyset, nodeCrypto),
    ).rejects.toMatchObject({ code: 'ALGORITHM_MISMATCH' });
  });
});

describe('omit', () => {
  test('another leaf at the index', async () => {
    const receipt = resign(genuine.issued.encoded, { path: '/v1/other' }, receiptKey(), instance());
    expect(failures(await judge(withReceipt(receipt)))).toEqual(['log: log.inclusion INCLUSION_INVALID']);
  });

  test('the receipt of another index', async () => {
    const verdict = await judge(withReceipt(other.issued.encoded));
    expect(verdict.decision).toBe('refused');
  });

  test('index beyond a final size', async () => {
    const ended = await makeWorld();
    const first = await issueBundle(ended);
    await ended.vouching.stop();
    const final = parseDocument(ended.log.documents.at(-1)!);
    expect(final.statement.final).toBe(true);
    const receipt = resign(
      first.issued.encoded,
      { index: final.statement.logSize, evidenceDigest: documentDigest(final.encoded, nodeCrypto) },
      ended.keyring.receipt,
      ended.keyring.keyset.instance,
    );
    const context = contextOf({ collateral: ended.collateral });
    const { verdict } = await appraiseReceipt(receipt, final.encoded, {}, context);
    expect(failures(verdict)).toContain('log: log.cited INDEX_OUT_OF_RANGE');
  });
});

test('rewrite-prefix', async () => {
  const rewritten = rebundle(genuine.bundle, ({ covering }) => ({
    covering: {
      ...covering!,
      consistency: covering!.consistency.map((hash) => hash.map((byte) => byte ^ 1)),
    },
  }));
  expect(failures(await judge(rewritten))).toEqual(['log: log.consistency CONSISTENCY_INVALID']);
});

test('tail-forge: signed by a stolen key at the next index, without later evidence', async () => {
  const index = world.log.size;
  const receipt = resign(genuine.issued.encoded, { index }, receiptKey(), instance());
  const forged = rebundle(genuine.bundle, () => ({ receipt, covering: undefined }));
  const verdict = await judge(forged);
  expect(verdict).toMatchObject({ decision: 'accepted', tier: 'warning' });
  expect(verdict.checks).toContainEqual(
    expect.objectContaining({ id: 'log.covered', code: 'RECEIPT_UNCOVERED' }),
  );
  const strict = await judge(forged, {}, { policy: policyOf({ coverage: 'required' }) });
  expect(failures(strict)).toEqual(['log: log.covered RECEIPT_UNCOVERED']);
});

test('cite-future', async () => {
  const later = world.vouching.head;
  const receipt = resign(genuine.issued.encoded, { evidenceDigest: later.digest }, receiptKey(), instance());
  const bundle = rebundle(genuine.bundle, () => ({ receipt, cited: later.encoded, covering: undefined }));
  expect(failures(await judge(bundle))).toEqual(['log: log.cited INDEX_OUT_OF_RANGE']);
});

test('an older evidence document than the one cited', async () => {
  const bundle = rebundle(other.bundle, () => ({ cited: world.log.documents[0]! }));
  expect(failures(await judge(bundle))).toContain('receipt: receipt.evidence EVIDENCE_MISMATCH');
});

test('an older evidence document in place of the later one', async () => {
  const bundle = rebundle(other.bundle, ({ covering }) => ({
    covering: { ...covering!, document: world.log.documents[0]! },
  }));
  expect(failures(await judge(bundle))).toContain('log: log.covering CHECKPOINT_MISMATCH');
});

test('cross-generation', async () => {
  const receipt = resign(
    genuine.issued.encoded,
    { keysetDigest: new Uint8Array(32).fill(3) },
    receiptKey(),
    instance(),
  );
  expect(failures(await judge(withReceipt(receipt)))).toContain('receipt: receipt.keyset KEYSET_MISMATCH');
});

test('a checkpoint of a forked log', async () => {
  const fork = await makeWorld();
  const foreign = parseBundle((await issueBundle(fork)).bundle).covering!;
  const bundle = rebundle(genuine.bundle, ({ covering }) => ({
    covering: { ...covering!, checkpoint: foreign.checkpoint },
  }));
  expect(failures(await judge(bundle))).toEqual(['log: log.checkpoint CHECKPOINT_MISMATCH']);
  const document = rebundle(genuine.bundle, ({ covering }) => ({
    covering: { ...covering!, document: foreign.document },
  }));
  expect(failures(await judge(document))).toContain('log: log.covering CHECKPOINT_MISMATCH');
});

test('a GPU report of another node', async () => {
  const node = await makeWorld();
  const { devices } = parseDocument(node.vouching.head.encoded);
  const parts = parseBundle(genuine.bundle);
  const cited = encodeDocument({ ...parseDocument(parts.cited), devices });
  expect(failures(await judge(rebundle(genuine.bundle, () => ({ cited }))))).toEqual(
    expect.arrayContaining([
      'cited cpu: cpu.binding BINDING_MISMATCH',
      'cited gpu 0: device.nonce NONCE_MISMATCH',
      'receipt: receipt.evidence EVIDENCE_MISMATCH',
    ]),
  );
});

test.each(['reboot-rollback', 'fork-instances', 'split-view', 'kill-before-receipt', 'gpu-relay'])(
  '%s: not excluded, and said',
  async (row) => {
    const id =
      { 'kill-before-receipt': 'limits.unreceipted', 'gpu-relay': 'limits.relay' }[row] ?? 'limits.history';
    const { checks } = await judge(genuine.bundle);
    expect(checks).toContainEqual(expect.objectContaining({ id, result: 'skip', code: 'NOT_EXCLUDED' }));
  },
);

test('split-view: two checkpoints of one size prove it when they meet', async () => {
  const { keyset, log } = world.keyring;
  const { encodeCheckpoint } = await import('../../attestation/log/checkpoint.ts');
  const { formatNote } = await import('../../attestation/log/note.ts');
  const { makeVkey } = await import('../../attestation/log/vkey.ts');
  const sign = (root: Uint8Array) => {
    const text = encodeCheckpoint({ origin: keyset.origin, size: 5, root, extensions: [] });
    const { name, keyId } = makeVkey(sha256With(nodeCrypto), keyset.origin, keyset.log.x);
    return formatNote(text, [{ name, keyId, signature: log.sign(Buffer.from(text)) }]);
  };
  const [one, two] = [sign(new Uint8Array(32).fill(1)), sign(new Uint8Array(32).fill(2))];
  expect(await provesSplitView(one, two, keyset, nodeCrypto)).toBe(true);
  expect(await provesSplitView(one, one, keyset, nodeCrypto)).toBe(false);
});

test('fork-instances: two open records that name one predecessor prove it when they meet', async () => {
  const predecessor = {
    origin: 'localhost/vouchsafe/00',
    checkpoint: new Uint8Array(0),
    evidenceDigest: new Uint8Array(0),
  };
  const open = async () => {
    const [keys, log] = [await makeKeyring(), new MemoryLog()];
    const limits = { periodMs: 3_600_000, receipts: 1000, maxEvidenceAgeMs: 3_600_000 };
    const parts = {
      keys,
      log,
      source: world.collector,
      configDigest: new Uint8Array(32),
      predecessor,
      limits,
    };
    await Vouching.start({ ...parts, now: () => NOW });
    return { entry: log.entries[0]!, keyset: keys.keyset };
  };
  const [first, second] = [await open(), await open()];
  expect(await provesFork(first, second, nodeCrypto)).toBe(true);
  expect(await provesFork(first, first, nodeCrypto)).toBe(false);
});

describe('alg-confusion', () => {
  const claims = () => encodeClaims(parseReceipt(genuine.issued.encoded).claims);

  test('the log key signs a receipt', async () => {
    const receipt = signReceipt(claims(), world.keyring.log, instance(), 'test-model');
    expect(failures(await judge(withReceipt(receipt)))).toContain(
      'receipt: receipt.signature ALGORITHM_MISMATCH',
    );
  });

  test('EdDSA on an EC key', async () => {
    const { protectedBytes, payload, signature } = parseSign1(genuine.issued.encoded);
    const header = new Map(decodeDc(protectedBytes) as ReadonlyMap<number, Dc>).set(1, ALG.ed25519);
    const receipt = encodeSign1(encodeDc(header), payload, signature);
    expect(failures(await judge(withReceipt(receipt)))).toContain(
      'receipt: receipt.signature ALGORITHM_MISMATCH',
    );
  });

  test('the inclusion key signs a receipt', async () => {
    const receipt = signReceipt(claims(), world.keyring.inclusion, instance(), 'test-model');
    expect(failures(await judge(withReceipt(receipt)))).toContain(
      'receipt: receipt.signature ALGORITHM_MISMATCH',
    );
  });

  test('an open record shown as a receipt', async () => {
    expect(failures(await judge(withReceipt(world.log.entries[0]!)))).toContain(
      'receipt: receipt.format MALFORMED',
    );
  });

  test('an Ed25519 receipt key works as its own role', async () => {
    const ed25519 = await makeWorld({ algorithm: 'Ed25519' });
    expect(failures(await judge((await issueBundle(ed25519)).bundle))).toEqual([]);
  });
});

describe('opening', () => {
  const { request, response } = makeDraft();
  const body = response.kind === 'body' ? response.body : new Uint8Array(0);
  const open = (changes: object) => ({
    opening: { k: genuine.draft.k, request, response: body, ...changes },
  });

  test('opens to the content it was made of', async () => {
    const { checks } = await judge(genuine.bundle, open({}));
    for (const id of ['receipt.request', 'receipt.response']) {
      expect(checks).toContainEqual(expect.objectContaining({ id, result: 'pass' }));
    }
  });

  test.each<[string, () => object]>([
    ['33-byte k', () => ({ k: concat(genuine.draft.k, Uint8Array.of(0)) })],
    ['31-byte k', () => ({ k: genuine.draft.k.subarray(1) })],
    ['k of another receipt', () => ({ k: other.draft.k })],
    ['other field', () => ({ request: body, response: request })],
    [
      'one byte more',
      () => ({ request: concat(request, Uint8Array.of(0x20)), response: concat(body, Uint8Array.of(0)) }),
    ],
    ['nothing where a body is signed', () => ({ request: undefined, response: undefined })],
  ])('%s', async (_name, changes) => {
    expect(failures(await judge(genuine.bundle, open(changes())))).toEqual([
      'receipt: receipt.request COMMITMENT_MISMATCH',
      'receipt: receipt.response COMMITMENT_MISMATCH',
    ]);
  });

  test('the other receipt id', async () => {
    const exchange = { opening: { k: genuine.draft.k, request, response: body } };
    expect(failures(await judge(other.bundle, exchange))).toHaveLength(2);
  });

  test('missing, reordered, surplus and altered chunks', async () => {
    const chunks = ['{"a":1}', '{"b":2}', '[DONE]'].map((text) => Buffer.from(text));
    const [id, k] = [makeDraft().id, makeDraft().k];
    const hasher = new ChunkHasher(k, id);
    for (const chunk of chunks) hasher.add(chunk);
    const streamed = await issueBundle(world, { id, k, response: hasher.finish() });
    const outcome = async (shown: readonly Uint8Array[]) =>
      failures(await judge(streamed.bundle, { opening: { k, request, chunks: shown } }));
    expect(await outcome(chunks)).toEqual([]);
    const [a, b, done] = chunks as [Buffer, Buffer, Buffer];
    for (const shown of [[a, b], [b, a, done], [a, b, b, done], [a, Buffer.from('{"b":3}'), done], []]) {
      expect(await outcome(shown)).toEqual(['receipt: receipt.response COMMITMENT_MISMATCH']);
    }
  });
});

test('receipt nonce, channel, outcome, model and devices are judged by the policy and the caller', async () => {
  const nonce = new Uint8Array(32).fill(8);
  expect(failures(await judge(genuine.bundle, { nonce }))).toEqual(['receipt: receipt.nonce NONCE_MISMATCH']);
  const refused = await issueBundle(world, { outcome: 'refused', reason: 'INVALID_INPUT' });
  expect(failures(await judge(refused.bundle))).toEqual(['receipt: receipt.outcome OUTCOME_NOT_ALLOWED']);
  const sealedOnly = policyOf({ channels: ['hpke'] });
  expect(failures(await judge(genuine.bundle, {}, { policy: sealedOnly }))).toEqual([
    'receipt: receipt.channel CHANNEL_NOT_ALLOWED',
  ]);
  const models = policyOf({ models: [{ name: 'another', value: '00'.repeat(32) }] });
  expect(failures(await judge(genuine.bundle, {}, { policy: models }))).toEqual([
    'receipt: receipt.model MODEL_NOT_ALLOWED',
  ]);
  const devices = resign(genuine.issued.encoded, { devices: [] }, receiptKey(), instance());
  expect(failures(await judge(withReceipt(devices)))).toContain('receipt: receipt.devices DEVICES_MISMATCH');
});

test('the tree of the covering document holds every receipt', () => {
  const sha256 = sha256With(nodeCrypto);
  const { statement } = parseDocument(world.vouching.head.encoded);
  const leaves = world.log.entries.slice(0, statement.logSize).map((entry) => leafHash(sha256, entry));
  expect(toHex(rootOf(sha256, leaves))).toBe(toHex(statement.logRoot));
});
