import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { KeysetLine } from '../enclave/keys/keysetLine.ts';
import { openKeys } from '../enclave/keys/openKeys.ts';
import { dataKeySource } from '../enclave/keys/release/dataKeys.ts';
import { tdxToTrustee } from '../enclave/keys/release/trusteeEvidence.ts';
import type { Attester } from '../enclave/keys/release/vouchsafe.ts';
import { configDigest } from './config/load.ts';
import { SOFTWARE } from './config/package.ts';
import { type Config, keysRequired } from './config/schema.ts';
import { startArchive } from './main/archive.ts';
import { endBySignal, endVouching, endWithoutDevices } from './main/ending.ts';
import { findingsAtStart } from './main/findings.ts';
import { type Hardware, type MachineOptions, openHardware } from './main/hardware.ts';
import { type Logs, openLogs } from './main/logs.ts';
import type { Start } from './main/start.ts';
import { configuredEngine, type ConfiguredEngine } from './engine/configuredEngine.ts';
import type { GrpcListening } from './grpc/listen.ts';
import { listen, type Listening } from './http/listen.ts';
import { createServiceLog } from './http/logging.ts';
import { createService, type Service } from './http/service.ts';
import { unwrapDataKey } from './models/sealed/wrappedKey.ts';
import { configuredAci } from './receipts/aci/configuredAci.ts';
import { configuredEvidence, type ConfiguredEvidence } from './receipts/configuredEvidence.ts';
import { configuredKeyReleaser } from './receipts/configuredKeyRelease.ts';
import { Vouching } from './receipts/vouching.ts';
import { configuredAnchoring } from './witness/configuredAnchoring.ts';

