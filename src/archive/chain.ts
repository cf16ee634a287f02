import { headOf } from './mirrorRows.ts';
import { bytesOf, numberOf, optional, type Row, textOf } from './sql.ts';

/** One instance as the archive has it. */
export interface InstanceStatus {
  readonly instance: string;
  readonly origin: string;
  readonly created: number;
  readonly live: boolean;
  /** Entries in the index. */
  readonly entries: number;
  readonly documents: number;
  /** Everything of it is here, and nobody writes it any more. */
  readonly complete: boolean;
  readonly problem: string | undefined;
  /** Origin that its `open` record names. */
  readonly predecessor: string | undefined;
}

/** What is wrong with the line of instances. */
export interface ChainFinding {
  readonly code: 'GAP' | 'FORK' | 'ROLLED_BACK';
  readonly instance: string;
  readonly detail: string;
}

interface Link extends InstanceStatus {
  readonly predecessorSize: number | undefined;
  readonly predecessorRoot: Uint8Array | undefined;
  readonly checkpoint: { readonly size: number; readonly root: Uint8Array } | undefined;
}

/** A row of `archive_instances` with the note of its newest checkpoint, where there is one. */
export function toLink(row: Row, note: Uint8Array | undefined): Link {
  return {
    instance: textOf(row, 'instance'),
    origin: textOf(row, 'origin'),
    created: numberOf(row, 'created'),
    live: numberOf(row, 'live') === 1,
    entries: numberOf(row, 'size'),
    documents: numberOf(row, 'documents'),
    complete: numberOf(row, 'complete') === 1,
    problem: optional(row, 'problem', textOf),
    predecessor: optional(row, 'predecessor', textOf),
    predecessorSize: optional(row, 'predecessor_size', numberOf),
    predecessorRoot: optional(row, 'predecessor_root', bytesOf),
    checkpoint: note && headOf(note),
  };
}

/**
 * Follows the `open` records from instance to instance. An instance names what it found on disk, so a gap is also what
 * a host makes that takes a log away, and `ROLLED_BACK` what it makes that puts an older one in its place.
 */
export function chainFindings(links: readonly Link[]): readonly ChainFinding[] {
  const byOrigin = new Map(links.map((link) => [link.origin, link]));
  const successors = new Map<string, string>();
  const findings: ChainFinding[] = [];
  for (const link of links) {
    const { instance, predecessor } = link;
    if (predecessor === undefined) continue;
    const other = successors.get(predecessor);
    if (other !== undefined) {
      const detail = `${predecessor} is also named as predecessor by ${other}`;
      findings.push({ code: 'FORK', instance, detail });
    }
    successors.set(predecessor, instance);
    const before = byOrigin.get(predecessor);
    if (before) findings.push(...compareHeads(link, before));
    else findings.push({ code: 'GAP', instance, detail: `${predecessor} is not in the archive` });
  }
  return findings;
}

function compareHeads(
  { instance, predecessorSize, predecessorRoot }: Link,
  { origin, checkpoint }: Link,
): readonly ChainFinding[] {
  if (!checkpoint) return [];
  const named = predecessorSize ?? 0;
  if (named < checkpoint.size) {
    const detail = `it found ${origin} at ${named} entries, the archive has a checkpoint of ${checkpoint.size}`;
    return [{ code: 'ROLLED_BACK', instance, detail }];
  }
  const sameSize = named === checkpoint.size && predecessorRoot !== undefined;
  if (!sameSize || Buffer.compare(predecessorRoot, checkpoint.root) === 0) return [];
  return [{ code: 'FORK', instance, detail: `it found another tree of ${named} entries of ${origin}` }];
}
