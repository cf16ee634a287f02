import { PredictError } from '../errors.ts';

/** What the owner of a guest demands of its launch: the firmware of the processor refuses any other measurement. */
export interface IdBlock {
  /** 48 bytes. */
  readonly launchDigest: Uint8Array;
  /** 16 bytes. */
  readonly familyId: Uint8Array;
  /** 16 bytes. */
  readonly imageId: Uint8Array;
  readonly guestSvn: number;
  /** Guest policy (SEV-SNP ABI, section 4.3). */
  readonly policy: bigint;
}

const VERSION = 1;
const ID_BLOCK_BYTES = 96;

/** The 96 bytes that are signed with ECDSA P-384 and SHA-384 (SEV-SNP ABI, section 8.18). */
export function encodeIdBlock({ launchDigest, familyId, imageId, guestSvn, policy }: IdBlock): Uint8Array {
  requireLength('launch digest', launchDigest, 48);
  requireLength('family id', familyId, 16);
  requireLength('image id', imageId, 16);
  const block = new Uint8Array(ID_BLOCK_BYTES);
  block.set(launchDigest, 0);
  block.set(familyId, 48);
  block.set(imageId, 64);
  const view = new DataView(block.buffer);
  view.setUint32(80, VERSION, true);
  view.setUint32(84, guestSvn, true);
  view.setBigUint64(88, policy, true);
  return block;
}

function requireLength(what: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new PredictError('PROFILE_INVALID', `${what} of ${bytes.length} bytes`);
}
