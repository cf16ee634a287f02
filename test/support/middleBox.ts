import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll } from '@jest/globals';

/** A request as it left the client. */
export interface Carried {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** An answer as it left the service. */
export interface Returned {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** What the box does to one exchange; `carry` asks the service, as often as the box likes. */
export type Attack = (request: Carried, carry: (request: Carried) => Promise<Returned>) => Promise<Returned>;

/** Carries everything as it is. */
export const HONEST: Attack = (request, carry) => carry(request);

export interface MiddleBox {
  readonly url: string;
  /** Everything that it carried. */
  readonly seen: readonly Carried[];
  attack: Attack;
  /** Forgets what it carried. */
  forget(): void;
}

const open: (() => void)[] = [];
afterAll(() => {
  for (const close of open.splice(0)) close();
});

/** Headers of one connection, or that follow from the body. */
const HOP = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'host',
  'content-encoding',
]);

/** A box on the way to a service, with the service's own port behind it: it reads and writes all that passes. */
export async function placeMiddleBox(service: string): Promise<MiddleBox> {
  const seen: Carried[] = [];
  const box = {
    url: '',
    seen,
    attack: HONEST,
    forget: () => {
      seen.length = 0;
    },
  };
  const carry = async ({ method, path, headers, body }: Carried): Promise<Returned> => {
    const init = { method, headers, ...(method === 'GET' ? {} : { body: new Uint8Array(body) }) };
    const answer = await fetch(service + path, init);
    const entries = [...answer.headers].filter(([name]) => !HOP.has(name));
    return {
      status: answer.status,
      headers: Object.fromEntries(entries),
      body: Buffer.from(await answer.arrayBuffer()),
    };
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = 'GET', url: path = '/', headers } = request;
      const carried = { method, path, headers: plain(headers), body: Buffer.concat(chunks) };
      seen.push(carried);
      box.attack(carried, carry).then(
        ({ status, headers: answered, body }) => response.writeHead(status, answered).end(body),
        () => response.destroy(),
      );
    });
  });
  open.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  box.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return box;
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  const entries = Object.entries(headers).filter(([name]) => !HOP.has(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, String(value)]));
}

/** Frames of a sealed body: each a length of 4 bytes and its ciphertext. */
export function framesOf(body: Buffer): readonly Buffer[] {
  const frames: Buffer[] = [];
  for (let offset = 0; offset < body.length;) {
    const end = offset + 4 + body.readUInt32BE(offset);
    frames.push(body.subarray(offset, end));
    offset = end;
  }
  return frames;
}
