// Figures of the receipt log: appends at group commit, inclusion proofs of a large log, and memory as a log grows.
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { concat } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { rootOf } from '../../attestation/log/memoryTree.ts';
import { leafHash, verifyInclusion } from '../../attestation/log/merkle.ts';
import { fullTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { DiskFiles, diskStorage } from '../../src/log/diskStorage.ts';
import type { InstanceLog } from '../../src/log/instanceLog.ts';
import { objectStorage } from '../../src/log/objectStorage.ts';
import { openLog } from '../../src/log/openLog.ts';
import type { LogStorage } from '../../src/log/storage.ts';
import { TileEdge } from '../../src/log/tileEdge.ts';
import { TileStore } from '../../src/log/tileStore.ts';
import { openObjectStore } from '../../src/objectStore/objectStore.ts';
import { startObjectStoreServer } from '../crash/objectStoreServer.ts';
import { figure, goal, type Figure } from './figure.ts';
import { fsyncTime, median } from './measure.ts';
import { measureMemory } from './memory.ts';

/** Bytes of an entry: those of a receipt. */
const ENTRY_BYTES = 900;
const CALLERS = [1, 32, 256] as const;
const PROOFS = 2000;
/** Entries of the smaller log whose memory is compared with that of one ten times as large. */
const SMALL_LOG = 20_000;

const sha256 = sha256With(nodeCrypto);

type Say = (text: string) => void;

/** `entries`: of the log whose proofs are measured. */
export async function logFigures(
  rounds: number,
  seconds: number,
  entries: number,
  say: Say,
): Promise<readonly Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-bench-log-'));
  try {
    const disk = diskStorage(join(folder, 'instances'));
    return [
      figure('one write and its sync', fsyncTime(folder), 'ms'),
      ...(await appendFigures('disk', disk, rounds, seconds, say)),
      ...(await objectFigures(join(folder, 'objects'), rounds, seconds, say)),
      ...(await proofFigures(join(folder, 'large'), entries, rounds, say)),
      ...(await memoryFigures(disk, say)),
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function objectFigures(
  folder: string,
  rounds: number,
  seconds: number,
  say: Say,
): Promise<readonly Figure[]> {
  mkdirSync(folder);
  const server = await startObjectStoreServer(folder, { conditional: true, forgetful: true });
  const storage = objectStorage(await openObjectStore(server.settings), 'instances');
  try {
    return await appendFigures('s3rver', storage, rounds, seconds, say);
  } finally {
    storage.close();
    await server.close();
  }
}

/** Appends per second, each acknowledged when it is durable, by so many callers that wait for each of theirs. */
async function appendFigures(
  name: string,
  storage: LogStorage,
  rounds: number,
  seconds: number,
  say: Say,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const callers of CALLERS) {
    const rates: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const log = await open(storage, `${callers}-${round}`);
      rates.push(await appendFor(log, callers, seconds));
      await log.close();
    }
    say(`${name}, ${callers} callers: ${rates.map((rate) => rate.toFixed(0)).join(', ')} appends/s`);
    figures.push(figure(`appends, ${name}, ${callers} callers`, median(rates), 'appends/s'));
  }
  return figures;
}

function open(storage: LogStorage, instance: string): Promise<InstanceLog> {
  return openLog({ storage, instance, origin: `bench.example.org/vouchsafe/${instance}`, created: 1 });
}

async function appendFor(log: InstanceLog, callers: number, seconds: number): Promise<number> {
  const entry = new Uint8Array(ENTRY_BYTES).fill(7);
  const started = performance.now();
  const end = started + seconds * 1000;
  const call = async (): Promise<void> => {
    while (performance.now() < end) await log.enqueue(entry).durable;
  };
  await Promise.all(Array.from({ length: callers }, call));
  return log.durableSize / ((performance.now() - started) / 1000);
}

/** Leaf hashes alone make the tiles: no entry is needed for a proof. */
async function proofFigures(
  directory: string,
  entries: number,
  rounds: number,
  say: Say,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  const times: number[] = [];
  for (const size of [Math.floor(entries / 10), entries]) {
    const folder = join(directory, String(size));
    const started = performance.now();
    const edge = buildTiles(folder, size);
    say(`tiles of ${size} entries in ${((performance.now() - started) / 1000).toFixed(0)} s`);
    const files = new DiskFiles(folder);
    const proofs = await timeProofs(new TileStore(files, sha256, edge), size, rounds);
    const reads = await timeReads(files, size, rounds);
    times.push(proofs.p50);
    const what = `inclusion proof at ${size}`;
    figures.push(
      figure(`reading one tile at ${size}, p99`, reads.p99, 'ms'),
      figure(`${what}, p50`, proofs.p50, 'ms'),
      goal(`${what}, p99`, proofs.p99, 'ms', 'at most 5', (value) => value <= 5),
    );
    await rm(folder, { recursive: true });
  }
  const [small = 0, large = 0] = times;
  return [...figures, figure('p50 at ten times the entries', large / small, 'times')];
}

interface Times {
  readonly p50: number;
  readonly p99: number;
}

async function timeProofs(store: TileStore, size: number, rounds: number): Promise<Times> {
  const root = await store.root(size);
  return timeEach(size, rounds, async (index) => {
    const started = performance.now();
    const path = await store.inclusionProof(index, size);
    const time = performance.now() - started;
    verifyInclusion(sha256, { index, size, path }, leafOf(index), root);
    return time;
  });
}

/** What the machine takes for the same tiles, unhashed: how long a turn of its threads waits is in both. */
function timeReads(files: DiskFiles, size: number, rounds: number): Promise<Times> {
  return timeEach(size, rounds, async (index) => {
    const full = Math.min(Math.floor(index / TILE_WIDTH), fullTiles(0, size) - 1);
    const started = performance.now();
    await files.read(tilePath({ level: 0, index: full, width: TILE_WIDTH }));
    return performance.now() - started;
  });
}

/** Medians over the rounds. */
async function timeEach(
  size: number,
  rounds: number,
  time: (index: number) => Promise<number>,
): Promise<Times> {
  const [p50s, p99s]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const samples: number[] = [];
    for (let i = round * PROOFS; i < (round + 1) * PROOFS; i++) {
      // In leaps of the golden ratio: what comes next is in no tile that was just read.
      samples.push(await time(Math.floor(((i * 0.618_033_988_749_895) % 1) * size)));
    }
    const sorted = samples.toSorted((a, b) => a - b);
    p50s.push(sorted[Math.floor(PROOFS * 0.5)] ?? 0);
    p99s.push(sorted[Math.floor(PROOFS * 0.99)] ?? 0);
  }
  return { p50: median(p50s), p99: median(p99s) };
}

