import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { readBody } from '../../../src/http/body.ts';
import { ServiceError } from '../../../src/http/errors.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** What reading a body ends with, where silence may last 200 ms and `pieces` come every 50 ms. */
async function read(length: number, pieces: readonly string[]): Promise<unknown> {
  let done: (result: unknown) => void = () => undefined;
  const ended = new Promise((resolve) => (done = resolve));
  const server = createServer((request) => {
    readBody(request, 1024, 200).then(
      (bytes) => done(Buffer.from(bytes).toString()),
      (error: unknown) => done(error instanceof ServiceError ? error.code : error),
    );
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`);
  for (const piece of pieces) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.write(piece);
  }
  const result = await ended;
  socket.destroy();
  return result;
}

describe('a body', () => {
  test('may come slowly', async () => {
    expect(
      await read(
        8,
        'a b c d'.split(' ').map((piece) => piece + piece),
      ),
    ).toBe('aabbccdd');
  });

  test.each([[[]], [['ab']]])('of which nothing more comes is not waited for', async (pieces) => {
    expect(await read(8, pieces)).toBe('BODY_INCOMPLETE');
  });
});
