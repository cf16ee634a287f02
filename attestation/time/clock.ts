/** Difference of two honest clocks that is no contradiction, milliseconds. */
export const CLOCK_SKEW_MS = 5 * 60 * 1000;

/** A time that somebody outside vouches for, milliseconds since 1970. */
export interface AttestedTime {
  readonly time: number;
  /** Who says so, for people. */
  readonly by: string;
}
