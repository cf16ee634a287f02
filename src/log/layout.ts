import { TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';

/** Files of one log's folder, beside `tile/` and `evidence/`. */
export const FILE = {
  /** The log's origin line. */
  origin: 'origin',
  /** Decimal number: a later instance has a larger one. */
  created: 'created',
  /** The newest published checkpoint, a signed note. */
  checkpoint: 'checkpoint',
  /** The open entry bundle on a disk; the folder of its batches in an object store. */
  journal: 'journal',
  /** Held by its writer. */
  lock: 'lock',
} as const;

export const EVIDENCE_FOLDER = 'evidence';

/** Path of an evidence document below the log's folder. */
export function evidencePath(seq: number): string {
  return `${EVIDENCE_FOLDER}/${seq}.cbor`;
}

/** Path of a full entry bundle. */
export function bundlePath(index: number): string {
  return tilePath({ level: 'entries', index, width: TILE_WIDTH });
}

/** Folder of the batches of a bundle. */
export function journalFolder(bundle: number): string {
  return `${FILE.journal}/${bundle}`;
}

/** One group commit: at most 256, as each has an entry. In the order of their names. */
export function batchPath(bundle: number, batch: number): string {
  return `${journalFolder(bundle)}/${String(batch).padStart(3, '0')}`;
}
