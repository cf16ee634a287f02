import { figure, goal, type Figure } from './figure.ts';
import type { MemoryUse } from './memory.ts';
import { compareVerifiers, watchMemory, type VerifierComparison } from './verifiers.ts';

/** Figures of the CPU verifiers; none where no genuine evidence lies beside the clone. */
export async function verifierFigures(
  rounds: number,
  verifications: number,
  say: (text: string) => void,
): Promise<readonly Figure[]> {
  const comparisons = await compareVerifiers(rounds);
  if (!comparisons) {
    say('verifiers: skipped: no shared corpus');
    return [];
  }
  const memory = await watchMemory(verifications);
  return [...comparisons.flatMap(figuresOf), ...(memory ? memoryFigures(verifications, memory) : [])];
}

/** A verification that left 11 bytes behind would be seen over 90,000 of them. */
const FLAT_BYTES = 1e6;

function memoryFigures(
  verifications: number,
  { early, late }: { readonly early: MemoryUse; readonly late: MemoryUse },
): readonly Figure[] {
  const first = Math.ceil(verifications / 10);
  const isFlat = () => late.collected - early.collected < FLAT_BYTES;
  return [
    figure(`collected heap after ${first} verifications`, early.collected / 1e6, 'MB'),
    goal(`collected heap after ${verifications}`, late.collected / 1e6, 'MB', 'flat', isFlat),
    figure(`RSS after ${first} verifications`, early.resident / 1e6, 'MB'),
    figure(`RSS after ${verifications}`, late.resident / 1e6, 'MB'),
  ];
}

function figuresOf({
  name,
  peerName,
  ours,
  cached,
  peer,
  bare,
  imported,
  signatures,
}: VerifierComparison): readonly Figure[] {
  return [
    figure(name, ours, 'ms'),
    figure('  with chain and keys remembered', cached, 'ms'),
    figure(`  ${peerName}`, peer, 'ms'),
    goal('  times as fast as the peer', peer / ours, 'x', 'at least 3', (value) => value >= 3),
    figure(`  its ${signatures} signatures alone, keys read`, imported, 'ms'),
    figure('  the same, keys read before', bare, 'ms'),
    goal('  against the signatures with their keys', ours / imported, 'x', 'within 2', (value) => value <= 2),
    figure('  against the signatures alone', ours / bare, 'x'),
  ];
}
