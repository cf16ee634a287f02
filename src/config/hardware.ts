import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const FILES = ['dev/sev-guest', 'dev/tdx_guest', 'dev/nsm', 'sys/kernel/config/tsm', 'proc/driver/nvidia'];
const NVIDIA = /^nvidia/;

/** What on this machine looks like a TEE or an NVIDIA device. Simulated evidence beside it could be taken for real. */
export function signsOfHardware(root = '/'): readonly string[] {
  const found = FILES.map((file) => join(root, file)).filter((path) => existsSync(path));
  return [...found, ...nvidiaDevices(join(root, 'dev'))];
}

function nvidiaDevices(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => NVIDIA.test(name))
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}
