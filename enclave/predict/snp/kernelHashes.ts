import { concat, fromHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PAGE_BYTES } from '../firmware/guidTable.ts';
import { PredictError } from '../errors.ts';

/** SHA-256 of what a host passes beside the firmware (`-kernel`, `-initrd`, `-append`). */
export interface KernelHashes {
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly cmdline: Uint8Array;
}

/** What a host passes. No initrd and no command line are empty ones. */
export interface KernelParts {
  /** The file as given, before any rewriting. */
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly cmdline?: string | undefined;
}

export function hashKernelParts(
  { kernel, initrd, cmdline }: KernelParts,
  crypto: CryptoProvider,
): KernelHashes {
  return {
    kernel: crypto.hash('sha256', kernel),
    initrd: crypto.hash('sha256', initrd ?? new Uint8Array(0)),
    cmdline: hashCmdline(cmdline ?? '', crypto),
  };
}

/** With the NUL that ends it. */
export function hashCmdline(cmdline: string, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', utf8(`${cmdline}\0`));
}

/** As they lie in memory: three little-endian numbers, then eight bytes. */
const GUID = {
  table: fromHex('06d63894224fc94cb479a793d411fd21'),
  cmdline: fromHex('d82dd09720bd944caa78e7714d36ab2a'),
  initrd: fromHex('31f7ba442f3ad74b9af141e29169781d'),
  kernel: fromHex('3794e74dd2ab7f42b835d5b172d2045b'),
} as const;

const TABLE_BYTES = 168;
const ENTRY_BYTES = 50;
const PADDING = new Uint8Array(8);

/** The table that firmware compares a kernel with, 176 bytes with its padding. */
export function kernelHashTable({ cmdline, initrd, kernel }: KernelHashes): Uint8Array {
  const entry = (guid: Uint8Array, hash: Uint8Array) => concat(guid, u16(ENTRY_BYTES), hash);
  return concat(
    GUID.table,
    u16(TABLE_BYTES),
    entry(GUID.cmdline, cmdline),
    entry(GUID.initrd, initrd),
    entry(GUID.kernel, kernel),
    PADDING,
  );
}

/** The page in which it lies; all else is zero. */
export function kernelHashPage(hashes: KernelHashes, address: number): Uint8Array {
  const table = kernelHashTable(hashes);
  const offset = address % PAGE_BYTES;
  if (offset + table.length > PAGE_BYTES) {
    throw new PredictError('FIRMWARE_MALFORMED', 'the table of kernel hashes does not fit into its page');
  }
  const page = new Uint8Array(PAGE_BYTES);
  page.set(table, offset);
  return page;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 255, value >> 8);
}
