/** Bits of TDATTRIBUTES (Intel TDX module ABI specification, «ATTRIBUTES»). */
export const TD_ATTRIBUTES = {
  DEBUG: 0n,
  HGS_PLUS_PROF: 4n,
  PERF_PROF: 5n,
  PMT_PROF: 6n,
  ICSSD: 16n,
  SERVTD_EXT: 17n,
  LASS: 27n,
  SEPT_VE_DISABLE: 28n,
  MIGRATABLE: 29n,
  PKS: 30n,
  KL: 31n,
  TPA: 62n,
  PERFMON: 63n,
} as const;
export type TdAttribute = keyof typeof TD_ATTRIBUTES;

const KNOWN = Object.values(TD_ATTRIBUTES).reduce<bigint>((known, bit) => known | (1n << bit), 0n);

/** Whether the bit of that name is set in TDATTRIBUTES. */
export function hasAttribute(attributes: bigint, name: TdAttribute): boolean {
  return ((attributes >> TD_ATTRIBUTES[name]) & 1n) === 1n;
}

/** Bits without a name: what they open to the host is not known. */
export function unknownAttributes(attributes: bigint): bigint {
  return attributes & ~KNOWN;
}
