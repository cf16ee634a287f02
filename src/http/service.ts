import type { Logger } from 'winston';
import type { Collateral } from '../../attestation/collateral.ts';
import type { KeeperStatus } from '../collateral/keeper.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import type { Archive } from '../archive/archive.ts';
import type { Config } from '../config/schema.ts';
import type { Engine } from '../engine/engine.ts';
import type { Aci } from '../receipts/aci/aci.ts';
import type { KeyReleaser } from '../receipts/keyReleaser.ts';
import type { Vouching } from '../receipts/vouching.ts';
import { Admission } from './admission.ts';
import { Gate } from './auth.ts';
import type { Lifetime } from './lifetime.ts';
import { stackFrames } from './logging.ts';
import { INFERENCE_ROUTES } from './inferenceRoutes.ts';
import { Metrics } from './metrics.ts';
import { Monitor } from './monitoring/monitor.ts';
import { type MachineFinding, readState } from './monitoring/state.ts';
import { ReplayGuard } from './replayGuard.ts';
import type { Unsealer } from './sealed.ts';
import type { ServedLogs } from './servedLog.ts';
import type { TlsKey } from './tls.ts';
import { Vouched } from './vouched.ts';

/** What the composition root hands to this room. */
export interface ServiceParts {
  readonly config: Config;
  readonly engine: Engine;
  readonly vouching: Vouching;
  /** The log of this instance and those of former ones. */
  readonly logs: ServedLogs;
  /** What vendors say about the evidence, and how old it is; undefined where nobody is asked. */
  readonly collateralStatus?: (() => KeeperStatus) | undefined;
  /** Undefined where nothing is archived. */
  readonly archive?: Archive | undefined;
  /** Undefined where this node releases no keys. */
  readonly keyReleaser?: KeyReleaser | undefined;
  /** Undefined where ACI is not spoken. */
  readonly aci?: Aci | undefined;
  /** What is the same in all generations of its keys; for the keys in use ask `vouching`. */
  readonly keyset: Pick<Keyset, 'instance' | 'log' | 'origin'>;
  /** Private halves of the keysets' first HPKE keys: of the generation in use, then of one in its overlap. */
  readonly hpkeKeys: () => readonly CryptoKey[];
  /** Those of the hybrid entries of the same generations; absent where the keysets have none. */
  readonly hybridKeys?: (() => readonly CryptoKey[]) | undefined;
  /** Key of TLS of the keyset in use; undefined where TLS does not end here. */
  readonly tlsKey?: (() => TlsKey) | undefined;
  /** What was found on this machine when the service started; nothing where nobody looked. */
  readonly findings?: readonly MachineFinding[] | undefined;
  /** True where the evidence comes from simulated hardware. */
  readonly simulated: boolean;
  readonly software: { readonly name: string; readonly version: string };
  /** Why the log takes no entries; undefined where it does. */
  readonly logFailure: () => string | undefined;
  readonly log: Logger;
  readonly now: () => number;
}

/** Names of routes that answer inference; gRPC has one. */
const INFERENCE: ReadonlySet<string> = new Set([
  ...INFERENCE_ROUTES.map(({ name }) => name),
  'grpc ModelInfer',
]);

/** The parts with what this room keeps for itself. */
export interface Service extends ServiceParts {
  readonly gate: Gate;
  readonly admission: Admission;
  readonly metrics: Metrics;
  readonly monitor: Monitor;
  readonly vouched: Vouched;
  readonly unsealers: () => readonly Unsealer[];
  /** Requests that are being answered. */
  readonly lifetimes: Set<Lifetime>;
  readonly collateral: () => Promise<Collateral>;
  /** Seconds since 1970. */
  readonly startedAt: number;
  readonly logsRequests: boolean;
}

export function createService(parts: ServiceParts): Service {
  const { config, engine, vouching, log, now } = parts;
  const { concurrency, queue } = config.limits;
  const admission = new Admission(concurrency, queue, config.keys.apiKeys.length);
  const { collateralStatus } = parts;
  const monitor = new Monitor({
    engine,
    vouching,
    admission,
    log: parts.logs.own,
    isInference: (route) => INFERENCE.has(route),
    now,
  });
  const metrics = new Metrics({ engine, vouching, admission, collateralStatus, monitor, now });
  const vouched = new Vouched({
    engine,
    vouching,
    admission,
    archive: parts.archive,
    receipts: config.receipts.enabled,
    onUnexpected: (error) => {
      log.error('a request failed unexpectedly', { frames: stackFrames(error) });
    },
    onIssued: (answer) => {
      metrics.countAnswer(answer);
    },
  });
  const service: Service = {
    ...parts,
    gate: new Gate(config),
    admission,
    metrics,
    monitor,
    vouched,
    unsealers: withGuards(parts),
    lifetimes: new Set(),
    collateral: () => vouching.collateral(),
    startedAt: Math.floor(now() / 1000),
    logsRequests: log.isDebugEnabled(),
  };
  metrics.observeState(() => readState(service));
  return service;
}

/** Each generation has a guard of its own, which goes with its keys: a request opens under one key alone. */
function withGuards({ hpkeKeys, hybridKeys }: ServiceParts): () => readonly Unsealer[] {
  const guards = new WeakMap<CryptoKey, ReplayGuard>();
  return () => {
    const hybrids = hybridKeys?.() ?? [];
    return hpkeKeys().map((key, i) => {
      const guard = guards.get(key) ?? new ReplayGuard();
      guards.set(key, guard);
      return { key, hybrid: hybrids[i], guard };
    });
  };
}
