import type { Logger } from 'winston';
import type { Predecessor } from '../attestation/receipt/record.ts';
import type { Collector } from '../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../enclave/collect/simulated/collector.ts';
import { generateKeyring, type Keyring } from '../enclave/keys/keyring.ts';
import type { Archive } from './archive/archive.ts';
import type { InstanceLog } from './log/instanceLog.ts';
import { type FormerLogs, serveFormerLogs } from './log/formerLogs.ts';
import { openLog } from './log/openLog.ts';
import { openStorage } from './log/openStorage.ts';
import { type FormerLog, type PredecessorFacts, recoverLogs } from './log/recover.ts';
import { ConfigError } from './config/errors.ts';
import { signsOfHardware } from './config/hardware.ts';
import { configDigest } from './config/load.ts';
import { SOFTWARE } from './config/package.ts';
import { type Config, keysRequired } from './config/schema.ts';
import type { Engine } from './engine/engine.ts';
import { startEngine } from './engine/host.ts';
import type { EngineEvent } from './engine/options.ts';
import type { GrpcListening } from './grpc/listen.ts';
import { listen, type Listening } from './http/listen.ts';
import { createServiceLog } from './http/logging.ts';
import { createService, type Service } from './http/service.ts';
import { readStore } from './models/store.ts';
import { Vouching } from './receipts/vouching.ts';
import { configuredAnchoring } from './witness/configuredAnchoring.ts';

const DAY_SECONDS = 86_400;

export interface StartOptions {
  readonly log?: Logger;
  /** Told in one line each of what an operator must not overlook. */
  readonly notice?: (line: string) => void;
  /** Compiled entry of the engine process. */
  readonly childEntry?: URL;
  /** Compiled entry of a process that serves HTTP. */
  readonly processEntry?: URL;
  /** What looks like hardware here; tests say. */
  readonly signs?: readonly string[];
  readonly now?: () => number;
}

/** A service that answers. */
export interface RunningService {
  readonly url: string;
  readonly port: number;
  /** Host and port of the gRPC door; undefined where there is none. */
  readonly grpc: string | undefined;
  /** Stops accepting, finishes what is in flight, makes the final evidence and closes the log. */
  stop(): Promise<void>;
}

/** The parts with their common clock and log while the service is put together. */
interface Start {
  readonly config: Config;
  readonly log: Logger;
  readonly notice: (line: string) => void;
  readonly now: () => number;
  /** Undoes what is started, last first. */
  readonly undo: (() => Promise<unknown>)[];
}

/**
 * Puts the service together and starts it: hardware, models, keys, log, first evidence, gRPC, HTTP. Throws a coded error
 * (`ConfigError`, `ModelError`, `EngineError`, `LogError`, `VouchingError`) and leaves nothing behind.
 */
export async function startService(config: Config, options: StartOptions = {}): Promise<RunningService> {
  const log = options.log ?? createServiceLog(config.log);
  const start: Start = {
    config,
    log,
    notice: options.notice ?? ((line) => log.warn(line)),
    now: options.now ?? Date.now,
    undo: [],
  };
  try {
    const collector = await chooseCollector(start, options.signs ?? signsOfHardware());
    const engine = await startModels(start, options.childEntry ?? CHILD_ENTRY);
    const service = await assemble(start, collector, engine);
    const grpc = await openGrpc(service);
    if (grpc) start.undo.push(() => grpc.stop(Promise.resolve()));
    const listening = await openHttp(service, options.processEntry ?? PROCESS_ENTRY);
    announce(start);
    return running(start, service, { ...listening, grpc });
  } catch (error) {
    await closeAll(start.undo);
    throw error;
  }
}

/** Closes what was started, last first; what does not close does not keep the rest from it. */
async function closeAll(undo: Start['undo']): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step().catch(() => undefined);
}

/** The library of gRPC takes memory: it is loaded where there is a door for it. */
async function openGrpc(service: Service): Promise<GrpcListening | undefined> {
  if (service.config.grpc.port === undefined) return undefined;
  const { listenGrpc } = await import('./grpc/listen.ts');
  return listenGrpc(service);
}

