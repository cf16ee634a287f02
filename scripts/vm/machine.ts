import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { copyFile, cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { isEmulationFault, type Refusal, refusalIn } from './console.ts';
import type { Emulator } from './emulator.ts';
import { freePort } from '../freePort.ts';
import { end, serveTpm } from './softwareTpm.ts';

/** A processor that QEMU 7.2 emulates without losing guests to cmpxchg16b. */
const CPU = 'Westmere-v1,-cx16';
const MEMORY_MIB = 768;
const STEP_MS = 250;
/** Starts until one comes as far as it must: slow emulation loses a timer now and then. */
const MAX_STARTS = 4;
/** For firmware and kernel alone; a start that has not come so far hangs. */
const KERNEL_MS = 120_000;

export interface MachineOptions {
  readonly emulator: Emulator;
  /** Raw disk; it is not written. */
  readonly disk: string;
  /** State of a TPM; the machine gets a copy. */
  readonly tpm: string;
  /** For what the machine writes: console, variables. */
  readonly folder: string;
  /** Until the service answers, milliseconds. */
  readonly timeoutMs: number;
}

/** A machine that answers, or what stopped it. */
export interface Booted {
  readonly url: string;
  readonly console: string;
  /** Undefined while it answers. */
  readonly refusal: Refusal | undefined;
  readonly seconds: number;
  readonly starts: number;
  stop(): Promise<void>;
}

interface Running {
  readonly qemu: ChildProcess;
  readonly tpm: ChildProcess;
  readonly port: number;
  readonly console: string;
}

/** Boots until the service answers /livez, the console says what refused, or the time is over. Throws then. */
export async function bootVm(options: MachineOptions): Promise<Booted> {
  for (let starts = 1; ; starts++) {
    const running = await start(options);
    const begun = performance.now();
    const found = await follow(running, options.timeoutMs);
    const rest = { url: `http://127.0.0.1:${running.port}`, console: running.console, starts };
    const seconds = (performance.now() - begun) / 1000;
    const stop = (): Promise<void> => halt(running);
    if (found === 'answers') return { ...rest, seconds, refusal: undefined, stop };
    await stop();
    if (typeof found === 'object') return { ...rest, seconds, refusal: found, stop };
    if (starts === MAX_STARTS || found === 'late')
      throw new Error(`the machine ${found}: see ${running.console}`);
  }
}

async function start({ emulator, disk, tpm, folder }: MachineOptions): Promise<Running> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const [state, variables, console] = ['tpm', 'variables.fd', 'console.log'].map((name) => join(folder, name)) as [
    string, string, string,
  ]; // prettier-ignore
  await cp(tpm, state, { recursive: true });
  await copyFile(emulator.variables, variables);
  const socket = join(folder, 'tpm.sock');
  const tpmProcess = await serveTpm(emulator.swtpm, state, socket);
  const port = await freePort();
  // What QEMU says itself, beside the console of the machine.
  const log = openSync(join(folder, 'qemu.log'), 'w');
  const args = qemuArguments({ emulator, disk, variables, console, socket, port });
  const qemu = spawn(emulator.qemu, args, { stdio: ['ignore', 'ignore', log] });
  closeSync(log);
  return { qemu, tpm: tpmProcess, port, console };
}

interface Parts {
  readonly emulator: Emulator;
  readonly disk: string;
  readonly variables: string;
  readonly console: string;
  readonly socket: string;
  readonly port: number;
}

function qemuArguments({ emulator, disk, variables, console, socket, port }: Parts): readonly string[] {
  const flash = (unit: number, file: string, rest = ''): string =>
    `if=pflash,format=raw,unit=${unit},file=${file}${rest}`;
  return [
    ...['-accel', 'tcg', '-machine', 'q35', '-cpu', CPU, '-smp', '1', '-m', String(MEMORY_MIB)],
    ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', `file:${console}`],
    ...['-drive', flash(0, emulator.firmware, ',readonly=on'), '-drive', flash(1, variables)],
    ...[
      '-drive',
      `if=none,id=disk,format=raw,readonly=on,file=${disk}`,
      '-device',
      'virtio-blk-pci,drive=disk',
    ],
    ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:8080`],
    // Without a boot program of the card, which firmware would measure into PCR 2.
    ...['-device', 'virtio-net-pci,netdev=net,romfile=', '-device', 'virtio-rng-pci'],
    ...['-chardev', `socket,id=tpm,path=${socket}`, '-tpmdev', 'emulator,id=tpm,chardev=tpm'],
    ...['-device', 'tpm-tis,tpmdev=tpm'],
  ];
}

type Found = Refusal | 'answers' | 'hangs' | 'late' | 'ended without a word';

async function follow({ qemu, port, console }: Running, timeoutMs: number): Promise<Found> {
  const begun = performance.now();
  for (;;) {
    const hasEnded = qemu.exitCode !== null || qemu.signalCode !== null;
    const text = await readFile(console, 'latin1').catch(() => '');
    const refusal = refusalIn(text);
    if (refusal) return refusal;
    if (hasEnded) return 'ended without a word';
    if (isEmulationFault(text)) return 'hangs';
    if (await answers(port)) return 'answers';
    const passed = performance.now() - begun;
    if (passed > timeoutMs) return 'late';
    if (passed > KERNEL_MS && !text.includes('guest: ')) return 'hangs';
    await delay(STEP_MS);
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/livez`, { signal: AbortSignal.timeout(2000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

async function halt({ qemu, tpm }: Running): Promise<void> {
  await end(qemu);
  await end(tpm);
}
