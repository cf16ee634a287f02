import { Refusal } from '../../errors.ts';

/** Guest policy: what the guest's owner allowed at launch (SNP firmware ABI, table «Guest policy»). */
export interface GuestPolicy {
  readonly raw: bigint;
  readonly abiMinor: number;
  readonly abiMajor: number;
  /** Bit 16: may run where hyperthreading is on. */
  readonly smt: boolean;
  /** Bit 18: may be bound to a migration agent. */
  readonly migrationAgent: boolean;
  /** Bit 19: the host may read and write guest memory. */
  readonly debug: boolean;
  /** Bit 20: may run on one socket only. */
  readonly singleSocket: boolean;
  /** Bit 21: CXL devices or memory may be present. */
  readonly cxl: boolean;
  /** Bit 22: memory encryption must be AES-256-XTS. */
  readonly memoryAes256Xts: boolean;
  /** Bit 23: running average power limit must be off. */
  readonly raplDisabled: boolean;
  /** Bit 24: ciphertext hiding for DRAM must be on. */
  readonly ciphertextHidingDram: boolean;
  /** Bit 25: page move and swap commands are off. */
  readonly pageSwapDisabled: boolean;
}

const RESERVED_ONE = 17n;
const FIRST_RESERVED = 26n;

/** Refuses reserved bits: an option that this verifier cannot name may open the guest to its host. */
export function parseGuestPolicy(raw: bigint): GuestPolicy {
  const bit = (position: bigint) => ((raw >> position) & 1n) === 1n;
  if (!bit(RESERVED_ONE)) throw new Refusal('MALFORMED', 'bit 17 of the guest policy must be one');
  if (raw >> FIRST_RESERVED !== 0n) {
    throw new Refusal('UNSUPPORTED', `guest policy 0x${raw.toString(16)} has unknown bits`);
  }
  return {
    raw,
    abiMinor: Number(raw & 0xffn),
    abiMajor: Number((raw >> 8n) & 0xffn),
    smt: bit(16n),
    migrationAgent: bit(18n),
    debug: bit(19n),
    singleSocket: bit(20n),
    cxl: bit(21n),
    memoryAes256Xts: bit(22n),
    raplDisabled: bit(23n),
    ciphertextHidingDram: bit(24n),
    pageSwapDisabled: bit(25n),
  };
}

/**
 * How the host configured the platform (SNP firmware ABI, table «PLATFORM_INFO field»). Bits above 7 have no name
 * here and stay in `raw`: a policy cannot demand them, and none is known to weaken the guest.
 */
export interface PlatformInfo {
  readonly raw: bigint;
  readonly smtEnabled: boolean;
  /** Transparent memory encryption. */
  readonly tsmeEnabled: boolean;
  readonly eccEnabled: boolean;
  readonly raplDisabled: boolean;
  readonly ciphertextHidingDramEnabled: boolean;
  /** Since the last reset firmware has looked for memory addresses that stand for two places, and found none. */
  readonly aliasCheckComplete: boolean;
  /** Bit 6; set on Turin only. */
  readonly iommuWriteSafe: boolean;
  /** Trusted I/O. */
  readonly tioEnabled: boolean;
}

export function parsePlatformInfo(raw: bigint): PlatformInfo {
  const bit = (position: bigint) => ((raw >> position) & 1n) === 1n;
  return {
    raw,
    smtEnabled: bit(0n),
    tsmeEnabled: bit(1n),
    eccEnabled: bit(2n),
    raplDisabled: bit(3n),
    ciphertextHidingDramEnabled: bit(4n),
    aliasCheckComplete: bit(5n),
    iommuWriteSafe: bit(6n),
    tioEnabled: bit(7n),
  };
}
