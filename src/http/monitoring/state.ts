import { toHex } from '../../../attestation/bytes/bytes.ts';
import { REFUSALS } from '../../../attestation/errors.ts';
import type { MirrorStatus } from '../../archive/archive.ts';
import type { LoadedModel } from '../../engine/engine.ts';
import { describeEvidenceFailure, type EvidenceFailureFacts } from '../../receipts/evidenceFailure.ts';
import { type Obstacle, readiness } from '../readiness.ts';
import { hardwareOf } from '../routes/health.ts';
import type { Service } from '../service.ts';

/** What was found of one thing that this machine has or lacks when the service started, as `vouchsafe doctor` says it. */
export interface MachineFinding {
  /** Such as `configfs-tsm`, `nvml` or `data`. */
  readonly what: string;
  readonly state: 'usable' | 'absent' | 'unusable';
  readonly detail: string;
  /** What an operator can do, where it is not usable. */
  readonly fix?: string | undefined;
}

/** The newest evidence. Times are seconds since 1970. */
export interface EvidenceState {
  /** Null where no document was good yet. */
  readonly head: {
    readonly seq: number;
    readonly digest: string;
    readonly collected_at: number;
    readonly age_seconds: number;
    readonly log_size: number;
    /** How many GPUs and switches it holds. */
    readonly devices: number;
  } | null;
  /** Nothing is signed under older evidence; it is renewed from half of that on. */
  readonly max_age_seconds: number;
  /** An epoch ends after this time, or with so many uncovered receipts. */
  readonly epoch_seconds: number;
  readonly epoch_receipts: number;
  /** Receipts that no document covers yet. */
  readonly uncovered: number;
  /** Why the last collection failed; null after a good one. */
  readonly failure: EvidenceFailureFacts | null;
  /** How long the newest document took, milliseconds. */
  readonly took: {
    readonly cpu: number;
    readonly devices: number;
    readonly self_check: number | null;
  } | null;
}

/** What the verifier of this service says of its evidence. */
export interface SelfCheckState {
  /** `off`: documents are not judged. `pending`: none was judged yet. */
  readonly state: 'passed' | 'failed' | 'pending' | 'off';
  /** Where it failed: the verifier's code, and what a person can do about it. */
  readonly refusal: string | null;
  readonly reason: string | null;
  readonly advice: string | null;
}

export interface ModelState {
  readonly id: string;
  readonly tasks: readonly string[];
  readonly state: 'ready' | 'loading' | 'unloading' | 'refused' | 'unavailable';
  /** Where it is not ready, a code or words. */
  readonly reason: string | null;
  readonly manifest_digest: string | null;
  readonly providers: readonly string[];
}

/** One statement of a vendor. Times are seconds since 1970. */
export interface CollateralState {
  readonly kind: string;
  readonly name: string;
  /** Null while there is none. */
  readonly age_seconds: number | null;
  /** Null where it states no end. */
  readonly expires_at: number | null;
  readonly failing: { readonly code: string; readonly advice: string; readonly since: number } | null;
}

/** How the service stands: what the console shows, what metrics measure and what alarms come from. */
export interface ServiceState {
  /** By the clock of the service, seconds since 1970. */
  readonly time: number;
  readonly started_at: number;
  readonly software: { readonly name: string; readonly version: string };
  readonly hardware: 'SIMULATED' | 'hardware';
  readonly instance: string;
  readonly log_origin: string;
  readonly receipts: boolean;
  readonly ready: boolean;
  readonly obstacles: readonly Obstacle[];
  readonly evidence: EvidenceState;
  readonly self_check: SelfCheckState;
  readonly keyset: {
    readonly generation: number;
    readonly digest: string;
    readonly not_after: number;
    readonly lifetime_seconds: number;
  };
  readonly log: {
    readonly entries: number;
    /** Entries under the newest checkpoint, and when it was first seen. */
    readonly published: number;
    readonly checkpoint_at: number | null;
    readonly failure: string | null;
  };
  readonly engine: { readonly state: string; readonly restarts: number; readonly pending: number };
  readonly models: readonly ModelState[];
  readonly requests: {
    readonly inside: number;
    readonly waiting: number;
    readonly places: number;
    readonly concurrency: number;
    /** Where several processes serve HTTP, the numbers are those of the signing one. */
    readonly processes: number;
  };
  /** Answered inference requests of the last minute, and those of them with a status of 500 and above, per second. */
  readonly last_minute: { readonly requests: number; readonly failures: number };
  /** Null where no vendor is asked. */
  readonly collateral: {
    readonly statements: readonly CollateralState[];
    readonly gaps: readonly string[];
  } | null;
  /** Null where nobody outside confirms heads of the log. */
  readonly anchoring: {
    readonly entries: number;
    readonly age_seconds: number | null;
    readonly pending_seconds: number;
    readonly failing: readonly { readonly name: string; readonly code: string; readonly advice: string }[];
  } | null;
  readonly archive: MirrorStatus | null;
  readonly findings: readonly MachineFinding[];
}

const DAY_SECONDS = 86_400;

