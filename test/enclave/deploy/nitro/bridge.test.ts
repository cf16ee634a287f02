import { createServer, type IncomingMessage, request } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Bridge } from '../../../../enclave/deploy/nitro/bridge.ts';
import { inFolder } from '../../../support/folder.ts';

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

/** A bridge from a path, as a kernel without vsock has it, to the port; and what `use` makes of it. */
async function bridged<T>(toPort: number, use: (path: string) => Promise<T>, limit?: number): Promise<T> {
  return inFolder(async (folder) => {
    const path = join(folder, 'socket');
    const bridge = new Bridge({ from: { path }, toPort, limit });
    const running = bridge.run();
    try {
      return await use(path);
    } finally {
      bridge.stop();
      await running;
    }
  });
}

async function ask(socketPath: string, body: string | Uint8Array): Promise<Buffer> {
  const sent = request({ socketPath, method: 'POST', headers: { connection: 'close' } });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return Buffer.concat((await answer.toArray()) as Buffer[]);
}

describe('a bridge', () => {
  const echo = createServer((incoming, answer) => void incoming.pipe(answer));

  beforeAll(async () => {
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
  });
  afterAll(() => {
    echo.close();
  });

  test('carries requests and answers byte for byte, large ones too', async () => {
    const large = Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 31) % 251));
    await bridged(portOf(echo), async (path) => {
      expect((await ask(path, 'hello')).toString()).toBe('hello');
      expect((await ask(path, large)).equals(large)).toBe(true);
    });
  });

  test('carries several at a time, and no more than its limit', async () => {
    const texts = Array.from({ length: 12 }, (_, index) => `request ${index}`);
    await bridged(
      portOf(echo),
      async (path) => {
        const answers = await Promise.all(texts.map((text) => ask(path, text)));
        expect(answers.map(String)).toEqual(texts);
      },
      2,
    );
  });

  test('a service that is not there ends the connection, and the next is taken', async () => {
    const gone = createTcpServer();
    gone.listen(0, '127.0.0.1');
    await once(gone, 'listening');
    const port = portOf(gone);
    gone.close();
    await once(gone, 'close');
    await bridged(port, async (path) => {
      for (const text of ['one', 'two']) await expect(ask(path, text)).rejects.toThrow();
    });
  });

  test('a client that goes away in the middle holds nothing', async () => {
    await bridged(
      portOf(echo),
      async (path) => {
        const client = connect(path);
        await once(client, 'connect');
        client.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\nabc');
        client.destroy();
        expect((await ask(path, 'after')).toString()).toBe('after');
      },
      1,
    );
  });
});
