import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { platform } from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';
import { HostingError } from '../hostingErrors.ts';

const ATTEMPTS = 4;
const PAUSE_MS = 150;

/**
 * Holds a folder as the only writer while `work` goes on. Each contender listens on a socket of its own in the
 * folder, then asks all the others: one that answers lives. The kernel closes sockets with their process, so a lock
 * outlives no process that was killed. Two that begin at once may both give way, never both go on: of two the one
 * that lists later finds the other listening.
 */
export async function withLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  await mkdir(folder, { recursive: true });
  const handle = await open(folder, 'r');
  try {
    const server = await acquire(folder, handle);
    try {
      return await work();
    } finally {
      await close(server);
    }
  } finally {
    await handle.close();
  }
}

async function acquire(folder: string, handle: FileHandle): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const name = randomBytes(8).toString('hex');
    const server = createServer((socket) => socket.destroy());
    await listen(server, addressOf(folder, handle, name));
    if (!(await othersLive(folder, handle, name))) return server;
    await close(server);
    if (attempt === ATTEMPTS) {
      throw new HostingError('STORE_LOCKED', 'another process is changing the model store');
    }
    await delay(PAUSE_MS * (0.5 + Math.random()));
  }
}

/** Whether another contender listens; the sockets of dead ones are removed. */
async function othersLive(folder: string, handle: FileHandle, own: string): Promise<boolean> {
  for (const name of await readdir(folder)) {
    if (name === own) continue;
    if (await answers(addressOf(folder, handle, name))) return true;
    await rm(join(folder, name), { force: true, recursive: true });
  }
  return false;
}

/** Socket addresses have at most 107 bytes; Linux has a short name for any open folder. */
function addressOf(folder: string, handle: FileHandle, name: string): string {
  return platform === 'linux' ? `/proc/self/fd/${handle.fd}/${name}` : join(folder, name);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, resolve);
    server.unref();
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => {
      resolve();
    });
  });
}

/**
 * Whether somebody listens. Refused is what nobody listens to, and gone what was just given up; any other error, such
 * as too many open files, says nothing of the other, who then counts as living.
 */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}
