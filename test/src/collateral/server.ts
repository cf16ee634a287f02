import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach } from '@jest/globals';

/** What a path answers: a whole answer, or anything that can be done to a connection. */
export type Answer =
  | {
      readonly status?: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: Uint8Array | string;
    }
  | ((request: IncomingMessage, response: ServerResponse) => void);

/** Vendors' services on this machine, over a real socket. */
export interface VendorServer {
  readonly url: string;
  /** Paths with queries, in the order in which they were asked. */
  readonly asked: string[];
  /** By path with query; anything else is 404. */
  readonly routes: Map<string, Answer>;
}

const running: Server[] = [];
afterEach(async () => {
  for (const server of running.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

export async function startVendors(routes: Readonly<Record<string, Answer>> = {}): Promise<VendorServer> {
  const asked: string[] = [];
  const table = new Map(Object.entries(routes));
  const server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    answer(table.get(path) ?? { status: 404 }, request, response);
  });
  running.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, asked, routes: table };
}

function answer(what: Answer, request: IncomingMessage, response: ServerResponse): void {
  if (typeof what === 'function') {
    what(request, response);
    return;
  }
  const { status = 200, headers = {}, body = '' } = what;
  response.writeHead(status, headers);
  response.end(body);
}

/** An answer of the type, with its length declared. */
export function sends(type: string, body: Uint8Array | string, headers: Record<string, string> = {}): Answer {
  return { headers: { 'content-type': type, ...headers }, body };
}