/** Reads how the service stands. Changes nothing, and asks neither hardware nor disk. */
export function readState(service: Service): ServiceState {
  const { config, software, startedAt, keyset, findings = [], archive, now } = service;
  const { isReady, obstacles } = readiness(service);
  const { concurrency, queue } = config.limits;
  return {
    time: now() / 1000,
    started_at: startedAt,
    software,
    hardware: hardwareOf(service),
    instance: toHex(keyset.instance),
    log_origin: keyset.origin,
    receipts: config.receipts.enabled,
    ready: isReady,
    obstacles,
    evidence: evidenceState(service),
    self_check: selfCheckState(service),
    keyset: keysetState(service),
    log: logState(service),
    engine: engineState(service),
    models: modelStates(service),
    requests: {
      inside: service.admission.inside,
      waiting: service.admission.waiting,
      places: concurrency + queue,
      concurrency,
      processes: config.server.processes,
    },
    last_minute: service.monitor.lastMinute,
    collateral: collateralState(service),
    anchoring: anchoringState(service),
    archive: archive?.mirrorStatus ?? null,
    findings,
  };
}

function evidenceState({ vouching, config, now }: Service): EvidenceState {
  const { maxEvidenceAgeSeconds, epochSeconds, epochReceipts } = config.receipts;
  const { evidenceFailure, evidenceTimes: times, collectedAt } = vouching;
  const head = vouching.hasHead ? vouching.head : undefined;
  return {
    head: head
      ? {
          seq: head.seq,
          digest: toHex(head.digest),
          collected_at: collectedAt / 1000,
          age_seconds: (now() - collectedAt) / 1000,
          log_size: head.logSize,
          devices: head.serials.length,
        }
      : null,
    max_age_seconds: maxEvidenceAgeSeconds,
    epoch_seconds: epochSeconds,
    epoch_receipts: epochReceipts,
    uncovered: vouching.uncovered,
    failure: evidenceFailure ? describeEvidenceFailure(evidenceFailure) : null,
    took: times
      ? { cpu: times.cpuMs, devices: times.devicesMs, self_check: times.selfCheckMs ?? null }
      : null,
  };
}

function selfCheckState({ vouching }: Service): SelfCheckState {
  const { stopReason, evidenceTimes } = vouching;
  const nothing = { refusal: null, reason: null, advice: null };
  if (stopReason?.code === 'SELF_CHECK_FAILED') {
    const { refusal, reason, advice } = stopReason;
    return {
      state: 'failed',
      refusal: refusal ?? null,
      reason,
      advice: refusal ? REFUSALS[refusal] : (advice ?? null),
    };
  }
  if (!evidenceTimes) return { state: 'pending', ...nothing };
  return { state: evidenceTimes.selfCheckMs === undefined ? 'off' : 'passed', ...nothing };
}

function keysetState({ vouching, config }: Service): ServiceState['keyset'] {
  const { generation, notAfter } = vouching.keyset;
  return {
    generation,
    digest: toHex(vouching.keysetDigest),
    not_after: notAfter,
    lifetime_seconds: config.receipts.keysetDays * DAY_SECONDS,
  };
}

function logState({ vouching, logs, monitor, logFailure }: Service): ServiceState['log'] {
  const { checkpointAt } = monitor;
  return {
    entries: vouching.log.durableSize,
    published: logs.own.publishedSize,
    checkpoint_at: checkpointAt === undefined ? null : checkpointAt / 1000,
    failure: logFailure() ?? null,
  };
}

/** Why the process last ended can quote what it worked on: that stays in the log of operations. */
function engineState({ engine }: Service): ServiceState['engine'] {
  const { state, restarts, pending } = engine.health();
  return { state, restarts, pending };
}

function modelStates({ engine }: Service): readonly ModelState[] {
  const { state, refused } = engine.health();
  const stateOf = (model: LoadedModel): Pick<ModelState, 'state' | 'reason'> => {
    const refusal = refused.find((other) => other.model === model.id);
    if (refusal) return { state: 'refused', reason: refusal.code };
    if (state !== 'ready') return { state: 'unavailable', reason: `the engine is ${state}` };
    return { state: 'ready', reason: engine.changing.has(model.id) ? 'is being changed' : null };
  };
  const loaded = [...engine.models.values()].map((model) => ({
    id: model.id,
    tasks: model.tasks,
    ...stateOf(model),
    manifest_digest: toHex(model.manifestDigest),
    providers: model.providers,
  }));
  const coming = [...engine.changing].filter(([id]) => !engine.models.has(id));
  return [
    ...loaded,
    ...coming.map(([id, change]) => ({
      id,
      tasks: [],
      state: change === 'LOADING' ? ('loading' as const) : ('unloading' as const),
      reason: null,
      manifest_digest: null,
      providers: [],
    })),
  ];
}

function collateralState({ collateralStatus }: Service): ServiceState['collateral'] {
  if (!collateralStatus) return null;
  const { statements, gaps } = collateralStatus();
  return {
    statements: statements.map(({ kind, name, ageMs, expires, failing }) => ({
      kind,
      name,
      age_seconds: ageMs === undefined ? null : ageMs / 1000,
      expires_at: expires === undefined ? null : expires / 1000,
      failing: failing ? { code: failing.code, advice: failing.advice, since: failing.since / 1000 } : null,
    })),
    gaps,
  };
}

function anchoringState({ vouching, now }: Service): ServiceState['anchoring'] {
  const { anchoring } = vouching;
  if (!anchoring.isConfigured) return null;
  const { newest, pendingSince, failing } = anchoring;
  return {
    entries: newest?.size ?? 0,
    age_seconds: newest ? (now() - newest.at) / 1000 : null,
    pending_seconds: pendingSince === undefined ? 0 : (now() - pendingSince) / 1000,
    failing: [...failing].map(([name, { code, advice }]) => ({ name, code, advice })),
  };
}
