import { RENEWALS } from './renewal.ts';

/** The folder `renewals/`: whoever controls it can take files away or add some. */
export interface RenewalFiles {
  /** Names of its files, in any order. */
  names(): Promise<readonly string[]>;
  read(name: string): Promise<Uint8Array | undefined>;
}

/** Files of one instance, as exports and stores give them. */
export interface SegmentFiles {
  /** 32 hex digits. */
  readonly instance: string;
  /** In code-unit order, each once. */
  paths(): AsyncIterable<string>;
  read(path: string): Promise<Uint8Array | undefined>;
}

/** What a file of the folder is. */
export type RenewalName =
  | { readonly kind: 'record'; readonly seq: number }
  | { readonly kind: 'list'; readonly seq: number; readonly segment: string }
  /** A TimeStampResp (RFC 3161) over the record's bytes. */
  | { readonly kind: 'timestamp'; readonly seq: number; readonly index: number };

/** Most timestamps of one renewal. */
export const MAX_TIMESTAMPS = 16;
const NAME = /^(0|[1-9][0-9]{0,7})\.(?:(cbor)|([0-9a-f]{32}|renewals)\.list|([0-9]|1[0-5])\.tsr)$/;

export function recordName(seq: number): string {
  return `${seq}.cbor`;
}

export function listName(seq: number, segment: string): string {
  return `${seq}.${segment}.list`;
}

export function timestampName(seq: number, index: number): string {
  return `${seq}.${index}.tsr`;
}

/** Undefined for what has no place in the folder. */
export function parseRenewalName(name: string): RenewalName | undefined {
  const [, number, record, segment, index] = NAME.exec(name) ?? [];
  if (number === undefined) return undefined;
  const seq = Number(number);
  if (record !== undefined) return { kind: 'record', seq };
  if (segment !== undefined) return { kind: 'list', seq, segment };
  return { kind: 'timestamp', seq, index: Number(index) };
}

/** The folder as a segment: what stands before renewal `before`, or all. */
export function renewalsSegment(files: RenewalFiles, before = Infinity): SegmentFiles {
  return {
    instance: RENEWALS,
    async *paths() {
      const names = (await files.names()).filter((name) => {
        const parsed = parseRenewalName(name);
        return parsed !== undefined && parsed.seq < before;
      });
      // By code units, as the paths of every segment are.
      yield* names.sort();
    },
    read: (name) => files.read(name),
  };
}
