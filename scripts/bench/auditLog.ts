import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { encodeCollateral } from '../../attestation/bundle/collateral.ts';
import { concat, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { encodeSign1, sigStructure } from '../../attestation/cose/sign1.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { encodeKeyset, instanceUrn, keysetDigest } from '../../attestation/keyset.ts';
import { encodeCheckpoint } from '../../attestation/log/checkpoint.ts';
import { Frontier } from '../../attestation/log/frontier.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { formatNote } from '../../attestation/log/note.ts';
import { encodeBundle, partialTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { makeVkey } from '../../attestation/log/vkey.ts';
import { encodeClaims, type ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { encodeEntryHeader, RECEIPT_TYPE, RECORD_TYPE } from '../../attestation/receipt/receipt.ts';
import { encodeRecord } from '../../attestation/receipt/record.ts';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import { generateKeyring, type Keyring } from '../../enclave/keys/keyring.ts';
import { collectDocument, type EvidenceHead } from '../../src/receipts/evidence.ts';

const sha256 = sha256With(nodeCrypto);
/** Receipts of one epoch. */
const EPOCH = 10_000;
const START_SECONDS = Math.floor(Date.now() / 1000) - 86_400;
const MODEL = 'bench-model';

/** Writes the log of one simulated instance with so many receipts, by streaming; returns the instance in hex. */
export async function mintAuditLog(
  data: string,
  receipts: number,
  say: (text: string) => void,
): Promise<string> {
  const keyring = await generateKeyring({
    host: 'localhost',
    notAfter: START_SECONDS + 30 * 86_400,
    software: { name: 'vouchsafe', version: 'bench' },
    receiptAlgorithm: 'ES256',
  });
  const writer = new LogWriter(data, keyring);
  const source = await createSimulatedCollector();
  const kept = encodeDc(encodeCollateral(await source.collateral()));
  const digest = keysetDigest(encodeKeyset(keyring.keyset), nodeCrypto);
  let head: EvidenceHead | undefined;
  const collect = async (final: boolean): Promise<EvidenceHead> => {
    const log = { size: writer.size, root: writer.root };
    const seq = head ? head.seq + 1 : 0;
    const request = {
      keyset: keyring.keyset,
      keysetDigest: digest,
      seq,
      final,
      nonces: [],
      log,
      previous: head?.digest,
    };
    head = (await collectDocument(source, request)).head;
    writer.putEvidence(head, kept);
    return head;
  };
  const issuedAt = START_SECONDS;
  writer.record(
    'open',
    encodeRecord({ kind: 'open', issuedAt, keysetDigest: digest, predecessor: undefined }),
  );
  let cited = await collect(false);
  for (let i = 0; i < receipts; i++) {
    writer.receipt(claimsOf(writer.size, i, cited, digest));
    if ((i + 1) % EPOCH !== 0 || i + 1 === receipts) continue;
    cited = await collect(false);
    const { digest: evidenceDigest, seq } = cited;
    writer.record(
      'epoch',
      encodeRecord({ kind: 'epoch', issuedAt, keysetDigest: digest, seq, evidenceDigest }),
    );
    if ((i + 1) % 100_000 === 0) say(`minted ${i + 1} receipts`);
  }
  await collect(true);
  writer.finish();
  return toHex(keyring.keyset.instance);
}

/** A receipt as a chat answer over a sealed channel has it: about 900 bytes. */
function claimsOf(index: number, i: number, cited: EvidenceHead, digest: Uint8Array): ReceiptClaims {
  const random = randomBytes(16 + 5 * 32);
  const part = (n: number) => random.subarray(16 + n * 32, 48 + n * 32);
  return {
    id: random.subarray(0, 16),
    issuedAt: START_SECONDS + Math.floor(i / 50),
    nonce: part(0),
    index,
    evidenceDigest: cited.digest,
    keysetDigest: digest,
    channel: 'hpke',
    method: 'POST',
    path: '/v1/chat/completions',
    model: MODEL,
    manifestDigest: FIXED,
    configDigest: FIXED,
    providers: ['CUDAExecutionProvider', 'CPUExecutionProvider'],
    devices: cited.serials,
    parameters: new Map<string, string | Uint8Array>([
      ['max_tokens', '256'],
      ['temperature', '0.7'],
      ['top_p', '1'],
      ['stop', part(1)],
    ]),
    tenant: part(2),
    outcome: 'complete',
    reason: undefined,
    usage: new Map([
      ['prompt_tokens', 312],
      ['completion_tokens', 187],
    ]),
    request: part(3),
    response: { kind: 'stream', count: 187, bytes: 31_000, root: part(4) },
  };
}

const FIXED = new Uint8Array(32).fill(7);

/** One log folder, written as it grows; memory does not grow with it. */
class LogWriter {
  readonly #directory: string;
  readonly #keyring: Keyring;
  readonly #frontier = new Frontier(sha256);
  readonly #headers = new Map<string, Uint8Array>();
  readonly #levels: Uint8Array[][] = [[]];
  #entries: Uint8Array[] = [];

  constructor(data: string, keyring: Keyring) {
    this.#keyring = keyring;
    this.#directory = join(data, 'instances', toHex(keyring.keyset.instance));
    this.#put('origin', utf8(`${keyring.keyset.origin}\n`));
    this.#put('created', utf8('1\n'));
  }

  get size(): number {
    return this.#frontier.size;
  }

  get root(): Uint8Array {
    return this.#frontier.root();
  }

  receipt(claims: ReceiptClaims): void {
    this.#append(this.#header(RECEIPT_TYPE, MODEL), encodeClaims(claims));
  }

  record(kind: string, payload: Uint8Array): void {
    this.#append(this.#header(RECORD_TYPE, kind), payload);
  }

  putEvidence({ encoded, seq }: EvidenceHead, kept: Uint8Array): void {
    const digest = toHex(sha256(kept));
    this.#put(`evidence/${seq}.cbor`, encoded);
    this.#put(`evidence/${seq}.collateral`, utf8(`${digest}\n`));
    this.#put(`collateral/${digest}.cbor`, kept);
  }

  finish(): void {
    const { keyset, log } = this.#keyring;
    this.#put('journal', encodeBundle(this.#entries));
    for (const tile of partialTiles(this.size))
      this.#put(tilePath(tile), concat(...(this.#levels[tile.level] ?? [])));
    const text = encodeCheckpoint({
      origin: keyset.origin,
      size: this.size,
      root: this.root,
      extensions: [],
    });
    const { keyId, name } = makeVkey(sha256, keyset.origin, keyset.log.x);
    this.#put('checkpoint', formatNote(text, [{ name, keyId, signature: log.sign(utf8(text)) }]));
  }

  #append(header: Uint8Array, payload: Uint8Array): void {
    const signature = this.#keyring.receipt.sign(sigStructure(header, payload));
    const entry = encodeSign1(header, payload, signature);
    const hash = leafHash(sha256, entry);
    this.#entries.push(entry);
    this.#frontier.append(hash);
    this.#push(0, hash);
    if (this.#entries.length < TILE_WIDTH) return;
    const index = this.size / TILE_WIDTH - 1;
    this.#put(tilePath({ level: 'entries', index, width: TILE_WIDTH }), encodeBundle(this.#entries));
    this.#entries = [];
  }

  #push(level: number, hash: Uint8Array): void {
    const hashes = (this.#levels[level] ??= []);
    hashes.push(hash);
    if (hashes.length < TILE_WIDTH) return;
    const index = this.size / TILE_WIDTH ** (level + 1) - 1;
    this.#put(tilePath({ level, index, width: TILE_WIDTH }), concat(...hashes));
    this.#levels[level] = [];
    this.#push(level + 1, rootOf(sha256, hashes));
  }

  #header(type: typeof RECEIPT_TYPE | typeof RECORD_TYPE, subject: string): Uint8Array {
    const known = this.#headers.get(subject);
    if (known) return known;
    const { keyset, receipt } = this.#keyring;
    const kid = keyThumbprint(receipt.publicKey, nodeCrypto);
    const { alg } = receipt.publicKey;
    const header = encodeEntryHeader({ alg, kid, type, issuer: instanceUrn(keyset.instance), subject });
    this.#headers.set(subject, header);
    return header;
  }

  #put(path: string, bytes: Uint8Array): void {
    const file = join(this.#directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}
