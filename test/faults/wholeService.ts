import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect } from '@jest/globals';
import { createLogger } from 'winston';
import { appraiseBundle, appraiseEvidence } from '../../attestation/appraise.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { fromBase64Url, fromHex, toHex } from '../../attestation/bytes/bytes.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import { auditExport } from '../../src/audit/audit.ts';
import type { ConfigOverrides } from '../../src/config/load.ts';
import { openArchive } from '../../src/export/open.ts';
import { diskStorage } from '../../src/log/diskStorage.ts';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { startService, type RunningService, type StartOptions } from '../../src/main.ts';
import { makeFolder, testConfig } from '../support/service.ts';
import { contextOf, failures } from '../support/world.ts';
import { MODEL, type FaultyMachine } from './machine.ts';

/** What a client gets. */
export interface Answer {
  readonly status: number;
  /** Of an error. */
  readonly code: string | undefined;
}

/** What `GET /readyz` says, as far as hardware goes. */
export interface Ready extends Answer {
  readonly status: number;
  /** Codes of what stands in the way of evidence. */
  readonly obstacle:
    { readonly code: string; readonly advice: string; readonly refusal?: string } | undefined;
  /** Why the last collection failed. */
  readonly failure: { readonly code: string; readonly advice: string } | undefined;
  readonly components: readonly string[];
}

export interface ServiceSetup extends Pick<StartOptions, 'ways'> {
  readonly kds: string;
  /** Data folder; a new one by default. */
  readonly folder?: string;
  /** Milliseconds by which the clock of the service is off. */
  readonly clock?: { offset: number };
  readonly receipts?: ConfigOverrides['receipts'];
}

const ENGINE = new URL('engineProcess.mjs', import.meta.url);

const running: FaultyService[] = [];
afterEach(async () => {
  for (const service of running.splice(0)) await service.stop();
});

/** The whole service but for the runtime of its models, over a machine, as its clients see it: over a socket. */
export class FaultyService {
  readonly folder: string;
  readonly machine: FaultyMachine;
  readonly #service: RunningService;
  readonly #clock: { readonly offset: number };
  /** Ids of the receipts that came with answers. */
  readonly receipts: string[] = [];

  private constructor(
    machine: FaultyMachine,
    service: RunningService,
    folder: string,
    clock: { offset: number },
  ) {
    this.machine = machine;
    this.#service = service;
    this.folder = folder;
    this.#clock = clock;
  }

  static async start(machine: FaultyMachine, setup: ServiceSetup): Promise<FaultyService> {
    const { kds, folder = await makeFolder(), clock = { offset: 0 }, ways = machine.ways() } = setup;
    const policy = join(await makeFolder(), 'policy.json');
    await writeFile(policy, JSON.stringify(machine.policy));
    const config = testConfig({
      data: { directory: folder },
      models: { directory: machine.models },
      engine: { provider: 'cpu', threads: 1 },
      selfCheck: { policy },
      collateral: { kds, ocsp: false },
      receipts: setup.receipts ?? {},
    });
    const service = await startService(config, {
      ways,
      log: createLogger({ silent: true }),
      notice: () => undefined,
      childEntry: ENGINE,
      now: () => Date.now() + clock.offset,
    });
    const started = new FaultyService(machine, service, folder, clock);
    running.push(started);
    return started;
  }

  async stop(): Promise<void> {
    await this.#service.stop();
  }

