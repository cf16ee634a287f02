import { ImageError } from '../errors.ts';
import { Tree, type TreeEntry } from '../tree.ts';

/** Where the loader of the image finds libraries. */
const LIBRARIES = 'usr/lib/x86_64-linux-gnu';
/** Folders of packages whose shared libraries go there: NVIDIA's driver, and the toolkit with its version. */
const SOURCES = [
  /^usr\/lib\/x86_64-linux-gnu\/([^/]+\.so(?:\.[0-9.]+)?)$/,
  /^usr\/local\/cuda-13\.\d+\/targets\/x86_64-linux\/lib\/([^/]+\.so(?:\.[0-9.]+)?)$/,
];
/** Firmware of the GPU's system processor, which the kernel reads from the root. */
const FIRMWARE = /^(?:usr\/)?lib\/(firmware\/nvidia\/[0-9.]+\/gsp_[a-z0-9]+\.bin)$/;
/** Without these the engine does not load, or the GPU gives no evidence. */
const REQUIRED = [
  'libcuda.so.1',
  'libnvidia-ml.so.1',
  'libcudart.so.13',
  'libcublas.so.13',
  'libcublasLt.so.13',
  'libcurand.so.10',
] as const;

/**
 * What a root needs beside the service to run models on a GPU, from unpacked packages: libraries and firmware, and
 * nothing that could be started. Refuses as `IMAGE_INPUT_MISSING` what lacks a library.
 */
export function cudaTree(packages: readonly Tree[]): Tree {
  const tree = new Tree();
  for (const [path, entry] of packages.flatMap((content) => content.entries())) {
    const target = targetOf(path);
    if (target !== undefined) tree.add(target, placed(path, entry));
  }
  const missing = REQUIRED.filter((name) => !leadsToFile(tree, `${LIBRARIES}/${name}`));
  if (missing.length > 0) {
    throw new ImageError('IMAGE_INPUT_MISSING', `the pinned packages bring no ${missing.join(', ')}`);
  }
  if (
    !tree.entries().some(([path]) => path.startsWith('usr/lib/firmware/nvidia/') && path.endsWith('.bin'))
  ) {
    throw new ImageError('IMAGE_INPUT_MISSING', 'the pinned packages bring no firmware of the GPU');
  }
  return tree;
}

function targetOf(path: string): string | undefined {
  for (const source of SOURCES) {
    const name = source.exec(path)?.[1];
    if (name !== undefined) return `${LIBRARIES}/${name}`;
  }
  const firmware = FIRMWARE.exec(path)?.[1];
  return firmware === undefined ? undefined : `usr/lib/${firmware}`;
}

/** Libraries are mapped, not started; links lead within their folder only. */
function placed(path: string, entry: TreeEntry): TreeEntry {
  if (entry.kind === 'file') return { ...entry, mode: 0o644 };
  if (entry.kind === 'link' && !entry.target.includes('/')) return entry;
  throw new ImageError('IMAGE_INPUT_MALFORMED', `${path} is neither a library nor a link beside one`);
}

/** Links of libraries are one or two deep; a circle leads nowhere. */
function leadsToFile(tree: Tree, path: string, depth = 0): boolean {
  const entry = tree.get(path);
  if (entry?.kind !== 'link') return entry?.kind === 'file';
  return depth < 4 && leadsToFile(tree, `${LIBRARIES}/${entry.target}`, depth + 1);
}