function leafOf(index: number): Uint8Array {
  const entry = new Uint8Array(8);
  new DataView(entry.buffer).setBigUint64(0, BigInt(index));
  return leafHash(sha256, entry);
}

function buildTiles(folder: string, size: number): TileEdge {
  const levels: Uint8Array[][] = [[]];
  const push = (level: number, hash: Uint8Array, below: number): void => {
    const hashes = (levels[level] ??= []);
    hashes.push(hash);
    if (hashes.length < TILE_WIDTH) return;
    levels[level] = [];
    const path = join(folder, tilePath({ level, index: fullTiles(level, below) - 1, width: TILE_WIDTH }));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, concat(...hashes));
    push(level + 1, rootOf(sha256, hashes), below);
  };
  for (let index = 0; index < size; index++) push(0, leafOf(index), index + 1);
  const open = Array.from({ length: size % TILE_WIDTH }, () => new Uint8Array(0));
  return new TileEdge(sha256, size, levels, open);
}

/** The same log at one size and at ten times that. */
async function memoryFigures(storage: LogStorage, say: Say): Promise<readonly Figure[]> {
  const log = await open(storage, 'memory');
  const collected: number[] = [];
  const resident: number[] = [];
  for (const size of [SMALL_LOG, 10 * SMALL_LOG]) {
    await appendUntil(log, size);
    const memory = await measureMemory();
    collected.push(memory.collected / 1e6);
    resident.push(memory.resident / 1e6);
    say(`${size} entries: ${(memory.resident / 1e6).toFixed(0)} MB resident`);
  }
  await log.close();
  const [before = 0, after = 0] = collected;
  return [
    figure(`resident at ${SMALL_LOG} entries`, resident[0] ?? 0, 'MB'),
    figure(`resident at ${10 * SMALL_LOG} entries`, resident[1] ?? 0, 'MB'),
    goal('reachable memory, grown', after - before, 'MB', 'at most 5', (value) => value <= 5),
  ];
}

async function appendUntil(log: InstanceLog, size: number): Promise<void> {
  while (log.size < size) {
    const count = Math.min(TILE_WIDTH, size - log.size);
    const waiting = Array.from(
      { length: count },
      (_, i) => log.enqueue(new Uint8Array(ENTRY_BYTES).fill(i)).durable,
    );
    await Promise.all(waiting);
    if (log.size % 4096 === 0) await log.inclusionProof(0, log.durableSize);
  }
}
