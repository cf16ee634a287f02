import { createNodeCrypto, nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { verifySnp } from '../../attestation/evidence/snp/verify.ts';
import { verifyTdx } from '../../attestation/evidence/tdx/verify.ts';
import { createChainCache, type ChainCache } from '../../attestation/x509/chainCache.ts';
import { bareSignatures } from './bareSignatures.ts';
import { snpEvidence, tdxEvidence } from './evidence.ts';
import { median } from './measure.ts';
import { measureMemory, type MemoryUse } from './memory.ts';
import { installPeers, phalaVerifier, tinfoilVerifier } from './peers.ts';

/** One verifier against its peer: medians in milliseconds. */
export interface VerifierComparison {
  readonly name: string;
  readonly ours: number;
  readonly cached: number;
  readonly peerName: string;
  readonly peer: number;
  /** Distinct signature checks, and what they cost alone: with their keys read before, and with reading them. */
  readonly signatures: number;
  readonly bare: number;
  readonly imported: number;
}

type Run = () => Promise<unknown>;

/** Undefined where there is no genuine evidence to verify. */
export async function compareVerifiers(rounds: number): Promise<readonly VerifierComparison[] | undefined> {
  const [tdx, snp] = [tdxEvidence(), snpEvidence()];
  if (!tdx || !snp) return undefined;
  const folder = installPeers();
  const quote = tdx.files.need('quote.bin');
  const verifyQuote = (crypto: CryptoProvider, chainCache?: ChainCache) =>
    verifyTdx(quote, { ...tdx.context, crypto, ...(chainCache && { chainCache }) });
  const [vcek] = snp.certificates;
  if (!vcek) throw new Error('the evidence has no VCEK');
  const evidence = { report: snp.files.need('report.bin'), certificates: snp.certificates };
  const options = { ...snp.context, crls: [], revocation: 'when-present' } as const;
  const verifyReport = (crypto: CryptoProvider, chainCache?: ChainCache) =>
    verifySnp(evidence, { ...options, crypto, ...(chainCache && { chainCache }) });
  return [
    await compare(
      'TDX quote with collateral',
      verifyQuote,
      '@phala/dcap-qvl',
      await phalaVerifier(folder, tdx),
      rounds,
    ),
    await compare(
      'SNP report with chain',
      verifyReport,
      '@tinfoilsh/verifier',
      await tinfoilVerifier(folder, snp, vcek),
      rounds,
    ),
  ];
}

/** Memory after a tenth of so many verifications and after all. */
export async function watchMemory(
  verifications: number,
): Promise<{ readonly early: MemoryUse; readonly late: MemoryUse } | undefined> {
  const tdx = tdxEvidence();
  if (!tdx) return undefined;
  const quote = tdx.files.need('quote.bin');
  const cache = createChainCache(16);
  const crypto = createNodeCrypto(16);
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) await verifyTdx(quote, { ...tdx.context, crypto, chainCache: cache });
    return measureMemory();
  };
  const first = Math.ceil(verifications / 10);
  const early = await run(first);
  return { early, late: await run(verifications - first) };
}

const WARM_UP = 100;
const REPEATS = 100;

async function compare(
  name: string,
  verify: (crypto: CryptoProvider, chainCache?: ChainCache) => Promise<unknown>,
  peerName: string,
  peer: Run,
  rounds: number,
): Promise<VerifierComparison> {
  const cache = createChainCache(16);
  const bare = await bareSignatures(verify);
  const keeping = createNodeCrypto(16);
  const runs: Readonly<Record<'ours' | 'cached' | 'peer' | 'bare' | 'imported', Run>> = {
    ours: () => verify(nodeCrypto),
    cached: () => verify(keeping, cache),
    peer,
    bare: sync(bare.verifyAll),
    imported: sync(bare.readKeysAndVerifyAll),
  };
  const samples: Record<keyof typeof runs, number[]> = {
    ours: [],
    cached: [],
    peer: [],
    bare: [],
    imported: [],
  };
  const kinds = Object.keys(runs) as (keyof typeof runs)[];
  for (const kind of kinds) await timeOf(runs[kind], WARM_UP);
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) samples[kind].push(await timeOf(runs[kind], REPEATS));
  }
  return {
    name,
    ours: median(samples.ours),
    cached: median(samples.cached),
    peerName,
    peer: median(samples.peer),
    signatures: bare.count,
    bare: median(samples.bare),
    imported: median(samples.imported),
  };
}

function sync(run: () => void): Run {
  return () => {
    run();
    return Promise.resolve();
  };
}

async function timeOf(run: Run, repeats: number): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < repeats; i++) await run();
  return (performance.now() - started) / repeats;
}
