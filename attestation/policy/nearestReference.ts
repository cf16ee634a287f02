import type { Reference } from './shapes.ts';

/** The reference with most hex digits in place: it exposes a value that was copied wrongly or cut. */
export function nearestReference(seen: string, references: readonly Reference[]): Reference | undefined {
  const common = ({ value }: Reference) => Array.from(value).filter((digit, i) => digit === seen[i]).length;
  return references.toSorted((a, b) => common(b) - common(a))[0];
}
