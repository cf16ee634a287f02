import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { connect } from '../../../src/client/connect.ts';
import { makeFolder } from '../../support/service.ts';
import { freePort } from '../../../scripts/freePort.ts';

const CLI = fileURLToPath(new URL('../../../dist/src/cli/main.js', import.meta.url));
const EMBEDDING = { model: 'glove-sif-100d', input: 'a red car' };
const START_STEPS = 600;

interface Start {
  readonly port?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** The service as operators run it, with two processes that serve HTTP. */
interface Service {
  readonly url: string;
  readonly data: string;
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  /** Whether the program has said so: from then on it hears signals. */
  readonly isReady: () => boolean;
}

async function start({ port, env }: Start = {}): Promise<Service> {
  if (!existsSync(CLI)) throw new Error('dist/ has no program: run `npx tsc -b` first');
  const data = await makeFolder();
  const taken = port ?? (await freePort());
  const child = spawn(process.execPath, [CLI, 'serve', '--simulated', '--port', String(taken)], {
    env: { ...process.env, VOUCHSAFE_DATA_DIRECTORY: data, VOUCHSAFE_SERVER_PROCESSES: '2', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += String(text)));
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  return {
    url: `http://127.0.0.1:${taken}`,
    data,
    process: child,
    ended,
    isReady: () => said.includes('is ready'),
  };
}

async function untilReady({ isReady, process: child }: Service): Promise<void> {
  for (let i = 0; i < START_STEPS && child.exitCode === null; i++) {
    if (isReady()) return;
    await delay(100);
  }
  throw new Error('the service did not get ready');
}

/** The processes that serve HTTP. */
function workersOf({ process: { pid } }: Service): readonly number[] {
  try {
    const text = execFileSync('pgrep', ['-P', String(pid), '-f', 'processes/worker'], { encoding: 'utf8' });
    return text.trim().split('\n').map(Number);
  } catch {
    return [];
  }
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
}

/** On a connection of its own: processes take connections in turn. */
function post(url: string, path: string, body: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json' };
    const sent = request(`${url}${path}`, { method: 'POST', agent: false, headers }, (response) => {
      response.resume();
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers });
      });
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

function prefixOf({ headers }: Answer): string | undefined {
  return String(headers['x-request-id']).split('-')[0];
}

async function receiptOf(url: string, { headers }: Answer): Promise<ReturnType<typeof parseReceipt>> {
  const stored = await fetch(`${url}/v1/receipts/${String(headers['vouchsafe-receipt-id'])}`);
  return parseReceipt(new Uint8Array(await stored.arrayBuffer()));
}

describe('several HTTP processes', () => {
  let service: Service;
  beforeAll(async () => {
    service = await start();
    await untilReady(service);
  }, 90_000);
  afterAll(async () => {
    service.process.kill('SIGTERM');
    await service.ended;
  }, 30_000);

  test('answer for one instance: one log, one line of indexes, one engine', async () => {
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => post(service.url, '/v1/embeddings', EMBEDDING)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(200));
    // A request id begins with a prefix of the process. Which of them takes a connection is the kernel's to say.
    const prefixes = new Set(answers.map(prefixOf));
    for (let i = 0; i < 100 && prefixes.size < 2; i++) {
      prefixes.add(prefixOf(await post(service.url, '/v1/embeddings', EMBEDDING)));
    }
    expect(prefixes.size).toBe(2);
    const receipts = await Promise.all(answers.map((answer) => receiptOf(service.url, answer)));
    const indexes = receipts.map(({ claims }) => claims.index).sort((a, b) => a - b);
    expect(new Set(indexes).size).toBe(12);
    expect(indexes.at(-1)! - indexes[0]!).toBeLessThan(24);
    expect(new Set(receipts.map(({ header }) => header.issuer)).size).toBe(1);
  });

  test('hand on what is sealed to the process that has the key', async () => {
    const session = await connect(service.url, { policy: SIMULATED_POLICY, crypto: nodeCrypto });
    const answer = await session.send({ path: '/v1/embeddings', body: JSON.stringify(EMBEDDING) });
    const { verdict } = await session.verify(answer);
    expect(verdict.decision).toBe('accepted');
  });

  test('say nothing of themselves where a path cannot be decoded', async () => {
    const refused = await fetch(`${service.url}/v2/models/%zz/infer`, { method: 'POST', body: '{}' });
    expect(refused.status).toBe(400);
    expect(await refused.text()).not.toContain('node_modules');
    expect(refused.headers.get('content-type')).toContain('application/json');
  });

  test('refuse a model that no process knows, and stop work for a client that goes away', async () => {
    const unknown = await post(service.url, '/v1/embeddings', { ...EMBEDDING, model: 'none' });
    expect(unknown.status).toBe(404);
    const leave = new AbortController();
    const stream = await fetch(`${service.url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tinygpt-1m', prompt: 'Call me', max_tokens: 200, stream: true }),
      signal: leave.signal,
    });
    const id = stream.headers.get('vouchsafe-receipt-id')!;
    await stream.body!.getReader().read();
    leave.abort();
    const receipt = async () => (await fetch(`${service.url}/v1/receipts/${id}`)).arrayBuffer();
    let status = 404;
    for (let i = 0; i < 200 && status === 404; i++) {
      ({ status } = await fetch(`${service.url}/v1/receipts/${id}`));
      await delay(10);
    }
    const { claims } = parseReceipt(new Uint8Array(await receipt()));
    expect(claims.outcome).toBe('aborted');
  });

  test('count in the metrics of the signing process', async () => {
    await post(service.url, '/v1/embeddings', EMBEDDING);
    await delay(100);
    const text = await (await fetch(`${service.url}/metrics`)).text();
    expect(text).toMatch(/vouchsafe_requests_total\{route="embeddings",status="200"\} [1-9]/);
    expect(text).toMatch(/vouchsafe_receipts_issued_total [1-9]/);
  });

  test('are started again when they die, and the others go on', async () => {
    const [first, second] = workersOf(service);
    process.kill(first!, 'SIGKILL');
    // Node loses a connection that it hands to a process which is dying.
    for (let i = 0; i < START_STEPS && workersOf(service).includes(first!); i++) await delay(20);
    await delay(200);
    const answered = await post(service.url, '/v1/embeddings', EMBEDDING);
    expect(answered.status).toBe(200);
    const restarted = (): boolean => {
      const now = workersOf(service);
      return now.length === 2 && !now.includes(first!) && now.includes(second!);
    };
    for (let i = 0; i < START_STEPS && !restarted(); i++) await delay(50);
    expect(restarted()).toBe(true);
  }, 60_000);
});

test('a stop ends them all and makes final evidence', async () => {
  const service = await start();
  await untilReady(service);
  await post(service.url, '/v1/embeddings', EMBEDDING);
  const workers = workersOf(service);
  service.process.kill('SIGTERM');
  expect(await service.ended).toBe(0);
  for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow();
  const instances = join(service.data, 'instances');
  const [instance] = await readdir(instances);
  expect((await readdir(join(instances, instance!, 'evidence'))).length).toBeGreaterThan(1);
}, 90_000);

// These two wait for most of their time.
test.concurrent(
  'a process that hangs keeps nobody from the final evidence',
  async () => {
    const service = await start({ env: { VOUCHSAFE_LIMITS_SHUTDOWN_TIMEOUT_MS: '0' } });
    await untilReady(service);
    const [hung] = workersOf(service);
    process.kill(hung!, 'SIGSTOP');
    service.process.kill('SIGTERM');
    expect(await service.ended).toBe(0);
    expect(() => process.kill(hung!, 0)).toThrow();
  },
  90_000,
);

test.concurrent(
  'an address that is taken ends the start',
  async () => {
    const first = await start();
    await untilReady(first);
    const refused = await start({ port: Number(new URL(first.url).port) });
    expect(await refused.ended).not.toBe(0);
    expect((await fetch(`${first.url}/livez`)).status).toBe(200);
    first.process.kill('SIGTERM');
    await first.ended;
  },
  90_000,
);
