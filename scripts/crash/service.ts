import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import { diskStorage } from '../../src/log/diskStorage.ts';
import { INSTANCES } from '../../src/log/openStorage.ts';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../src/log/recover.ts';
import { untilReady } from '../bench/service.ts';
import { freePort } from '../freePort.ts';

export const CLI = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const CALLERS = 8;

export interface ServiceCrash {
  /** Receipts that clients were given before the kill. */
  readonly acknowledged: number;
  /** Entries of the log that was left. */
  readonly size: number;
  /** Origin that the `open` record of this instance names; undefined for the first. */
  readonly predecessor: string | undefined;
  readonly origin: string;
}

/** Serves, answers under load, is killed after `ms`; every receipt that a client was given must be in the log. */
export async function crashService(data: string, ms: number): Promise<ServiceCrash> {
  return findAcknowledged(data, await answerUntilKilled(data, ms));
}

/** The newest log in the folder must be whole and hold every receipt that a client was given. */
export async function findAcknowledged(data: string, acknowledged: readonly string[]): Promise<ServiceCrash> {
  const storage = diskStorage(join(data, INSTANCES));
  const { logs } = await recoverLogs(storage);
  const former = logs.at(-1);
  if (former?.state !== 'whole') throw new Error(`the log is ${former?.problem ?? former?.state ?? 'gone'}`);
  const log = await openReadOnlyLog(storage.files(former.instance));
  await log.audit();
  const found = new Set<string>();
  for (let index = 0; index < log.size; index++) {
    const id = receiptId(await log.entry(index));
    if (id) found.add(id);
  }
  const lost = acknowledged.filter((id) => !found.has(id));
  if (lost.length > 0)
    throw new Error(`${lost.length} acknowledged receipts are lost, ${lost[0] ?? ''} first`);
  const { record } = parseRecord(await log.entry(0));
  const predecessor = record.kind === 'open' ? record.predecessor?.origin : undefined;
  return { acknowledged: acknowledged.length, size: log.size, predecessor, origin: log.origin };
}

/** Id of the receipt that an entry is, in hex; undefined for a record about the log. */
export function receiptId(entry: Uint8Array): string | undefined {
  try {
    return Buffer.from(parseReceipt(entry).claims.id).toString('hex');
  } catch {
    // A record about the log.
    return undefined;
  }
}

async function answerUntilKilled(data: string, ms: number): Promise<readonly string[]> {
  const port = await freePort();
  const server = spawn(process.execPath, [CLI, 'serve', '--port', String(port), '--simulated'], {
    env: { ...process.env, VOUCHSAFE_DATA_DIRECTORY: data, VOUCHSAFE_LOG_LEVEL: 'error' },
    stdio: 'ignore',
  });
  const closed = once(server, 'close');
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url, server);
  const acknowledged: string[] = [];
  const callers = Array.from({ length: CALLERS }, () => callUntilGone(url, server, acknowledged));
  await delay(ms);
  server.kill('SIGKILL');
  await closed;
  await Promise.all(callers);
  return acknowledged;
}

async function callUntilGone(url: string, server: ChildProcess, acknowledged: string[]): Promise<void> {
  const request = {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'glove-sif-100d', input: 'hello' }),
  };
  while (!server.killed) {
    try {
      const response = await fetch(`${url}/v1/embeddings`, request);
      await response.arrayBuffer();
      const id = response.headers.get('vouchsafe-receipt-id');
      if (response.ok && id) acknowledged.push(id);
    } catch {
      // The kill cut this answer off: nobody was given its receipt.
      return;
    }
  }
}
