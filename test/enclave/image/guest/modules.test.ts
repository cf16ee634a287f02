import { describe, expect, test } from '@jest/globals';
import { fromUtf8 } from '../../../../attestation/bytes/bytes.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { bootModules } from '../../../../enclave/image/guest/modules.ts';
import type { Tree } from '../../../../enclave/image/tree.ts';
import { kernelPackage } from './kernelPackage.ts';

const MODULES = {
  'dm-mod': '', 'dm-bufio': 'dm-mod', 'dm-verity': 'dm-mod,dm-bufio', erofs: 'libcrc32c', libcrc32c: '',
  'sha256-ssse3': '', virtio_blk: '', virtio_scsi: 'scsi_mod', sd_mod: 'scsi_mod', scsi_mod: '', virtio_net: '',
  'virtio-rng': '', ena: '', gve: '', hv_vmbus: '', hv_storvsc: 'hv_vmbus', hv_netvsc: 'hv_vmbus',
  'pci-hyperv': 'hv_vmbus', configfs: '', tsm: 'configfs', 'sev-guest': 'tsm', 'tdx-guest': 'tsm', vsock: '',
  vmw_vsock_virtio_transport: 'vsock', button: '', evdev: '', unwanted: '',
} as const; // prettier-ignore
const BUILT_IN = ['sha256_generic', 'crc32c_generic', 'virtio_pci', 'nvme', 'tpm_tis', 'tpm_crb'];

function orderOf(tree: Tree): readonly string[] {
  const entry = tree.get('modules/order');
  if (entry?.kind !== 'file' || !(entry.content instanceof Uint8Array)) throw new Error('no order');
  return fromUtf8(entry.content).trimEnd().split('\n');
}

async function failure(kernel: Tree): Promise<readonly [string, string] | undefined> {
  try {
    await bootModules(kernel);
    return undefined;
  } catch (error) {
    if (error instanceof ImageError) return [error.code, error.message];
    throw error;
  }
}

describe('modules of the image', () => {
  test('come after what they need, each once, and nothing else does', async () => {
    const tree = await bootModules(kernelPackage(MODULES, BUILT_IN));
    const order = orderOf(tree);
    const place = (name: string) => order.indexOf(`${name}.ko.xz`);
    expect(new Set(order).size).toBe(order.length);
    expect(order).toHaveLength(Object.keys(MODULES).length - 1);
    expect(place('unwanted')).toBe(-1);
    for (const [name, depends] of Object.entries(MODULES)) {
      if (name === 'unwanted') continue;
      const own = place(name.replaceAll('-', '_'));
      for (const need of depends.split(',').filter((each) => each !== '')) {
        expect(place(need.replaceAll('-', '_'))).toBeLessThan(own);
      }
      expect(own).toBeGreaterThanOrEqual(0);
    }
    const files = tree.entries().filter(([, { kind }]) => kind === 'file');
    expect(files.map(([path]) => path).sort()).toEqual(
      ['modules/order', ...order.map((name) => `modules/${name}`)].sort(),
    );
  });

  test('are those of the package, byte for byte', async () => {
    const kernel = kernelPackage(MODULES, BUILT_IN);
    const tree = await bootModules(kernel);
    expect(tree.get('modules/erofs.ko.xz')).toEqual(
      kernel.get('usr/lib/modules/6.12.0-test/kernel/drivers/erofs.ko.xz'),
    );
  });

  test('that are missing are named with what they are for', async () => {
    const rest = Object.fromEntries(Object.entries(MODULES).filter(([name]) => name !== 'tsm'));
    const [code, message] = (await failure(kernelPackage(rest, BUILT_IN))) ?? [];
    expect([code, message]).toEqual(['IMAGE_INPUT_MISSING', expect.stringContaining('tsm (evidence)')]);
    const bare = await failure(kernelPackage(MODULES, BUILT_IN.slice(1)));
    expect(bare?.[1]).toContain('sha256_generic (the measured root)');
  });

  test('that need what the kernel has not got, or themselves, are refused', async () => {
    expect((await failure(kernelPackage({ ...MODULES, erofs: 'nowhere' }, BUILT_IN)))?.[0]).toBe('IMAGE_INPUT_MISSING');
    const circle = { ...MODULES, 'dm-mod': 'dm-verity' };
    expect((await failure(kernelPackage(circle, BUILT_IN)))?.[0]).toBe('IMAGE_INPUT_MALFORMED');
  }); // prettier-ignore

  test('are not taken from a kernel that does not say what is built in', async () => {
    const kernel = kernelPackage(MODULES, BUILT_IN);
    const other = kernelPackage({}, []);
    expect((await failure(other))?.[0]).toBe('IMAGE_INPUT_MISSING');
    kernel.add('usr/lib/modules/6.12.0-test/modules.builtin', { kind: 'link', target: 'elsewhere' });
    expect((await failure(kernel))?.[0]).toBe('IMAGE_INPUT_MALFORMED');
  });
});
