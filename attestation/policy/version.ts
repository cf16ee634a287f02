/** Dotted decimal numbers, as of a driver; undefined for any other form, which is not at least anything. */
export function readDecimalVersion(version: string): readonly number[] | undefined {
  return /^\d{1,9}(\.\d{1,9})*$/.test(version) ? version.split('.').map(Number) : undefined;
}

/** Whether a version is the wanted one or a later; missing parts count as zero. */
export function isAtLeast(have: readonly number[], want: readonly number[]): boolean {
  for (let i = 0; i < Math.max(have.length, want.length); i++) {
    const difference = (have[i] ?? 0) - (want[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}
