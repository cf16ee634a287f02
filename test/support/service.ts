import { mkdtemp, rm } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach } from '@jest/globals';
import { createLogger, transports } from 'winston';
import { Writable } from 'node:stream';
import { parseReceipt } from '../../attestation/receipt/receipt.ts';
import type { ReceiptClaims } from '../../attestation/receipt/claims.ts';
import { checkConfig, type ConfigOverrides } from '../../src/config/load.ts';
import { SECTIONS, type Config } from '../../src/config/schema.ts';
import type { KeeperStatus } from '../../src/collateral/keeper.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { listen } from '../../src/http/listen.ts';
import { createService, type Service } from '../../src/http/service.ts';
import type { FormerServedLogs, ServedLog } from '../../src/http/servedLog.ts';
import { configuredAci } from '../../src/receipts/aci/configuredAci.ts';
import type { KeyReleaser } from '../../src/receipts/keyReleaser.ts';
import { FakeEngine } from './fakeEngine.ts';
import { NO_LOGS, serveMemoryLog } from './servedLog.ts';
import { makeWorld, NOW, type World, type WorldOptions } from './world.ts';

/** A service over a socket, with a fake engine unless a test brings its own, and a log in memory. */
export interface TestService {
  readonly url: string;
  readonly port: number;
  readonly engine: FakeEngine;
  readonly world: World;
  readonly service: Service;
  /** Every line of the log of operations. */
  readonly lines: string[];
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  readonly drain: (timeoutMs: number) => Promise<void>;
}

const running: Pick<TestService, 'drain' | 'service'>[] = [];
const kept: Pick<TestService, 'drain' | 'service'>[] = [];
afterEach(() => stopAll(running));
afterAll(() => stopAll(kept));

function list(keep = false): Pick<TestService, 'drain' | 'service'>[] {
  return keep ? kept : running;
}

async function stopAll(services: Pick<TestService, 'drain' | 'service'>[]): Promise<void> {
  for (const { drain, service } of services.splice(0)) {
    await drain(0);
    service.metrics.close();
  }
}

/** Defaults for tests: any free port. */
export function testConfig(overrides: ConfigOverrides = {}): Config {
  const sections = Object.keys(SECTIONS) as (keyof Config)[];
  const merged = sections.map((section) => [section, { ...overrides[section] }] as const);
  const values = Object.fromEntries(merged) as Record<string, Record<string, unknown>>;
  return checkConfig({ ...values, server: { port: 0, ...values['server'] } });
}

export async function startTestService(
  overrides: ConfigOverrides = {},
  parts: {
    world?: WorldOptions;
    logFailure?: () => string | undefined;
    collateralStatus?: () => KeeperStatus;
    engine?: Engine;
    own?: ServedLog;
    former?: FormerServedLogs;
    keyReleaser?: (world: World) => KeyReleaser;
    /** Stopped after the last test of the file, not after this one. */
    keep?: boolean;
    findings?: Service['findings'];
  } = {},
): Promise<TestService> {
  const config = testConfig({ log: { level: 'debug' }, ...overrides });
  const world = await makeWorld(parts.world);
  const engine = new FakeEngine();
  const lines: string[] = [];
  const service = createService({
    config,
    engine: parts.engine ?? engine,
    vouching: world.vouching,
    keyReleaser: parts.keyReleaser?.(world),
    aci: configuredAci(config, {
      keys: () => world.keys.current,
      collectCpu: (reportData) => world.collector.collectCpu(reportData),
      receipts: world.vouching,
      simulated: true,
      now: parts.world?.now ?? (() => NOW),
    }),
    logs: {
      own: parts.own ?? serveMemoryLog(world.log, world.keyring.keyset.origin),
      former: parts.former ?? NO_LOGS,
    },
    keyset: world.keyring.keyset,
    hpkeKeys: () => world.keys.hpkeKeys,
    hybridKeys: () => world.keys.hybridKeys,
    tlsKey: config.tls.enabled ? () => world.keys.tls : undefined,
    collateralStatus: parts.collateralStatus,
    findings: parts.findings,
    simulated: true,
    software: { name: 'vouchsafe', version: '0.0.0-test' },
    logFailure: parts.logFailure ?? (() => undefined),
    log: collectLog(lines),
    now: parts.world?.now ?? (() => NOW),
  });
  const { port, drain } = await listen(service);
  list(parts.keep).push({ drain, service });
  const url = `${config.tls.enabled ? 'https' : 'http'}://127.0.0.1:${port}`;
  return {
    url,
    port,
    engine,
    world,
    service,
    lines,
    drain,
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
  };
}

function collectLog(lines: string[]): ReturnType<typeof createLogger> {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own declarations
  return createLogger({ level: 'debug', transports: [new transports.Stream({ stream })] });
}

/** The claims of every receipt in the log of a service, in order. */
export function issuedClaims({ world }: TestService): readonly ReceiptClaims[] {
  return world.log.entries.map(claimsOf).filter((claims) => claims !== undefined);
}

function claimsOf(entry: Uint8Array): ReceiptClaims | undefined {
  try {
    return parseReceipt(entry).claims;
  } catch {
    return undefined;
  }
}

/** An API key and its entry in the configuration. */
export function apiKey(name: string): {
  readonly key: string;
  readonly entry: { name: string; sha256: string };
} {
  const key = `key-of-${name}`;
  return { key, entry: { name, sha256: createHash('sha256').update(key).digest('hex') } };
}

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A folder that is removed after the tests of a file. */
export async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-service-'));
  folders.push(folder);
  return folder;
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
