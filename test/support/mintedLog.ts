import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { encodeCollateral } from '../../attestation/bundle/collateral.ts';
import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { documentDigest } from '../../attestation/evidence/document.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { encodeBundle, partialTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import type { Collector } from '../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../enclave/collect/simulated/collector.ts';
import type { Keyring } from '../../enclave/keys/keyring.ts';
import type { ReceiptDraft } from '../../src/receipts/draft.ts';
import type { EvidenceSource } from '../../src/receipts/evidence.ts';
import { Vouching } from '../../src/receipts/vouching.ts';
import { MemoryLog } from './memoryLog.ts';
import { makeDraft, makeKeysetLine, NOW } from './world.ts';

const sha256 = sha256With(nodeCrypto);

export interface MintedLog {
  /** Hex, and `<data>/instances/<instance>`. */
  readonly instance: string;
  readonly directory: string;
  readonly log: MemoryLog;
  readonly keyring: Keyring;
  readonly collector: Collector;
  /** What a successor finds of it. */
  readonly asPredecessor: Predecessor;
}

export interface MintOptions {
  /** Receipts of each epoch; each epoch ends with a document, the last one only with `final`. */
  readonly epochs: readonly number[];
  readonly created?: number;
  readonly predecessor?: Predecessor;
  readonly collector?: Collector;
  readonly gpus?: number;
  /** End with final evidence; without it the last epoch's receipts stay uncovered. */
  readonly final?: boolean;
  /** Of receipt `i`, over all epochs. */
  readonly draft?: (i: number) => Partial<ReceiptDraft>;
  /** Acts that are logged before the last epoch. */
  readonly acts?: (vouching: Vouching) => Promise<void>;
  /** Milliseconds between receipts by the guest's clock. */
  readonly stepMs?: number;
  /** Receipts that are issued while a document but the first is collected: they cite the one before it. */
  readonly whileCollecting?: number;
}

/** Makes the log of one simulated instance and writes it as a stopped service leaves it. */
export async function mintLog(data: string, options: MintOptions): Promise<MintedLog> {
  const { created = 1, final = true, gpus = 1, stepMs = 0, whileCollecting = 0 } = options;
  const collector = options.collector ?? (await createSimulatedCollector({ gpus, now: () => new Date(NOW) }));
  const keys = await makeKeysetLine();
  const keyring = keys.current;
  const log = new MemoryLog();
  const clock = { now: NOW };
  let load: (() => Promise<unknown>) | undefined;
  const vouching = await Vouching.start({
    keys: keyring,
    keySource: keys,
    log,
    source: underLoad(collector, () => load?.()),
    configDigest: new Uint8Array(32).fill(7),
    predecessor: options.predecessor,
    limits: { periodMs: 3_600_000, receipts: 1_000_000, maxEvidenceAgeMs: 3_600_000_000 },
    now: () => clock.now,
  });
  let issued = 0;
  const issue = async (receipts: number): Promise<number> => {
    let last = 0;
    for (let i = 0; i < receipts; i++) {
      clock.now += stepMs;
      last = (await vouching.issue(makeDraft(options.draft?.(issued) ?? {}))).index;
      issued++;
    }
    return last;
  };
  if (whileCollecting > 0) load = () => issue(whileCollecting);
  for (const [epoch, receipts] of options.epochs.entries()) {
    const isLast = epoch === options.epochs.length - 1;
    if (isLast) await options.acts?.(vouching);
    const last = await issue(receipts);
    if (isLast || receipts === 0) continue;
    const size = log.size + whileCollecting;
    await vouching.covered(last);
    await publishedBeyond(log, size);
  }
  load = undefined;
  if (final) await vouching.stop();
  const instance = toHex(keyring.keyset.instance);
  const directory = join(data, 'instances', instance);
  await writeLog(directory, log, keyring.keyset.origin, created, await collector.collateral());
  return {
    instance,
    directory,
    log,
    keyring,
    collector,
    asPredecessor: predecessorOf(log, keyring.keyset.origin),
  };
}

/** After the document of an epoch is there its record is appended, and a head with it published. */
async function publishedBeyond({ checkpoints }: MemoryLog, size: number): Promise<void> {
  for (;;) {
    const newest = checkpoints.at(-1);
    if (newest && parseCheckpoint(parseNote(newest).text).size > size) return;
    await nextTurn();
  }
}

/** The size of the log that a document states is taken before its hardware is asked. */
function underLoad(collector: Collector, load: () => Promise<unknown> | undefined): EvidenceSource {
  return {
    collectDevices: (nonce) => collector.collectDevices(nonce),
    collectCpu: async (reportData) => {
      const evidence = await collector.collectCpu(reportData);
      await load();
      return evidence;
    },
    collateral: () => collector.collateral(),
  };
}

function predecessorOf({ checkpoints, documents }: MemoryLog, origin: string): Predecessor {
  const last = documents.at(-1);
  return {
    origin,
    checkpoint: checkpoints.at(-1) ?? new Uint8Array(0),
    evidenceDigest: last ? documentDigest(last, nodeCrypto) : new Uint8Array(0),
  };
}

/** Files of a stopped log; the open bundle lies in its journal. */
export async function writeLog(
  directory: string,
  { checkpoints, documents, entries }: Pick<MemoryLog, 'checkpoints' | 'documents' | 'entries'>,
  origin: string,
  created: number,
  collateral: Parameters<typeof encodeCollateral>[0],
): Promise<void> {
  const put = (path: string, bytes: Uint8Array | string) => putFile(join(directory, path), bytes);
  await put('origin', `${origin}\n`);
  await put('created', `${created}\n`);
  const full = Math.floor(entries.length / TILE_WIDTH);
  const leaves = entries.map((entry) => leafHash(sha256, entry));
  const roots: Uint8Array[] = [];
  for (let index = 0; index < full; index++) {
    const [start, end] = [index * TILE_WIDTH, (index + 1) * TILE_WIDTH];
    await put(
      tilePath({ level: 'entries', index, width: TILE_WIDTH }),
      encodeBundle(entries.slice(start, end)),
    );
    await put(tilePath({ level: 0, index, width: TILE_WIDTH }), concat(...leaves.slice(start, end)));
    roots.push(rootOf(sha256, leaves.slice(start, end)));
  }
  await put('journal', encodeBundle(entries.slice(full * TILE_WIDTH)));
  const note = checkpoints.at(-1);
  if (note) {
    await put('checkpoint', note);
    for (const tile of partialTiles(parseCheckpoint(parseNote(note).text).size)) {
      const hashes = tile.level === 0 ? leaves.slice(tile.index * TILE_WIDTH) : roots;
      if (tile.level === 0 && tile.index < full) continue;
      await put(tilePath(tile), concat(...hashes.slice(0, tile.width)));
    }
  }
  const kept = encodeDc(encodeCollateral(collateral));
  const digest = toHex(nodeCrypto.hash('sha256', kept));
  await put(`collateral/${digest}.cbor`, kept);
  for (const [seq, document] of documents.entries()) {
    await put(`evidence/${seq}.cbor`, document);
    await put(`evidence/${seq}.collateral`, `${digest}\n`);
  }
}

export async function putFile(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}
