import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** A request as it came. */
export interface MetadataCall {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface FakeMetadata {
  readonly origin: string;
  readonly calls: MetadataCall[];
  /** Answers; what it does not end stays unanswered. */
  answer: (call: MetadataCall, response: ServerResponse) => void | Promise<void>;
  stop(): Promise<void>;
}

/** A metadata service on the loopback interface. */
export async function startMetadata(answer: FakeMetadata['answer']): Promise<FakeMetadata> {
  const server = createServer((request, response) => {
    void receive(request).then((call) => {
      service.calls.push(call);
      return service.answer(call, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const service: FakeMetadata = {
    origin: `http://127.0.0.1:${port}`,
    calls: [],
    answer,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return service;
}

async function receive(request: IncomingMessage): Promise<MetadataCall> {
  const parts: Uint8Array[] = [];
  for await (const part of request as AsyncIterable<Uint8Array>) parts.push(part);
  const { method = '', url = '', headers } = request;
  return { method, url, headers, body: Buffer.concat(parts).toString() };
}