/** Benchmarks and tests say what stands for this machine. */
export interface StartOptions extends MachineOptions {
  readonly log?: Logger;
  /** Told in one line each of what an operator must not overlook. */
  readonly notice?: (line: string) => void;
  /** Compiled entry of the engine process. */
  readonly childEntry?: URL;
  /** Compiled entry of a process that serves HTTP. */
  readonly processEntry?: URL;
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

/**
 * Puts the service together and starts it: hardware, models, keys, log, first evidence, gRPC, HTTP. Throws a coded error
 * (`ConfigError`, `ModelError`, `EngineError`, `TlsKeyError`, `LogError`, `VouchingError`) and leaves nothing behind.
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
    const hardware = await openHardware(config, options);
    start.undo.push(() => hardware.close());
    const loadModels = () => startModels(start, options.childEntry ?? CHILD_ENTRY);
    const service = await assemble(start, hardware, loadModels);
    const grpc = await openGrpc(service);
    if (grpc) start.undo.push(() => grpc.stop(Promise.resolve()));
    const listening = await openHttp(service, options.processEntry ?? PROCESS_ENTRY);
    announce(start, hardware);
    return running(start, service, { ...listening, grpc }, hardware);
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

async function startModels({ config, log, undo }: Start, childEntry: URL): Promise<ConfiguredEngine> {
  const models = await configuredEngine(config, { log, childEntry });
  undo.push(() => models.engine.close());
  return models;
}

async function assemble(
  start: Start,
  hardware: Hardware,
  loadModels: () => Promise<ConfiguredEngine>,
): Promise<Service> {
  const { config, log, now, undo } = start;
  const isSimulated = hardware.name === 'simulated';
  // A model that is refused leaves no log behind, where nothing has to come before it.
  const early = hardware.hasDevices ? undefined : await loadModels();
  const keys = await openKeys(config, {
    software: SOFTWARE,
    onEnter: ({ generation }) => log.info('new keys are in use', { generation }),
    now,
  });
  // Last of all: the final evidence and the log need them.
  undo.push(() => {
    keys.close();
    return Promise.resolve();
  });
  const { instanceLog, predecessor, former, created } = await openLogs(start, keys.keyset);
  undo.push(() => instanceLog.close());
  const evidence = await configuredEvidence(config, {
    source: hardware,
    simulated: isSimulated,
    log,
    now,
    onVerified: () => hardware.admitWork(),
  });
  undo.push(() => evidence.stop());
  const vouching = await startVouching(start, { keys, evidence, instanceLog, predecessor });
  undo.push(() => endVouching(vouching, hardware));
  evidence.follow(vouching);
  const models = early ?? (await loadVerified(start, vouching, loadModels));
  await openSealedModels(start, models, hardware, attesterOf(vouching, keys));
  const archive = await startArchive(start, { keyset: keys.keyset, instanceLog, former, vouching, created });
  return createService({
    config,
    engine: models.engine,
    vouching,
    archive,
    keyReleaser: await configuredKeyReleaser(config, vouching, now),
    aci: configuredAci(config, {
      keys: () => keys.current,
      collectCpu: (reportData) => hardware.collectCpu(reportData),
      receipts: vouching,
      simulated: isSimulated,
      now,
    }),
    logs: { own: instanceLog, former },
    keyset: keys.keyset,
    hpkeKeys: () => keys.hpkeKeys,
    hybridKeys: () => keys.hybridKeys,
    tlsKey: config.tls.enabled ? () => keys.tls : undefined,
    collateralStatus: evidence.status,
    findings: await findingsAtStart(config, hardware.findings),
    simulated: isSimulated,
    software: SOFTWARE,
    logFailure: () => instanceLog.failure?.code,
    log,
    now,
  });
}

/** Models whose data keys others release get them after evidence is there to show. */
async function openSealedModels(
  { config, now }: Start,
  models: ConfiguredEngine,
  hardware: Hardware,
  attester: Attester,
): Promise<void> {
  const trustee = tdxToTrustee(
    (reportData) => hardware.collectCpu(reportData),
    () => hardware.bootLog(),
  );
  await models.openSealed(
    dataKeySource({ ...config.keyRelease, attester, trustee, unwrap: unwrapDataKey, now }),
  );
}

/** GPUs of a confidential VM take no work before our own verifier has accepted evidence of theirs. */
async function loadVerified(
  { config, log }: Start,
  vouching: Vouching,
  loadModels: () => Promise<ConfiguredEngine>,
): Promise<ConfiguredEngine> {
  const isVerified = (): boolean => vouching.hasHead;
  if (!isVerified() && config.engine.provider !== 'cpu') {
    log.warn('models wait for evidence that our own verifier accepts', { ...vouching.stopReason });
    while (!isVerified()) await delay(VERIFIED_STEP_MS);
  }
  return loadModels();
}

/** How this instance shows whoever releases data keys what it is. */
function attesterOf(vouching: Vouching, keys: KeysetLine): Attester {
  return {
    attest: async (nonce) => {
      const { head, index, path } = await vouching.attest(nonce);
      return { document: head.encoded, index, path };
    },
    collateral: () => vouching.collateral(),
    hpkeKeys: () => keys.hpkeKeys,
  };
}

interface VouchingInputs extends Omit<Logs, 'former' | 'created'> {
  readonly keys: KeysetLine;
  readonly evidence: ConfiguredEvidence;
}

function startVouching(
  { config, log, now }: Start,
  { keys, evidence, instanceLog, predecessor }: VouchingInputs,
): Promise<Vouching> {
  const { epochSeconds, epochReceipts, maxEvidenceAgeSeconds } = config.receipts;
  return Vouching.start({
    anchoring: configuredAnchoring(config, instanceLog, log, now),
    onDiscontinuity: ({ code, message, advice }) => {
      log.error('the hardware is not what it was: nothing is signed', { code, reason: message, advice });
    },
    keys: keys.current,
    keySource: keys,
    log: instanceLog,
    source: evidence.source,
    selfCheck: evidence.selfCheck,
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

/** How often it is looked whether evidence was accepted. */
const VERIFIED_STEP_MS = 250;

/** Collectors whose evidence is of a TPM that the host runs. */
const HOSTED_TPMS: ReadonlySet<string> = new Set(['gcp-vtpm', 'nitrotpm', 'tpm']);

/** What must not be overlooked. */
function announce({ config, notice }: Start, { name }: Hardware): void {
  if (name === 'simulated') {
    notice('SIMULATED hardware: the evidence proves nothing. For development only.');
  } else if (HOSTED_TPMS.has(config.hardware.collector)) {
    notice('A TPM alone vouches for what booted: the host can read the memory of this machine.');
  }
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
  hardware: Hardware,
): RunningService {
  const stop = async (): Promise<void> => {
    const drained = drain(config.limits.shutdownTimeoutMs);
    await Promise.all([drained, grpc?.stop(drained)]);
    // Acts need a log that takes entries; what it takes until it is closed is archived after.
    await service.archive?.pause();
    await endVouching(service.vouching, hardware);
    const { evidenceFailure } = service.vouching;
    if (evidenceFailure) log.error('there is no final evidence', { reason: evidenceFailure.message });
    service.metrics.close();
    await closeAll(undo);
  };
  let stopped: Promise<void> | undefined;
  return {
    url: `${config.tls.enabled ? 'https' : 'http'}://${authority(config.server.host, port)}`,
    port,
    grpc: grpc && authority(config.grpc.host, grpc.port),
    stop: () => (stopped ??= stop()),
  };
}

function authority(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * Resolves once SIGINT or SIGTERM has stopped the service; a second signal ends the process at once. A call to hardware
 * that hangs keeps the process from neither.
 */
export function stopOnSignal(service: RunningService): Promise<void> {
  return new Promise((done, fail) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals): void => {
      if (asked) {
        endBySignal(signal);
        return;
      }
      asked = true;
      const ended = service.stop().finally(() => {
        endWithoutDevices(signal);
      });
      ended.then(done, fail);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}
