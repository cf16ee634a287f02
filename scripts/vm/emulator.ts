import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What an emulated machine is made of. */
export interface Emulator {
  readonly qemu: string;
  readonly swtpm: string;
  /** Firmware and its empty variables, of the build of 4 MiB. */
  readonly firmware: string;
  readonly variables: string;
}

const FIRMWARE_FOLDERS = ['/usr/share/OVMF', '/usr/share/edk2/x64', '/usr/share/edk2/ovmf'];

/** The parts on this machine, or what is missing. */
export function findEmulator(): Emulator | { readonly missing: readonly string[] } {
  const qemu = findProgram('qemu-system-x86_64');
  const swtpm = findProgram('swtpm');
  const firmware = findFirmware('OVMF_CODE_4M.fd');
  const variables = findFirmware('OVMF_VARS_4M.fd');
  if (qemu && swtpm && firmware && variables) return { qemu, swtpm, firmware, variables };
  const parts = {
    'qemu-system-x86_64': qemu,
    swtpm,
    'OVMF_CODE_4M.fd': firmware,
    'OVMF_VARS_4M.fd': variables,
  };
  return { missing: Object.entries(parts).flatMap(([name, path]) => (path === undefined ? [name] : [])) };
}

function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function findFirmware(name: string): string | undefined {
  return FIRMWARE_FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
