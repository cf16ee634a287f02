/** Narrowest cache. */
const FIRST = 64;
/** Each width is this much of the one before. */
const GROWTH = 1.5;

/**
 * Columns of the cache in which a sequence of so many tokens takes its next step. They depend on the sequence alone, so
 * the shapes that it is computed in do not depend on who shares its batch: 64, 128, 192, 320, 512, 768, 1,152 and so on,
 * each half as large again as the one before in steps of 64, at most one less than the context.
 */
export function columnsFor(tokens: number, context: number): number {
  let columns = FIRST;
  while (columns <= tokens) columns = Math.ceil((columns * GROWTH) / FIRST) * FIRST;
  return Math.min(columns, context - 1);
}
