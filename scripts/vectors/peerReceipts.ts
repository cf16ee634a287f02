import { generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';
import * as peer from '@transmute/cose';
import { equalBytes, utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { ALG, hasLowS, keySpki, type CoseKey } from '../../attestation/cose/key.ts';
import { encodeSign1, HEADER, sigStructure } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import {
  parseConsistencyReceipt,
  parseInclusionReceipt,
  verifyConsistencyReceipt,
  verifyInclusionReceipt,
  type ReceiptKey,
} from '../../attestation/log/coseReceipt.ts';
import { verifyLogGrowth, verifyLogReceipt } from '../../attestation/log/logReceipt.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import {
  encodeTransparentStatement,
  verifyLoggedStatement,
} from '../../attestation/log/transparentStatement.ts';
import { InclusionIssuer } from '../../src/receipts/inclusion.ts';
import { Disagreement, expectRefused, PROVIDERS, type Case } from './family.ts';
import { expectShapes } from './scittShapes.ts';
import { serveEntries } from './servedTree.ts';

const sha256 = sha256With(nodeCrypto);

/** Sizes and, of each, an index: the only leaf, both sides, unbalanced trees. */
const PLACES: readonly (readonly [number, number])[] = [
  [1, 0],
  [2, 1],
  [3, 2],
  [5, 0],
  [5, 4],
  [7, 3],
  [8, 5],
  [13, 12],
  [300, 257],
];
/** Sizes that are no powers of two: from those @transmute/cose 0.2.11 writes paths that no other verifier takes. */
const GROWTHS: readonly (readonly [number, number])[] = [
  [3, 5],
  [5, 8],
  [6, 13],
  [7, 13],
  [11, 300],
];
const POWER: readonly [number, number] = [4, 8];

/** RFC 9942 with @transmute/cose, which nobody here wrote: it takes ours, we take its. */
export function peerReceiptCases(): readonly Case[] {
  return [
    ...PLACES.flatMap(([size, index]): Case[] => [
      { name: `ours for the peer: inclusion ${size}-${index}`, check: () => giveInclusion(size, index) },
      { name: `the peer's for us: inclusion ${size}-${index}`, check: () => takeInclusion(size, index) },
    ]),
    ...GROWTHS.flatMap(([from, to]): Case[] => [
      { name: `ours for the peer: consistency ${from}-${to}`, check: () => giveConsistency(from, to) },
      { name: `the peer's for us: consistency ${from}-${to}`, check: () => takeConsistency(from, to) },
    ]),
    { name: "the peer's from a power of two", check: refusePower },
    { name: 'a transparent statement for the peer', check: giveStatement },
    { name: "the peer's transparent statement", check: takeStatement },
    { name: 'SCITT shapes, by another decoder', check: checkShapes },
  ];
}

interface Signer {
  readonly key: CoseKey & { readonly alg: typeof ALG.es256 };
  readonly privateKey: KeyObject;
  readonly publicJwk: object;
  readonly privateJwk: object;
}

function makeSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const named = { alg: 'ES256', kid: 'vectors' };
  return {
    key: { alg: ALG.es256, x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url') },
    privateKey,
    publicJwk: { ...publicKey.export({ format: 'jwk' }), ...named },
    privateJwk: { ...privateKey.export({ format: 'jwk' }), ...named },
  };
}

/** ECDSA signatures are drawn: half of them have the low form. */
function signLow(key: KeyObject, data: Uint8Array): Uint8Array {
  for (;;) {
    const signature = sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' });
    if (hasLowS(signature)) return signature;
  }
}

const ISSUER = 'https://issuer.example';
const SIGNER = makeSigner();
const OTHERS = [makeSigner().key, makeSigner().key] as const;
const INSTANCE = Buffer.from(randomUUID().replaceAll('-', ''), 'hex');

/** A keyset whose inclusion key is ours; the other keys sign nothing here. */
const KEYSET: Keyset = {
  instance: INSTANCE,
  generation: 0,
  previous: undefined,
  receipt: OTHERS[0],
  log: OTHERS[1],
  origin: `vectors.example/vouchsafe/${INSTANCE.toString('hex')}`,
  inclusion: SIGNER.key,
  hpke: [],
  tlsSpki: undefined,
  notAfter: 0,
  software: { name: 'vectors', version: '0' },
};
const OUR_KEY: ReceiptKey = {
  algs: [ALG.es256],
  scheme: { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' },
  spki: keySpki(SIGNER.key),
};

const detached = peer.detached.signer({
  remote: peer.crypto.signer({ privateKeyJwk: SIGNER.privateJwk as peer.SecretKeyJwk }),
});
/** Its signer gives a Buffer where its issuers say that they take an ArrayBuffer. */
const peerSigner = {
  sign: async (request: Parameters<typeof detached.sign>[0]) => bufferOf(await detached.sign(request)),
};
const peerVerifier = peer.detached.verifier({
  resolver: { resolve: () => Promise.resolve(SIGNER.publicJwk as peer.PublicKeyJwk) },
});

function entriesOf(size: number): readonly Uint8Array[] {
  return Array.from({ length: size }, (_, i) => utf8(`entry ${i}`));
}

function leavesOf(size: number): Uint8Array[] {
  return entriesOf(size).map((entry) => leafHash(sha256, entry));
}

function issuerOver(entries: readonly Uint8Array[]): InclusionIssuer {
  const inclusion = {
    publicKey: SIGNER.key,
    sign: (data: Uint8Array) => signLow(SIGNER.privateKey, data),
  };
  const store = serveEntries(entries);
  const log = {
    durableSize: entries.length,
    root: (size: number) => store.root(size),
    entry: (index: number) => store.entry(index),
    inclusionProof: (index: number, size: number) => store.inclusionProof(index, size),
    consistencyProof: (size1: number, size2: number) => store.consistencyProof(size1, size2),
  };
  return new InclusionIssuer({ keyset: KEYSET, inclusion }, log);
}

/** A buffer of its own: the peer reads the whole buffer below a view. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer;
}

function leafAt(size: number, index: number): Uint8Array {
  const leaf = leavesOf(size)[index];
  if (!leaf) throw new RangeError(`no leaf ${index}`);
  return leaf;
}

async function giveInclusion(size: number, index: number): Promise<void> {
  const receipt = await issuerOver(entriesOf(size)).inclusion(index, size);
  const request = { entry: leafAt(size, index), receipt: bufferOf(receipt), verifier: peerVerifier };
  const root = await peer.receipt.inclusion.verify(request);
  requireRoot(root, await serveEntries(entriesOf(size)).root(size));
  const other = { ...request, entry: leafHash(sha256, utf8('x')) };
  const taken = await peer.receipt.inclusion.verify(other).then(
    () => true,
    () => false,
  );
  if (taken) throw new Disagreement('the peer takes our receipt for another entry');
  for (const provider of PROVIDERS) {
    await verifyLogReceipt(receipt, utf8(`entry ${index}`), KEYSET, provider);
  }
}

async function takeInclusion(size: number, index: number): Promise<void> {
  const receipt = parseInclusionReceipt(await peerInclusion(size, index));
  for (const provider of PROVIDERS) {
    await verifyInclusionReceipt(receipt, leafAt(size, index), OUR_KEY, provider);
    const other = () => verifyInclusionReceipt(receipt, leafHash(sha256, utf8('x')), OUR_KEY, provider);
    await expectRefused(other, 'another entry');
  }
}

async function giveConsistency(from: number, to: number): Promise<void> {
  const receipt = await issuerOver(entriesOf(to)).consistency(from, to);
  const { root1, root2 } = await rootsOf(from, to);
  const roots = { oldRoot: bufferOf(root1), newRoot: bufferOf(root2) };
  const verified = await peer.receipt.consistency.verify({
    ...roots,
    receipt: bufferOf(receipt),
    verifier: peerVerifier,
  });
  if (!verified) throw new Disagreement('the peer does not take our consistency receipt');
  await verifyLogGrowth(receipt, { root1, root2 }, KEYSET, nodeCrypto);
}

async function takeConsistency(from: number, to: number): Promise<void> {
  const receipt = parseConsistencyReceipt(await peerConsistency(from, to));
  const { root1, root2 } = await rootsOf(from, to);
  for (const provider of PROVIDERS) {
    await verifyConsistencyReceipt(receipt, { root1, root2 }, OUR_KEY, provider);
    const swapped = () => verifyConsistencyReceipt(receipt, { root1: root2, root2 }, OUR_KEY, provider);
    await expectRefused(swapped, 'another old root');
  }
}

/** The old root stands in the path once more than RFC 9162 section 2.1.4.1 has it. */
async function refusePower(): Promise<void> {
  const receipt = parseConsistencyReceipt(await peerConsistency(...POWER));
  const roots = await rootsOf(...POWER);
  const verify = () => verifyConsistencyReceipt(receipt, roots, OUR_KEY, nodeCrypto);
  await expectRefused(verify, 'a path with the old root in it');
}

/** A statement signed by the same key, since nothing else is needed of its issuer here. */
function signStatement(): Uint8Array {
  const claims = new Map<number, Dc>([
    [1, ISSUER],
    [2, 'a statement'],
  ]);
  const header = encodeDc(
    new Map<number, Dc>([
      [HEADER.alg, ALG.es256],
      [HEADER.kid, utf8('vectors')],
      [HEADER.cwtClaims, claims],
    ]),
  );
  const payload = utf8('content');
  return encodeSign1(header, payload, signLow(SIGNER.privateKey, sigStructure(header, payload)));
}

async function giveStatement(): Promise<void> {
  const entry = signStatement();
  const receipt = await issuerOver([...entriesOf(4), entry]).inclusion(4);
  const statement = bufferOf(encodeTransparentStatement(entry, [receipt]));
  requireBytes(new Uint8Array(await peer.receipt.remove(statement)), entry, 'the entry');
  const [found] = await peer.receipt.get(statement);
  if (!found) throw new Disagreement('the peer finds no receipt');
  requireBytes(new Uint8Array(found), receipt, 'the receipt');
}

async function takeStatement(): Promise<void> {
  const entry = signStatement();
  const receipt = await issuerOver([...entriesOf(4), entry]).inclusion(4);
  const bytes = new Uint8Array(await peer.receipt.add(bufferOf(entry), Buffer.from(receipt) as never));
  for (const provider of PROVIDERS) {
    const { places, statement } = await verifyLoggedStatement(bytes, KEYSET, provider);
    requireBytes(statement.entry, entry, 'the entry');
    if (places[0]?.index !== 4) throw new Disagreement('the place is another');
  }
}

async function checkShapes(): Promise<void> {
  const entry = signStatement();
  const receipt = await issuerOver([...entriesOf(4), entry]).inclusion(4);
  expectShapes(encodeTransparentStatement(entry, [receipt]), { issuer: ISSUER, size: 5, index: 4 });
}

async function rootsOf(
  from: number,
  to: number,
): Promise<{ readonly root1: Uint8Array; readonly root2: Uint8Array }> {
  const store = serveEntries(entriesOf(to));
  return { root1: await store.root(from), root2: await store.root(to) };
}

const PEER_HEADER = (): Map<number, number | Buffer> =>
  new Map<number, number | Buffer>([
    [HEADER.alg, ALG.es256],
    [HEADER.kid, Buffer.from('vectors')],
    [HEADER.vds, 1],
  ]);

async function peerInclusion(size: number, index: number): Promise<Uint8Array> {
  const request = {
    protectedHeader: PEER_HEADER(),
    entry: index,
    entries: leavesOf(size),
    signer: peerSigner,
  };
  return new Uint8Array(await peer.receipt.inclusion.issue(request));
}

async function peerConsistency(from: number, to: number): Promise<Uint8Array> {
  const { receipt } = await peer.receipt.consistency.issue({
    protectedHeader: PEER_HEADER(),
    receipt: bufferOf(await peerInclusion(from, 0)),
    entries: leavesOf(to),
    signer: peerSigner,
  });
  return new Uint8Array(receipt);
}

function requireRoot(found: ArrayBuffer, root: Uint8Array): void {
  requireBytes(new Uint8Array(found), root, 'the root');
}

function requireBytes(found: Uint8Array, expected: Uint8Array, what: string): void {
  if (!equalBytes(found, expected)) throw new Disagreement(`${what} is another for the peer`);
}
