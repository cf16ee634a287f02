import { Refusal } from '../../attestation/errors.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { portableCrypto } from '../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import type { VectorFile } from './vectorFile.ts';

/** One vector: either left out for a reason, or a check that throws `Disagreement` where our code says otherwise. */
export type Case =
  | { readonly name: string; readonly skip: string }
  | { readonly name: string; readonly check: () => void | Promise<void> };

/** Vector files of one layout, and what our code must say about each of their vectors. */
export interface Family {
  /** True when the file is of this layout, by its content or by its usual name. */
  claims(file: VectorFile): boolean;
  /** The vectors of the file. Throws where the file does not follow its layout. */
  cases(file: VectorFile): readonly Case[];
}

/** Our code says something else than the vector. */
export class Disagreement extends Error {}

/** Both doors of the verifier must give the same answers. */
export const PROVIDERS: readonly CryptoProvider[] = [nodeCrypto, portableCrypto];

export function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (actual !== expected) throw new Disagreement(`${what} is ${String(actual)}, not ${String(expected)}`);
}

/** Bad input must be refused with a code; any other error is a defect, and no error a hole. */
export async function expectRefused(attempt: () => unknown, what: string): Promise<void> {
  try {
    await attempt();
  } catch (error) {
    if (error instanceof Refusal) return;
    throw error;
  }
  throw new Disagreement(`${what} is accepted and must be refused`);
}

/** Runs the attempt, which must succeed, or insists that it is refused. */
export async function expectVerdict(accept: boolean, attempt: () => unknown, what: string): Promise<void> {
  if (accept) await attempt();
  else await expectRefused(attempt, what);
}
