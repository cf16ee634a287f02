/** Files of one log's folder, beside `tile/` and `evidence/`. */
export const FILE = {
  /** The log's origin line. */
  origin: 'origin',
  /** Decimal number: a later instance has a larger one. */
  created: 'created',
  /** The newest published checkpoint, a signed note. */
  checkpoint: 'checkpoint',
  /** The open entry bundle. */
  journal: 'journal',
} as const;
