import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import S3rver from 's3rver';
import type { ObjectStoreSettings } from '../../src/objectStore/objectStore.ts';

/**
 * How the store answers. `serves`: as it should. `refuses`: 503. `hangs up`: closes the connection. `forgets`: does what
 * it was asked and closes the connection instead of answering. `denies`: 403. `sleeps`: never answers.
 */
export type Mood = 'serves' | 'refuses' | 'hangs up' | 'forgets' | 'denies' | 'sleeps';

export interface ObjectStoreServer {
  readonly settings: ObjectStoreSettings;
  /** Requests so far, as `METHOD path`, with their heads. */
  readonly requests: readonly SeenRequest[];
  mood: Mood;
  /** Another mood for single requests, by `METHOD path`. */
  failAt: (line: string) => Mood | undefined;
  close(): Promise<void>;
}

export interface SeenRequest {
  readonly line: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

export interface ServerOptions {
  /** Honours `If-None-Match: *`, which s3rver ignores. */
  readonly conditional?: boolean;
  /** Port; without it a free one. */
  readonly port?: number;
  /** Remembers no requests. */
  readonly forgetful?: boolean;
}

const BUCKET = 'vouchsafe';

/** An S3 store on this machine over `directory`, with moods. */
export async function startObjectStoreServer(
  directory: string,
  { conditional = false, port = 0, forgetful = false }: ServerOptions = {},
): Promise<ObjectStoreServer> {
  const s3rver = new S3rver({ directory, silent: true, configureBuckets: [{ name: BUCKET }] });
  await s3rver.configureBuckets();
  listInOnePage(s3rver);
  withoutConfiguration(s3rver);
  const answer = s3rver.callback();
  const written = new Set<string>();
  const requests: SeenRequest[] = [];
  const ways: Pick<ObjectStoreServer, 'mood' | 'failAt'> = { mood: 'serves', failAt: () => undefined };
  const server = createServer((request, response) => {
    const { method = '', url = '', headers } = request;
    const line = `${method} ${url}`;
    if (!forgetful) requests.push({ line, headers });
    const mood = ways.failAt(line) ?? ways.mood;
    if (mood === 'sleeps') return;
    if (mood === 'hangs up') request.socket.destroy();
    else if (mood === 'refuses') say(request, response, 503, 'SlowDown');
    else if (mood === 'denies') say(request, response, 403, 'AccessDenied');
    else if (conditional && isTaken(written, request)) say(request, response, 412, 'PreconditionFailed');
    else void answer(request, mood === 'forgets' ? silenced(response) : response);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return Object.assign(ways, {
    settings: settingsOf(server),
    requests,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  });
}

/** Between pages s3rver makes tokens with DES, which OpenSSL 3 no longer has. */
function listInOnePage({ store }: S3rver): void {
  const list = store.listObjects.bind(store);
  store.listObjects = (bucket, options) => list(bucket, { ...options, maxKeys: Infinity });
}

/** No bucket here has rules of its own for origins or pages, which s3rver looks for in files at every request. */
function withoutConfiguration({ store }: S3rver): void {
  store.getSubresource = () => Promise.resolve(null);
}

function settingsOf(server: Server): ObjectStoreSettings {
  const { port } = server.address() as AddressInfo;
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region: 'us-east-1',
    bucket: BUCKET,
    prefix: 'some/prefix',
    accessKeyId: 'S3RVER',
    secretAccessKey: 'S3RVER',
    pathStyle: true,
  };
}

/** Notes what is written and removed, and says whether a conditional write comes too late. */
function isTaken(written: Set<string>, { method, url = '', headers }: IncomingMessage): boolean {
  const [key = ''] = url.split('?');
  if (method === 'DELETE') written.delete(key);
  if (method !== 'PUT') return false;
  const taken = headers['if-none-match'] === '*' && written.has(key);
  written.add(key);
  return taken;
}

function say(request: IncomingMessage, response: ServerResponse, status: number, code: string): void {
  request.resume();
  request.once('end', () => {
    response.writeHead(status, { 'content-type': 'application/xml' });
    response.end(`<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`);
  });
}

/** An answer that ends with its connection instead of being sent. */
function silenced(response: ServerResponse): ServerResponse {
  const end = (): ServerResponse => {
    response.socket?.destroy();
    return response;
  };
  return Object.assign(response, { end, write: () => true });
}