/** Other processes run compiled code, also where this file runs from its source. */
const COMPILED = new URL(import.meta.url.endsWith('.ts') ? '../dist/src/' : './', import.meta.url);
const CHILD_ENTRY = new URL('engine/child.js', COMPILED);
const PROCESS_ENTRY = new URL('processes/worker.js', COMPILED);

/** One process answers all, or several hand their work to it. */
async function openHttp(service: Service, processEntry: URL): Promise<Listening> {
  if (service.config.server.processes === 1) return listen(service);
  const { listenInProcesses } = await import('./processes/start.ts');
  return listenInProcesses(service, processEntry);
}

async function chooseCollector({ config }: Start, signs: readonly string[]): Promise<Collector> {
  const { collector, gpus } = config.hardware;
  const [sign] = signs;
  if (collector === 'auto' && sign !== undefined) {
    throw new ConfigError('COLLECTOR_MISSING', `${sign} exists, so hardware is not simulated here`);
  }
  return createSimulatedCollector({ gpus });
}

async function startModels({ config, log, undo }: Start, childEntry: URL): Promise<Engine> {
  const { models, refused } = await readStore(config.models.directory, config.models.signing);
  const [refusal] = refused;
  if (refusal) throw refusal;
  if (models.length === 0) log.warn('the model store is empty', { directory: config.models.directory });
  const { provider, threads, batchRows, batchDelayMs, device, deviceMemoryBytes, ...caches } = config.engine;
  const tensors = { tensorRows: batchRows, tensorDelayMs: batchDelayMs };
  const engine = await startEngine({
    models,
    provider,
    childEntry,
    ...(threads > 0 && { threads }),
    tuning: { ...caches, ...tensors, device, deviceMemoryBytes },
    onEvent: (event) => {
      logEngineEvent(log, event);
    },
  });
  undo.push(() => engine.close());
  return engine;
}

function logEngineEvent(log: Logger, { kind, ...fields }: EngineEvent): void {
  const severity = kind === 'died' || kind === 'refused' ? 'warn' : 'info';
  log.log(severity, `engine: ${kind}`, fields);
}

async function assemble(start: Start, collector: Collector, engine: Engine): Promise<Service> {
  const { config, log, now, undo } = start;
  const keyring = await generateKeyring({
    host: config.server.name,
    notAfter: Math.floor(now() / 1000) + config.receipts.keysetDays * DAY_SECONDS,
    software: SOFTWARE,
    receiptAlgorithm: config.receipts.algorithm,
  });
  const { instanceLog, predecessor, former, created } = await openLogs(start, keyring);
  undo.push(() => instanceLog.close());
  const vouching = await startVouching(start, { keyring, collector, instanceLog, predecessor });
  undo.push(() => vouching.stop());
  const archive = await startArchive(start, { keyring, instanceLog, former, vouching, created });
  return createService({
    config,
    engine,
    vouching,
    archive,
    logs: { own: instanceLog, former },
    keyset: keyring.keyset,
    hpkeKey: keyring.hpke.privateKey,
    simulated: collector.name === 'simulated',
    software: SOFTWARE,
    logFailure: () => instanceLog.failure?.code,
    log,
    now,
  });
}

interface Logs {
  readonly instanceLog: InstanceLog;
  readonly former: FormerLogs;
  readonly created: number;
  readonly predecessor: Predecessor | undefined;
}

/** Looks after the logs of former instances and opens that of this one. */
async function openLogs({ config, log, undo }: Start, { keyset }: Keyring): Promise<Logs> {
  const storage = await openStorage(config);
  undo.push(() => {
    storage.close();
    return Promise.resolve();
  });
  const { logs, predecessor, created } = await recoverLogs(storage);
  for (const former of logs) logFormer(log, former);
  const instanceLog = await openLog({
    storage,
    instance: Buffer.from(keyset.instance).toString('hex'),
    origin: keyset.origin,
    created,
    onFailure: (error) => {
      log.error('the log cannot be written', { reason: error instanceof Error ? error.message : 'unknown' });
    },
  });
  return {
    instanceLog,
    former: serveFormerLogs(storage, logs),
    created,
    predecessor: predecessor && toPredecessor(predecessor),
  };
}

function logFormer(log: Logger, { instance, state, problem, cut }: FormerLog): void {
  if (state === 'damaged') log.error('a former log is damaged', { instance, problem });
  if (cut) log.warn('a torn tail was cut off a former log', { instance, ...cut });
}

