import { z } from 'zod';
import { fromHex } from '../../../attestation/bytes/bytes.ts';
import type { LaunchCase } from './case.ts';

/** Under this name a case has the firmware of a package that is installed. */
export const PACKAGED_FIRMWARE = 'packaged firmware';

/** A number as JSON has it or as hexadecimal text. */
export const count = z.union([
  z.int().min(0),
  z
    .string()
    .regex(/^0x[0-9a-f]+$/)
    .transform(Number),
]);
export const hexBytes = z
  .string()
  .regex(/^(?:[0-9a-f]{2})*$/)
  .transform(fromHex);
/** A file of the case by name, or bytes in hex. */
const part = z.union([z.string(), z.object({ bytes: hexBytes })]).nullable();

/** Bytes of a file that an input names; undefined where none was passed. */
export function partOf({ inputs, files }: LaunchCase, name: string): Uint8Array | undefined {
  const value = part.optional().parse(inputs[name]);
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') return value.bytes;
  const bytes = files.get(value);
  if (bytes) return bytes;
  throw new Error(`the case has no file ${value}`);
}

/** The same; its absence is a fault of the case. */
export function neededPart(launch: LaunchCase, name: string): Uint8Array {
  const bytes = partOf(launch, name);
  if (bytes) return bytes;
  throw new Error(`the case has no input ${name}`);
}

/** What was computed beside what was expected. */
export interface Comparison {
  readonly what: string;
  readonly expected: unknown;
  readonly got: unknown;
}

export interface Computed {
  readonly comparisons: readonly Comparison[];
  /** What the case expects and no image says, with the reason. */
  readonly left: readonly string[];
}

/** A case of which nothing can be computed here, and why. */
export class NotComputable extends Error {}
