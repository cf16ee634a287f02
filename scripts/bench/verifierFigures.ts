import { figure, goal, type Figure } from './figure.ts';
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
  return [
    ...comparisons.flatMap(figuresOf),
    figure('RSS after a tenth of the verifications', (memory?.early ?? 0) / 1e6, 'MB'),
    goal(`RSS after ${verifications}`, (memory?.late ?? 0) / 1e6, 'MB', 'flat', () => isFlat(memory)),
  ];
}

const FLAT_MB = 16;

function isFlat(memory: { readonly early: number; readonly late: number } | undefined): boolean {
  return memory !== undefined && memory.late - memory.early < FLAT_MB * 1e6;
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
