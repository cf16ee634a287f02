import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { createNodeCrypto, nodeCrypto } from '../../attestation/crypto/node.ts';
import { createChainCache } from '../../attestation/x509/chainCache.ts';
import type { GpuCase } from '../corpus/gpu/case.ts';
import { bareSignatures } from './bareSignatures.ts';
import { travellingCase } from './browserCase.ts';
import { gpuEvidence, verifyGpu } from './gpuVerification.ts';

const COLD = fileURLToPath(new URL('gpuCold.ts', import.meta.url));
const WARM_UP = 40;
const REPEATS = 20;
/** Keys and certificate signatures of one GPU, its manifests and the responses about both. */
const REMEMBERED = 64;

/** One run, milliseconds. */
export interface Sample {
  readonly wall: number;
  /** Processor time of all threads, which other work on the machine disturbs less. */
  readonly cpu: number;
}

export interface NodeTimes {
  readonly ours: readonly Sample[];
  readonly cached: readonly Sample[];
  /** Distinct signature checks alone, with their keys read before. */
  readonly bare: readonly Sample[];
  /** The same, with reading each key once. */
  readonly imported: readonly Sample[];
  readonly signatures: number;
}

/** Verifies again and again in this process. */
export async function measureOnNode(gpuCase: GpuCase, rounds: number): Promise<NodeTimes> {
  const evidence = gpuEvidence(gpuCase);
  const bare = await bareSignatures((crypto) => verifyGpu(evidence, crypto));
  const [keeping, cache] = [createNodeCrypto(REMEMBERED), createChainCache(REMEMBERED)];
  const runs = {
    ours: () => verifyGpu(evidence, nodeCrypto),
    cached: () => verifyGpu(evidence, keeping, cache),
    bare: bare.verifyAll,
    imported: bare.readKeysAndVerifyAll,
  };
  const kinds = Object.keys(runs) as (keyof typeof runs)[];
  const samples: Record<keyof typeof runs, Sample[]> = { ours: [], cached: [], bare: [], imported: [] };
  for (const kind of kinds) for (let i = 0; i < WARM_UP; i++) await runs[kind]();
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      for (let i = 0; i < REPEATS; i++) samples[kind].push(await sampleOf(runs[kind]));
    }
  }
  return { ...samples, signatures: bare.count };
}

async function sampleOf(run: () => Promise<void> | void): Promise<Sample> {
  const before = process.cpuUsage();
  const started = performance.now();
  await run();
  const wall = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1000 };
}

/** The first verification of a new process, so many times, milliseconds. */
export async function measureCold(gpuCase: GpuCase, processes: number): Promise<readonly number[]> {
  const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-bench-cold-'));
  try {
    await build({
      entryPoints: { cold: COLD },
      bundle: true,
      splitting: true,
      format: 'esm',
      platform: 'node',
      outdir: folder,
      outExtension: { '.js': '.mjs' },
    });
    const input = travellingCase(gpuCase);
    return Array.from({ length: processes }, () => coldOnce(join(folder, 'cold.mjs'), input));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function coldOnce(script: string, input: string): number {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`the cold verification ended with ${status}: ${stderr}`);
  return Number(stdout);
}
