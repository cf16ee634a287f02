// Runs in the page: imports nothing of Node.
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { readTravellingCase } from './browserCase.ts';
import { gpuEvidence, verifyGpu } from './gpuVerification.ts';

/** Milliseconds. */
export interface PageTimes {
  /** The first verification of the page. */
  readonly cold: number;
  readonly warm: readonly number[];
  /** The signature checks of one verification alone, one after the other, with reading their keys. */
  readonly signatures: readonly number[];
}

export async function measureInPage(gpuCase: string, repeats: number): Promise<PageTimes> {
  const evidence = gpuEvidence(readTravellingCase(gpuCase));
  const verify = () => verifyGpu(evidence, portableCrypto);
  const cold = await timeOf(verify);
  for (let i = 0; i < repeats; i++) await verify();
  const calls = await signatureChecks((crypto) => verifyGpu(evidence, crypto));
  const checkSignatures = async () => {
    for (const call of calls) await portableCrypto.verify(...call);
  };
  const warm: number[] = [];
  const signatures: number[] = [];
  for (let i = 0; i < repeats; i++) {
    warm.push(await timeOf(verify));
    signatures.push(await timeOf(checkSignatures));
  }
  return { cold, warm, signatures };
}

type Call = Parameters<CryptoProvider['verify']>;

async function signatureChecks(run: (crypto: CryptoProvider) => Promise<void>): Promise<readonly Call[]> {
  const calls: Call[] = [];
  await run({
    ...portableCrypto,
    verify(...call) {
      calls.push(call);
      return portableCrypto.verify(...call);
    },
  });
  return calls;
}

async function timeOf(run: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await run();
  return performance.now() - started;
}
