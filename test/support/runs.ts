/**
 * Runs of a property test: seeded and short in `npm test`; `npm run fuzz` sets VOUCHSAFE_FUZZ_RUNS, takes another
 * seed each time and prints it with a failure.
 */
export function propertyRuns(short: number): { readonly numRuns: number; readonly seed?: number } {
  const long = Number(process.env['VOUCHSAFE_FUZZ_RUNS'] ?? 0);
  return long > 0 ? { numRuns: long } : { numRuns: short, seed: 20261121 };
}

/** Milliseconds that one property test may take: an hour when fuzzing. */
export const PROPERTY_TIMEOUT = process.env['VOUCHSAFE_FUZZ_RUNS'] ? 3_600_000 : 120_000;
