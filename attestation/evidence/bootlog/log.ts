import { Refusal } from '../../errors.ts';
import type { HashName } from '../../crypto/provider.ts';
import { EV } from './eventTypes.ts';

/**
 * `sha1`: TCG_PCR_EVENT, one SHA-1 bank. `tcg2`: TCG_PCR_EVENT2, several banks. `ccel`: the same of a TD, one SHA-384
 * bank over RTMRs. `dstack`: JSON over RTMRs.
 */
export type BootLogFormat = 'tcg2' | 'sha1' | 'ccel' | 'dstack';

/** Largest log, in bytes. CCEL areas are 64 or 256 KiB, logs of a TPM seldom pass 64 KiB. */
export const MAX_LOG_BYTES = 4 * 1024 * 1024;
/** Most events. The longest genuine log at hand has 159; each costs a few digests. */
export const MAX_EVENTS = 8192;

export const DIGEST_BYTES: Readonly<Record<HashName, number>> = {
  sha1: 20,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};

/** How dstack names what a running guest extends. Version 1 joins by colons, version 2 is canonical JSON. */
export interface RuntimeName {
  readonly name: string;
  readonly version: 1 | 2;
}

/** One entry of a log. Nothing of it is proved until `checkBootLog` has compared the registers. */
export interface BootEvent {
  /** Position in the log, the header event included. */
  readonly index: number;
  /** PCR, or RTMR 0 to 3. Undefined where the log names MRTD, which nothing extends at run time. */
  readonly register: number | undefined;
  readonly type: number;
  readonly typeName: string;
  /** By bank. Empty for a dstack runtime event without a digest: it is computed from name and payload. */
  readonly digests: ReadonlyMap<HashName, Uint8Array>;
  readonly data: Uint8Array;
  /** Present for dstack runtime events only, whose digest covers it. */
  readonly runtime: RuntimeName | undefined;
}

export interface BootLog {
  readonly format: BootLogFormat;
  /** Banks in which this verifier can replay the log. */
  readonly banks: readonly HashName[];
  /** Banks that the log has besides; their digests are passed over by their size. */
  readonly otherBanks: readonly string[];
  /** Locality of TPM2_Startup, where the log states one. */
  readonly startupLocality: number | undefined;
  readonly events: readonly BootEvent[];
}

export function isTpmLog({ format }: Pick<BootLog, 'format'>): boolean {
  return format === 'tcg2' || format === 'sha1';
}

/** `PCR 4` or `RTMR 1`. */
export function registerName(log: Pick<BootLog, 'format'>, register: number): string {
  return `${isTpmLog(log) ? 'PCR' : 'RTMR'} ${register}`;
}

export function isExtended({ type }: BootEvent): boolean {
  return type !== EV.NO_ACTION;
}

export function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `boot log: ${detail}`);
}
