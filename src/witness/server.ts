import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { LogError } from '../log/errors.ts';
import { FILE } from '../log/layout.ts';
import { holdLock, isLocked, type Lock } from '../log/lock.ts';
import { WitnessError } from './errors.ts';
import { openWitnessKey } from './key.ts';
import { LogListFile } from './logList.ts';
import { Records } from './records.ts';
import { ServiceKeys } from './serviceKeys.ts';
import { Witness, type WitnessAnswer, type WitnessEvent } from './witness.ts';

/** Proof, and a checkpoint with signatures of many kinds. */
const MAX_BODY_BYTES = 64 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
const MAX_CONNECTIONS = 1024;
const MONITORED = /^\/([0-9a-f]{64})\/checkpoint$/;

export interface WitnessSettings {
  readonly name: string;
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** File that lists the logs. */
  readonly logs: string;
  /** Folder of the key and of what is remembered. */
  readonly state: string;
  readonly now?: () => number;
  readonly onEvent?: (event: WitnessEvent) => void;
  /** Told of what nobody foresaw, and of lists and services that cannot be read. */
  readonly onProblem?: (error: unknown) => void;
}

export interface RunningWitness {
  readonly url: string;
  readonly witness: Witness;
  /** Finishes what is in flight, then gives up the folder. */
  stop(): Promise<void>;
}

/** Starts a witness over HTTP. Throws `WitnessError`, or an error of the system, and leaves nothing behind. */
export async function startWitness(settings: WitnessSettings): Promise<RunningWitness> {
  const { name, host, port, state, now = Date.now } = settings;
  const { onEvent = () => undefined, onProblem = () => undefined } = settings;
  const key = await openWitnessKey(state, name);
  const logs = await LogListFile.open(settings.logs, onProblem);
  const lock = await holdState(state);
  try {
    const records = new Records(state, key.vkey);
    const services = new ServiceKeys(now, onProblem);
    const witness = new Witness({ key, records, logs, services, now, onEvent });
    const answering = new Set<ServerResponse>();
    const server = createWitnessServer(witness, answering, onProblem);
    await listen(server, host, port);
    const { port: taken } = server.address() as AddressInfo;
    const authority = host.includes(':') ? `[${host}]` : host;
    return {
      url: `http://${authority}:${taken}`,
      witness,
      stop: async () => {
        await close(server, answering);
        await lock.release();
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** What a killed witness left is no lock: nobody answers there. */
async function holdState(state: string): Promise<Lock> {
  if (await isLocked(state)) throw locked(state);
  await rm(join(state, FILE.lock), { force: true });
  return holdLock(state).catch((error: unknown) => {
    throw error instanceof LogError ? locked(state, error) : error;
  });
}

function locked(state: string, cause?: unknown): WitnessError {
  return new WitnessError('STATE_LOCKED', `a witness uses ${state}`, { cause });
}

function createWitnessServer(
  witness: Witness,
  answering: Set<ServerResponse>,
  onProblem: (error: unknown) => void,
): Server {
  const server = createServer((request, response) => {
    answering.add(response);
    response.once('close', () => answering.delete(response));
    answer(witness, request, response).catch((error: unknown) => {
      onProblem(error);
      if (response.headersSent) response.destroy();
      else send(response, 500, 'the witness failed\n');
    });
  });
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.headersTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function answer(witness: Witness, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path = ''] = (request.url ?? '').split('?');
  const [, hash] = MONITORED.exec(path) ?? [];
  if (path === '/add-checkpoint') await answerLog(witness, request, response);
  else if (hash === undefined) send(response, 404, 'there is nothing here\n');
  else await answerMonitor(witness, hash, request, response);
}

async function answerLog(
  witness: Witness,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'POST') {
    send(response, 405, 'POST only\n', { allow: 'POST' });
    return;
  }
  const body = await readRequest(request);
  if (body) sendAnswer(response, await witness.addCheckpoint(body));
  else send(response, 413, 'the body is too large\n', { connection: 'close' });
}

async function answerMonitor(
  witness: Witness,
  hash: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    send(response, 405, 'GET only\n', { allow: 'GET, HEAD' });
    return;
  }
  const note = await witness.checkpointOf(hash);
  if (note) sendAnswer(response, { status: 200, type: 'text/plain; charset=utf-8', body: note });
  else send(response, 404, 'no checkpoint of this log was cosigned\n');
}

/** Undefined where it is larger than any request is. */
async function readRequest(request: IncomingMessage): Promise<Uint8Array | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = utf8(text);
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': body.length,
    ...headers,
  });
  response.end(body);
}

function sendAnswer(
  response: ServerResponse,
  { status, type, body }: Omit<WitnessAnswer, 'status'> & { status: number },
): void {
  response.writeHead(status, { 'content-type': type, 'content-length': body.length });
  response.end(body);
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

/** Requests that are being answered have as long as a request may take; connections without one end at once. */
async function close(server: Server, answering: ReadonlySet<ServerResponse>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const deadline = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const ended = [...answering].map((response) => once(response, 'close', { signal: deadline }));
  await Promise.allSettled(ended);
  server.closeAllConnections();
  await closed;
}
