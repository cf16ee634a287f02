import { readFile } from 'node:fs/promises';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import { unpackXz } from '../inputs/xz.ts';
import { Tree, type TreeEntry } from '../tree.ts';
import { dependenciesOf } from './kernelModule.ts';

/** What the image needs of its kernel, by what for. Each is a module or built in; what is missing stops the build. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  'the measured root': ['dm_mod', 'dm_verity', 'erofs', 'sha256_generic', 'sha256_ssse3', 'crc32c_generic'],
  'QEMU, Google Cloud and bare metal': ['virtio_pci', 'virtio_blk', 'virtio_scsi', 'sd_mod', 'virtio_net', 'virtio_rng'],
  'AWS, Google Cloud': ['nvme', 'ena', 'gve'],
  Azure: ['hv_vmbus', 'hv_storvsc', 'hv_netvsc', 'pci_hyperv'],
  evidence: ['configfs', 'tsm', 'sev_guest', 'tdx_guest', 'tpm_tis', 'tpm_crb'],
  'quotes by vsock': ['vsock', 'vmw_vsock_virtio_transport'],
  'the power button': ['button', 'evdev'],
}; // prettier-ignore

const SUFFIX = '.ko.xz';
/** Bytes: the largest of the kernel that is pinned has less than one million. */
const MAX_MODULE_BYTES = 32 * 1024 * 1024;

/**
 * Modules that the first program loads, and `order`, in which each finds what it needs. They stay as the distribution
 * compressed and signed them: the kernel unpacks and checks them.
 */
export async function bootModules(kernel: Tree): Promise<Tree> {
  const modules = findModules(kernel);
  const builtIn = await builtInModules(kernel);
  const missing = Object.entries(NEEDED).flatMap(([purpose, names]) =>
    names.filter((name) => !modules.has(name) && !builtIn.has(name)).map((name) => `${name} (${purpose})`),
  );
  if (missing.length > 0)
    throw new ImageError('IMAGE_INPUT_MISSING', `the kernel has no ${missing.join(', ')}`);
  const chosen = new Map<string, Uint8Array>();
  for (const name of Object.values(NEEDED).flat()) await choose(name, { modules, builtIn, chosen });
  const boot = new Tree();
  for (const [name, content] of chosen) boot.add(`modules/${name}${SUFFIX}`, fileOf(content));
  const order = [...chosen.keys()].map((name) => `${name}${SUFFIX}\n`).join('');
  boot.add('modules/order', fileOf(utf8(order)));
  return boot;
}

interface Choosing {
  readonly modules: ReadonlyMap<string, TreeEntry>;
  readonly builtIn: ReadonlySet<string>;
  /** In the order in which they are loaded. */
  readonly chosen: Map<string, Uint8Array>;
}

/** What a module needs comes before it. Its circle with another would end here, and no kernel could load it. */
async function choose(name: string, choosing: Choosing, above: readonly string[] = []): Promise<void> {
  const { modules, builtIn, chosen } = choosing;
  if (chosen.has(name) || builtIn.has(name)) return;
  if (above.includes(name))
    throw new ImageError('IMAGE_INPUT_MALFORMED', `kernel module ${name} needs itself`);
  const entry = modules.get(name);
  if (!entry)
    throw new ImageError('IMAGE_INPUT_MISSING', `the kernel has no ${name}, which ${above.at(-1)} needs`);
  const packed = await contentOf(entry);
  const needs = dependenciesOf(name, await unpackXz(packed, MAX_MODULE_BYTES)).map(moduleName);
  for (const need of needs) await choose(need, choosing, [...above, name]);
  chosen.set(name, packed);
}

/** By name; the kernel takes `-` and `_` for the same. */
function findModules(kernel: Tree): ReadonlyMap<string, TreeEntry> {
  const files = kernel
    .entries()
    .filter(([path]) => path.startsWith('usr/lib/modules/') && path.endsWith(SUFFIX));
  return new Map(files.map(([path, entry]) => [moduleName(path), entry]));
}

/** `modules.builtin`: a path in each line. */
async function builtInModules(kernel: Tree): Promise<ReadonlySet<string>> {
  const [list] = kernel
    .entries()
    .filter(([path]) => /^usr\/lib\/modules\/[^/]+\/modules\.builtin$/.test(path));
  if (!list) throw new ImageError('IMAGE_INPUT_MISSING', 'the kernel does not say what is built into it');
  const lines = new TextDecoder().decode(await contentOf(list[1])).split('\n');
  return new Set(lines.filter((line) => line !== '').map(moduleName));
}

function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.replace(/\.ko(?:\.xz)?$/, '').replaceAll('-', '_');
}

async function contentOf(entry: TreeEntry): Promise<Uint8Array> {
  if (entry.kind !== 'file') throw new ImageError('IMAGE_INPUT_MALFORMED', 'a kernel module is no file');
  return entry.content instanceof Uint8Array ? entry.content : readFile(entry.content.path);
}

function fileOf(content: Uint8Array): TreeEntry {
  return { kind: 'file', mode: 0o644, content };
}
