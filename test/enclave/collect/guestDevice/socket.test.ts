import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { openLibrary } from '../../../../enclave/collect/guestDevice/openLibrary.ts';
import { HostSocket } from '../../../../enclave/collect/guestDevice/socket.ts';
import { collectFailure } from '../../../support/collecting.ts';

describe('a stream to a service of the host, by the C library of this process', () => {
  let folder: string;
  let path: string;
  let server: Server;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stream-'));
    path = join(folder, 'service');
    server = createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => server.listen(path, resolve));
  });
  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  });

  async function echo(remainingMs: number, bytes: Uint8Array): Promise<Uint8Array> {
    const { signal } = new AbortController();
    const deadline = { signal, remainingMs: () => remainingMs, retryingAfter: () => undefined };
    return HostSocket.use(await openLibrary(), { path }, deadline, async (socket) => {
      await socket.write(bytes);
      return socket.read(bytes.length);
    });
  }

  // A `struct timeval` of a million microseconds is refused with EDOM.
  test.each([60_000, 59_999.999_99, 59_999.000_01])('takes %d milliseconds as its limit', async (left) => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
    expect(await echo(left, bytes)).toEqual(bytes);
  });

  test('is not used where no time is left', async () => {
    expect(await collectFailure(() => echo(0, Uint8Array.of(1)))).toBe('DEVICE_TIMEOUT');
  });
});
