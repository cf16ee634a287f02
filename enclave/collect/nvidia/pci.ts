import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const NVIDIA = '0x10de';
/** Base class 03, display controllers: VGA (0300) and 3D (0302), as data-centre GPUs have it. */
const DISPLAY = '0x03';

/** Number of GPUs of NVIDIA on the PCI bus: what the machine has, whether or not a driver is there for it. */
export async function countPciGpus(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []);
  const gpus = await Promise.all(names.map((name) => isGpu(join(folder, name))));
  return gpus.filter(Boolean).length;
}

async function isGpu(folder: string): Promise<boolean> {
  const [vendor, kind] = await Promise.all([attribute(folder, 'vendor'), attribute(folder, 'class')]);
  return vendor === NVIDIA && kind.startsWith(DISPLAY);
}

async function attribute(folder: string, name: string): Promise<string> {
  return readFile(join(folder, name), 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
}
