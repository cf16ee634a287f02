import { concat } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';
import { malformed } from '../firmware/guidTable.ts';
import { parseSevTables } from '../firmware/sevMetadata.ts';
import { kernelHashTable, type KernelHashes } from './kernelHashes.ts';
import { vmsaPages, type VmsaProfile } from './vmsa.ts';

export interface SevLaunch {
  /** The file. */
  readonly firmware: Uint8Array;
  readonly kernel: KernelHashes | undefined;
  /** First states of the processors, which SEV-ES measures; undefined for SEV alone. */
  readonly es: Omit<VmsaProfile, 'guestFeatures' | 'vmm'> | undefined;
}

/** Launch digest of SEV and SEV-ES, 32 bytes. These guests give no report: their owner compares it at launch. */
export function sevLaunchDigest({ firmware, kernel, es }: SevLaunch, crypto: CryptoProvider): Uint8Array {
  const { hashTableAddress, resetAddress } = parseSevTables(firmware);
  if (kernel && hashTableAddress === undefined) {
    throw new PredictError('KERNEL_HASHES_UNSUPPORTED', 'the firmware has no table for hashes of a kernel');
  }
  if (es && resetAddress === undefined) {
    throw malformed('it does not say where the application processors start');
  }
  const table = kernel ? [kernelHashTable(kernel)] : [];
  const states = es ? vmsaPages({ ...es, vmm: 'qemu', guestFeatures: 0n }, resetAddress ?? 0) : [];
  return crypto.hash('sha256', concat(firmware, ...table, ...states));
}
