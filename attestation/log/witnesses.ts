import type { CryptoProvider } from '../crypto/provider.ts';
import { verifyCosignature } from './cosignature.ts';
import type { Note } from './note.ts';
import type { Vkey } from './vkey.ts';

/** A witness that is trusted, under the name by which rules refer to it. */
export interface Witness {
  readonly name: string;
  readonly vkey: Vkey;
}

/** Who must have seen a checkpoint: a witness, or so many members of a group. Each witness stands in one place. */
export type WitnessRule =
  | { readonly kind: 'witness'; readonly witness: Witness }
  | { readonly kind: 'group'; readonly threshold: number; readonly members: readonly WitnessRule[] };

/** So many of these witnesses, whose keys are distinct. */
export function quorumOf(quorum: number, vkeys: readonly Vkey[]): WitnessRule {
  const members = vkeys.map((vkey): WitnessRule => ({ kind: 'witness', witness: { name: vkey.name, vkey } }));
  return { kind: 'group', threshold: quorum, members };
}

export function witnessesOf(rule: WitnessRule): readonly Witness[] {
  return rule.kind === 'witness' ? [rule.witness] : rule.members.flatMap(witnessesOf);
}

declare const verified: unique symbol;

/** What trusted witnesses state of a note. */
export interface VerifiedWitnesses {
  readonly [verified]: true;
  readonly count: number;
  readonly names: readonly string[];
  /** Seconds since 1970 by each witness's clock, in the order of `names`. */
  readonly times: readonly number[];
  /**
   * Seconds since 1970 by which the rule was met, and the latest time for which it is: a group of threshold k has the
   * k-th earliest and the k-th latest time of its members. Fewer witnesses than the rule asks for can move neither
   * outwards. Undefined where the rule is not met.
   */
  readonly met: { readonly earliest: number; readonly latest: number } | undefined;
}

/**
 * Verifies the cosignatures of the rule's witnesses on a checkpoint note; one that does not verify is refused as
 * `SIGNATURE_INVALID`, those of others are passed over. That the log signed the note is the caller's to verify.
 */
export async function verifyWitnesses(
  note: Note,
  rule: WitnessRule,
  crypto: CryptoProvider,
): Promise<VerifiedWitnesses> {
  const times = new Map<Witness, number>();
  for (const witness of witnessesOf(rule)) {
    const { vkey } = witness;
    const signed = note.signatures.some((line) => line.name === vkey.name && line.keyId === vkey.keyId);
    if (signed) times.set(witness, (await verifyCosignature(note, vkey, crypto)).time);
  }
  const earliest = timeOf(rule, times, (a, b) => a - b);
  const latest = timeOf(rule, times, (a, b) => b - a);
  const met = earliest !== undefined && latest !== undefined ? { earliest, latest } : undefined;
  const names = [...times.keys()].map(({ name }) => name);
  const result = { count: times.size, names, times: [...times.values()], met };
  return result as unknown as VerifiedWitnesses;
}

/** The k-th time of a group in the given order; undefined where fewer than k members have one. */
function timeOf(
  rule: WitnessRule,
  times: ReadonlyMap<Witness, number>,
  order: (a: number, b: number) => number,
): number | undefined {
  if (rule.kind === 'witness') return times.get(rule.witness);
  const found = rule.members
    .map((member) => timeOf(member, times, order))
    .filter((time): time is number => time !== undefined);
  return found.toSorted(order)[rule.threshold - 1];
}
