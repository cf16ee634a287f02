import { type FileHandle, open } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { platform } from 'node:process';
import { join } from 'node:path';
import { LogError } from './errors.ts';

/** Says to other processes that the log of a folder is being written. */
export interface Lock {
  release(): Promise<void>;
}

const NAME = 'lock';

/**
 * Holds a folder while this process lives. The lock is a listening Unix socket in the folder: the kernel closes it
 * with the process, however that ends, so it is never stale, and it is seen from other containers that share the
 * folder, where process ids mean nothing. It does not reach other machines that mount the folder.
 */
export async function holdLock(folder: string): Promise<Lock> {
  const handle = await open(folder, 'r');
  const server = createServer((socket) => socket.destroy());
  try {
    await listen(server, addressOf(folder, handle));
  } catch (error) {
    await handle.close();
    throw new LogError('LOG_LOCKED', `no lock could be taken in ${folder}`, error);
  }
  server.unref();
  return {
    release: async () => {
      await new Promise((resolve) => server.close(resolve));
      await handle.close();
    },
  };
}

/** True while a process holds the folder. */
export async function isLocked(folder: string): Promise<boolean> {
  const handle = await open(folder, 'r');
  try {
    return await answers(addressOf(folder, handle));
  } finally {
    await handle.close();
  }
}

/** Socket addresses have at most 107 bytes; Linux has a short name for any open folder. */
function addressOf(folder: string, handle: FileHandle): string {
  return platform === 'linux' ? `/proc/self/fd/${handle.fd}/${NAME}` : join(folder, NAME);
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, resolve);
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
