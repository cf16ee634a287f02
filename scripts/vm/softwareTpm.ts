import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { certifyTpm } from './attestationKey.ts';
import type { Authority } from './authority.ts';
import { freePort } from '../freePort.ts';

const LOOKS = 200;
const LOOK_STEP_MS = 50;

/** Makes the state of a new TPM with a certificate of its attestation key in it. */
export async function makeTpm(swtpm: string, state: string, authority: Authority): Promise<void> {
  await mkdir(state, { recursive: true });
  const [port, control] = [await freePort(), await freePort()];
  const at = (chosen: number): string => `type=tcp,port=${chosen},bindaddr=127.0.0.1`;
  const child = start(swtpm, state, [
    '--server',
    at(port),
    '--ctrl',
    at(control),
    '--flags',
    'not-need-init,startup-clear',
  ]);
  try {
    await untilListening(port);
    await certifyTpm({ kind: 'socket', host: '127.0.0.1', port }, authority);
  } finally {
    await end(child);
  }
}

/** Serves a TPM to one QEMU, with which it ends. */
export async function serveTpm(swtpm: string, state: string, socket: string): Promise<ChildProcess> {
  const child = start(swtpm, state, ['--ctrl', `type=unixio,path=${socket}`, '--terminate']);
  for (let look = 0; look < LOOKS && !existsSync(socket); look++) await delay(LOOK_STEP_MS);
  return child;
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}

function start(swtpm: string, state: string, args: readonly string[]): ChildProcess {
  return spawn(swtpm, ['socket', '--tpm2', '--tpmstate', `dir=${state}`, ...args], { stdio: 'ignore' });
}

async function untilListening(port: number): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    const socket = connect({ host: '127.0.0.1', port });
    const isUp = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isUp) return;
    await delay(LOOK_STEP_MS);
  }
  throw new Error('swtpm did not come up');
}