function toPredecessor({ origin, checkpoint, evidenceHead }: PredecessorFacts): Predecessor {
  const none = new Uint8Array(0);
  return { origin, checkpoint: checkpoint ?? none, evidenceDigest: evidenceHead?.digest ?? none };
}

interface VouchingInputs extends Omit<Logs, 'former' | 'created'> {
  readonly keyring: Keyring;
  readonly collector: Collector;
}

function startVouching(
  { config, log, now }: Start,
  { keyring, collector, instanceLog, predecessor }: VouchingInputs,
): Promise<Vouching> {
  const { epochSeconds, epochReceipts, maxEvidenceAgeSeconds } = config.receipts;
  return Vouching.start({
    anchoring: configuredAnchoring(config, instanceLog, log, now),
    onDiscontinuity: ({ code, message, advice }) => {
      log.error('the hardware is not what it was: nothing is signed', { code, reason: message, advice });
    },
    keys: keyring,
    log: instanceLog,
    source: collector,
    configDigest: configDigest(config),
    predecessor,
    limits: {
      periodMs: epochSeconds * 1000,
      receipts: epochReceipts,
      maxEvidenceAgeMs: maxEvidenceAgeSeconds * 1000,
    },
    now,
  });
}

interface ArchiveInputs extends Omit<Logs, 'predecessor'> {
  readonly keyring: Keyring;
  readonly vouching: Vouching;
}

/** The compliance archive, where it is on. Its libraries are loaded only then. */
async function startArchive(
  { config, log, now, undo }: Start,
  { keyring, instanceLog, former, vouching, created }: ArchiveInputs,
): Promise<Archive | undefined> {
  if (!config.archive.enabled) return undefined;
  const { openArchive } = await import('./archive/openArchive.ts');
  const archive = await openArchive(config, {
    live: {
      instance: Buffer.from(keyring.keyset.instance).toString('hex'),
      created,
      log: instanceLog,
      note: (size) => vouching.checkpointAt(size),
      recordAct: (body) => vouching.recordAct(body),
    },
    former: former.logs.map(({ instance, size }) => ({ instance, size, open: () => former.open(instance) })),
    now,
    onFailure: (error) => {
      const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
      log.error('the archive cannot go on', { code, reason: message });
    },
  });
  if (!archive) return undefined;
  undo.push(async () => {
    await archive.pause();
    // The final evidence is of the log that is archived.
    await vouching.stop();
    await archive.close();
  });
  vouching.watchIssuing(({ id, tenant }) => archive.noteTenant(id, tenant));
  archive.start();
  return archive;
}

/** What must not be overlooked. */
function announce({ config, notice }: Start): void {
  notice('SIMULATED hardware: the evidence proves nothing. For development only.');
  if (!config.receipts.enabled) notice('Receipts are OFF: no answer is vouched for. For benchmarks only.');
  if (!keysRequired(config) && config.keys.required === 'never') {
    notice('API keys are OFF: whoever reaches this address is served.');
  }
}

/** The open doors. */
interface Doors extends Listening {
  readonly grpc: GrpcListening | undefined;
}

function running(
  { config, log, undo }: Start,
  service: Service,
  { port, drain, grpc }: Doors,
): RunningService {
  const stop = async (): Promise<void> => {
    const drained = drain(config.limits.shutdownTimeoutMs);
    await Promise.all([drained, grpc?.stop(drained)]);
    // Acts need a log that takes entries; what it takes until it is closed is archived after.
    await service.archive?.pause();
    await service.vouching.stop();
    const { evidenceFailure } = service.vouching;
    if (evidenceFailure) log.error('there is no final evidence', { reason: evidenceFailure.message });
    service.metrics.close();
    await closeAll(undo);
  };
  let stopped: Promise<void> | undefined;
  return {
    url: `http://${authority(config.server.host, port)}`,
    port,
    grpc: grpc && authority(config.grpc.host, grpc.port),
    stop: () => (stopped ??= stop()),
  };
}

function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Resolves once SIGINT or SIGTERM has stopped the service; a second signal ends the process at once. */
export function stopOnSignal(service: RunningService): Promise<void> {
  return new Promise((done, fail) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) process.exit(130);
      asked = true;
      service.stop().then(done, fail);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
