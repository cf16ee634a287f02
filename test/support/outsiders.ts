import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from '@jest/globals';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { encodeVkey, makeVkey } from '../../attestation/log/vkey.ts';
import { type RunningWitness, startWitness, type WitnessSettings } from '../../src/witness/server.ts';
import type { WitnessEvent } from '../../src/witness/witness.ts';
import { answerTimestampQuery } from './timestampAuthority.ts';

const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-witness-'));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface TestWitness extends RunningWitness {
  readonly vkey: string;
  /** Folder of its state. */
  readonly state: string;
  /** File of its list of logs. */
  readonly logs: string;
  readonly events: WitnessEvent[];
}

/** A witness over a socket for the logs of the lines. */
export async function startTestWitness(
  lines: readonly string[],
  settings: Partial<WitnessSettings> = {},
): Promise<TestWitness> {
  const folder = await temporaryFolder();
  const logs = settings.logs ?? join(folder, 'logs.txt');
  if (settings.logs === undefined) await writeFile(logs, `${lines.join('\n')}\n`);
  const events: WitnessEvent[] = [];
  const state = settings.state ?? join(folder, 'state');
  const running = await startWitness({
    name: 'example.org/w1',
    host: '127.0.0.1',
    port: 0,
    onEvent: (event) => events.push(event),
    ...settings,
    logs,
    state,
  });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= running.stop());
  undo.push(stop);
  return { ...running, stop, vkey: encodeVkey(running.witness.vkey), state, logs, events };
}

/** Vkey of the log of an instance. */
export function logVkey({ origin, log }: Keyset): string {
  return encodeVkey(makeVkey(sha256With(nodeCrypto), origin, log.x));
}

type Handler = (body: Buffer, request: IncomingMessage, response: ServerResponse) => unknown;

/** An HTTP server on loopback that answers as told; its address. */
export async function startHttp(handle: Handler): Promise<string> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => void handle(Buffer.concat(chunks), request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  undo.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A timestamp authority over HTTP with the given clock. */
export function startTimestampServer(now: () => number): Promise<string> {
  return startHttp((body, _request, response) => {
    response.setHeader('content-type', 'application/timestamp-reply');
    response.end(answerTimestampQuery(body, now()));
  });
}
