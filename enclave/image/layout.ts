import { createHash } from 'node:crypto';
import { toHex } from '../../attestation/bytes/bytes.ts';
import type { VerityFact } from './release/facts.ts';

/** Files of the folder that a build writes. */
export const OUTPUTS = {
  disk: 'disk.raw',
  uki: 'vouchsafe.efi',
  kernel: 'vmlinuz',
  initrd: 'initrd',
  cmdline: 'cmdline',
  root: 'root.erofs',
  rootTree: 'root.verity',
  models: 'models.erofs',
  modelsTree: 'models.verity',
} as const;

/** Names that a random choice would make another image of each time. */
export const GUIDS = {
  disk: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c001',
  esp: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c002',
  root: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c003',
  rootTree: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c004',
  models: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c005',
  modelsTree: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c006',
  rootFileSystem: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c007',
  modelsFileSystem: '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c008',
} as const;

/**
 * A panic starts the machine again, which is another launch. The kernel takes only modules that its distribution
 * signed, and nothing in user space reaches its memory.
 */
const KERNEL_WORDS = [
  'console=ttyS0',
  'panic=-1',
  'loglevel=4',
  'lockdown=integrity',
  'module.sig_enforce=1',
  'random.trust_bootloader=off',
];

/** A salt has no secret here: equal blocks of two volumes shall have different digests. 32 bytes. */
export function saltOf(volume: 'root' | 'models'): Uint8Array {
  return createHash('sha256').update(`vouchsafe/verity-salt/${volume}/1`).digest();
}

/** What the first program is told, and nothing else: it refuses a word that it does not know. */
export function commandLine(root: VerityFact, models: VerityFact | undefined): string {
  const words = [...KERNEL_WORDS, volumeWord('root', GUIDS.root, GUIDS.rootTree, root)];
  if (models !== undefined) words.push(volumeWord('models', GUIDS.models, GUIDS.modelsTree, models));
  return words.join(' ');
}

function volumeWord(
  name: string,
  data: string,
  tree: string,
  { rootHash, dataBlocks, salt }: VerityFact,
): string {
  return `vouchsafe.${name}=${[data, tree, rootHash, String(dataBlocks), salt].join(',')}`;
}

/** What was chosen beside the inputs, for the manifest. */
export function parametersOf(): Readonly<Record<string, string>> {
  return {
    time: '1970-01-01T00:00:00Z',
    'kernel.words': KERNEL_WORDS.join(' '),
    'root.compression': 'lz4hc',
    'models.compression': 'none',
    'verity.hash': 'sha256',
    'verity.block': '4096',
    'verity.salt.root': toHex(saltOf('root')),
    'verity.salt.models': toHex(saltOf('models')),
    ...Object.fromEntries(Object.entries(GUIDS).map(([name, guid]) => [`guid.${name}`, guid])),
  };
}