  async infer(): Promise<Answer> {
    const response = await fetch(`${this.#service.url}/v1/embeddings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: MODEL, input: 'hello' }),
    });
    const id = response.headers.get('vouchsafe-receipt-id');
    if (id !== null) this.receipts.push(id);
    return answerOf(response.status, await response.json());
  }

  /** Asks for evidence over a nonce of its own, and judges it as a client with a right clock does. */
  async attest(): Promise<Answer & { readonly verdict: string | undefined }> {
    const nonce = randomBytes(32);
    const response = await fetch(`${this.#service.url}/v1/attestation?nonce=${toHex(nonce)}`);
    const body: unknown = await response.json();
    const answer = answerOf(response.status, body);
    if (response.status !== 200) return { ...answer, verdict: undefined };
    const { document, collateral, nonce: place } = body as Attested;
    const proof = { nonce, index: place.index, path: place.path.map(fromHex) };
    const { verdict } = await appraiseEvidence(
      fromBase64Url(document),
      proof,
      contextOf({
        policy: this.machine.policy,
        collateral: parseCollateral(decodeDc(fromBase64Url(collateral), { maxDepth: 8, maxBytes: 1 << 24 })),
        now: Date.now(),
      }),
    );
    return { ...answer, verdict: verdict.decision };
  }

  async ready(): Promise<Ready> {
    const response = await fetch(`${this.#service.url}/readyz`);
    const body = (await response.json()) as ReadyBody;
    return {
      status: response.status,
      code: undefined,
      obstacle: body.obstacles.find(({ component }) => component === 'evidence'),
      components: body.obstacles.map(({ component }) => component),
      failure: body.evidence_failure,
    };
  }

  /** What a client with a right clock refuses of the newest receipt, once it is covered. */
  async refusalsOfReceipt(): Promise<readonly string[]> {
    const headers = { 'vouchsafe-fresh': '?1' };
    const response = await fetch(`${this.#service.url}/v1/receipts/${this.receipts.at(-1)}/bundle`, {
      headers,
    });
    const bundle = new Uint8Array(await response.arrayBuffer());
    const context = contextOf({ policy: this.machine.policy, now: Date.now() });
    return failures((await appraiseBundle(bundle, {}, context)).verdict);
  }

  get(path: string): Promise<Response> {
    return fetch(`${this.#service.url}${path}`);
  }

  get now(): number {
    return Date.now() + this.#clock.offset;
  }
}

interface Attested {
  readonly document: string;
  readonly collateral: string;
  readonly nonce: { readonly index: number; readonly path: readonly string[] };
}

interface ReadyBody {
  readonly obstacles: readonly {
    readonly component: string;
    readonly code: string;
    readonly advice: string;
    readonly refusal?: string;
  }[];
  readonly evidence_failure?: { readonly code: string; readonly advice: string };
}

function answerOf(status: number, body: unknown): Answer {
  const { error } = body as { readonly error?: { readonly code: string } };
  return { status, code: error?.code };
}

/** Everything works: answers with receipts, evidence that a client accepts. */
export async function expectWhole(service: FaultyService): Promise<void> {
  expect(await service.attest()).toEqual({ status: 200, code: undefined, verdict: 'accepted' });
  expect(await service.infer()).toEqual({ status: 200, code: undefined });
  expect(await service.ready()).toMatchObject({ status: 200, components: [], failure: undefined });
}

/** Nothing is answered and nothing is signed, and it is said why. */
export async function expectStopped(service: FaultyService, code: string): Promise<void> {
  const before = service.receipts.length;
  expect(await service.infer()).toEqual({ status: 503, code: 'NOT_VOUCHING' });
  expect(service.receipts).toHaveLength(before);
  const advice = expect.any(String) as unknown;
  expect(await service.ready()).toMatchObject({ status: 503, obstacle: { code, advice } });
  expect(await (await service.get('/metrics')).text()).toContain('vouchsafe_signing_stopped 1');
  expect((await service.get('/livez')).status).toBe(200);
}

/** No evidence comes, and it is said why. */
export async function expectNoEvidence(service: FaultyService, code: string): Promise<void> {
  expect(await service.attest()).toMatchObject({ status: 503, code: 'EVIDENCE_UNAVAILABLE' });
  const advice = expect.any(String) as unknown;
  expect((await service.ready()).failure).toEqual({ code, advice });
}

/**
 * Stops the services and audits what all of them ever signed, as an auditor who knows the machine does: every document
 * is accepted, every receipt cites one, and there is no receipt but those of answers.
 */
export async function expectNothingFalse(
  services: readonly FaultyService[],
  now = Math.max(...services.map((service) => service.now)),
): Promise<{ readonly instances: number; readonly documents: number }> {
  for (const service of services) await service.stop();
  const [{ folder, machine }] = services as [FaultyService];
  const source = await openArchive(folder);
  try {
    const report = await auditExport(source, {
      name: 'faults',
      context: contextOf({ policy: machine.policy, now }),
      signatures: 'all',
      workers: 0,
      software: 'test',
    });
    const failed = report.findings.filter(({ severity }) => severity === 'fail');
    expect(failed).toEqual([]);
    expect(report.decision).toBe('accepted');
    expect(report.totals.receipts).toBe(services.flatMap(({ receipts }) => receipts).length);
    return report.totals;
  } finally {
    await source.close();
  }
}

/** Starts a service on a machine in trouble: it does not start, no GPU is let at work, and nothing is left signed. */
export async function expectNoStart(
  machine: FaultyMachine,
  setup: ServiceSetup,
  code: string,
): Promise<void> {
  const folder = await makeFolder();
  await expect(FaultyService.start(machine, { ...setup, folder })).rejects.toMatchObject({ code });
  expect(machine.driver.ready).toBe(0);
  const storage = diskStorage(join(folder, 'instances'));
  for (const instance of await storage.instances()) {
    const log = await openReadOnlyLog(storage.files(instance));
    // The record that opens the log, under keys that no evidence vouches for.
    expect([log.size, log.evidenceHead]).toEqual([1, undefined]);
  }
}
