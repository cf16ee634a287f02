import { concat, toBase64Url, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { HashName } from '../../attestation/crypto/provider.ts';
import type { HclPlatform } from '../../attestation/evidence/azure/parse.ts';

const HASH_TYPES: Readonly<Partial<Record<HashName, number>>> = { sha256: 1, sha384: 2, sha512: 3 };
const REPORT_TYPES = { snp: 2, tdx: 4 } as const;
const REPORT_DATA_AT = { snp: 0x50, tdx: 128 } as const;
const REPORT_BYTES = { snp: 1184, tdx: 1024 } as const;
/** Size of NV index 0x01400001. */
const NV_BYTES = 2600;

export const VM_ID = '0123ABCD-89ab-4def-8123-456789ABCDEF';

/** An odd number of 2048 bits: parsers read it, nobody signs with it. */
export function modulus(fill: number, bytes = 256): Uint8Array {
  return new Uint8Array(bytes).fill(fill | 0x81);
}

export function rsaJwk(kid: string, n: Uint8Array): Record<string, unknown> {
  const key_ops = [kid === 'HCLEkPub' ? 'encrypt' : 'sign'];
  return { kid, key_ops, kty: 'RSA', e: 'AQAB', n: toBase64Url(n) };
}

export const CONFIGURATION: Readonly<Record<string, unknown>> = {
  'root-cert-thumbprint': '',
  'console-enabled': false,
  'interactive-console-enabled': false,
  'secure-boot': true,
  'tpm-enabled': true,
  'tpm-persisted': true,
  'filtered-vpci-devices-allowed': false,
  vmUniqueId: VM_ID,
};

/** Claims as a current paravisor makes them; undefined leaves a member out. */
export function claimsOf(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    keys: [rsaJwk('HCLAkPub', modulus(0xa0)), rsaJwk('HCLEkPub', modulus(0xb0))],
    'vm-configuration': CONFIGURATION,
    'user-data': '00'.repeat(64),
    ...changes,
  };
}

export interface HclOptions {
  readonly platform?: HclPlatform;
  /** The claims, or their text where no object has it. */
  readonly claims?: Readonly<Record<string, unknown>> | string;
  readonly hash?: HashName;
  /** Hardware report to put inside; its report data is written over. */
  readonly hardwareReport?: Uint8Array;
  /** Bytes after the claims; the rest of the NV index where absent. */
  readonly padding?: Uint8Array;
  readonly edit?: (view: DataView) => void;
}

/** An HCL report of our own whose hardware report commits to the claims. It carries no signature. */
export function mintHclReport(options: HclOptions = {}): Uint8Array {
  const { platform = 'snp', claims = claimsOf(), hash = 'sha256' } = options;
  const text = utf8(typeof claims === 'string' ? claims : JSON.stringify(claims));
  const head = new Uint8Array(0x4d4);
  head.set(utf8('HCLA'));
  const hardwareReport = options.hardwareReport ?? new Uint8Array(REPORT_BYTES[platform]).fill(0x11);
  head.set(hardwareReport, 0x20);
  head.set(reportDataOf(text, hash), 0x20 + REPORT_DATA_AT[platform]);
  const view = new DataView(head.buffer);
  const words: readonly (readonly [number, number])[] = [
    [0x04, 2],
    [0x08, head.length + text.length],
    [0x0c, 2],
    [0x4c0, 20 + text.length],
    [0x4c4, 1],
    [0x4c8, REPORT_TYPES[platform]],
    [0x4cc, HASH_TYPES[hash] ?? 0],
    [0x4d0, text.length],
  ];
  for (const [offset, value] of words) view.setUint32(offset, value, true);
  const rest = Math.max(0, NV_BYTES - head.length - text.length);
  const bytes = concat(head, text, options.padding ?? new Uint8Array(rest));
  options.edit?.(new DataView(bytes.buffer));
  return bytes;
}

/** The report data that commits to the claims: their hash and zeros. */
export function reportDataOf(claims: Uint8Array, hash: HashName = 'sha256'): Uint8Array {
  const reportData = new Uint8Array(64);
  reportData.set(nodeCrypto.hash(hash, claims));
  return reportData;
}
