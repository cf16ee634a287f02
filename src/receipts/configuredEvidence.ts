import { join } from 'node:path';
import type { Logger } from 'winston';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { CollateralKeeper, type KeeperEvent, type KeeperStatus } from '../collateral/keeper.ts';
import { withKeptCollateral } from '../collateral/keptSource.ts';
import { readSelfCheckPolicy, selfCheckAnchors } from '../config/selfCheck.ts';
import type { Config } from '../config/schema.ts';
import type { EvidenceSource } from './evidence.ts';
import { SelfCheck } from './selfCheck.ts';
import type { Vouching } from './vouching.ts';

export interface EvidenceInputs {
  readonly source: EvidenceSource;
  /** Whether the hardware was configured to be simulated. */
  readonly simulated: boolean;
  readonly log: Logger;
  readonly now: () => number;
  /** Lets devices work: after the first evidence that our own verifier accepts. */
  readonly onVerified?: ((verdict: Verdict) => Promise<void>) | undefined;
}

/** Evidence with what vendors say about it, and the judge of it. */
export interface ConfiguredEvidence {
  readonly source: EvidenceSource;
  readonly selfCheck: SelfCheck;
  /** What vendors say, and how old it is; undefined where no vendor is asked. */
  readonly status: (() => KeeperStatus) | undefined;
  /** Has evidence made anew where it failed for want of collateral that has come now. */
  follow(vouching: Pick<Vouching, 'reconsider'>): void;
  stop(): Promise<void>;
}

/** As the configuration has it. Throws `ConfigError` for a policy that cannot be read. */
export async function configuredEvidence(
  config: Config,
  inputs: EvidenceInputs,
): Promise<ConfiguredEvidence> {
  const { source, simulated, log, now, onVerified } = inputs;
  let followed: Pick<Vouching, 'reconsider'> | undefined;
  const keeper = config.collateral.enabled
    ? openKeeper(config, log, now, () => followed?.reconsider())
    : undefined;
  const selfCheck = new SelfCheck({
    policy: await readSelfCheckPolicy(config.selfCheck),
    anchors: selfCheckAnchors(config.selfCheck),
    simulated,
    now,
    onVerified,
    onRefused: ({ code, message, lasts }) => {
      log.error('the service refuses its own evidence: nothing is signed', { code, reason: message, lasts });
    },
    onUnjudged: (reasons) => {
      log.warn('no policy says what should run here, so it is not judged: set selfCheck.policy', { reasons });
    },
  });
  return {
    source: keeper ? withKeptCollateral(source, keeper) : source,
    selfCheck,
    status: keeper && (() => keeper.status()),
    follow: (vouching) => (followed = vouching),
    stop: async () => keeper?.stop(),
  };
}

function openKeeper(
  { collateral, data }: Config,
  log: Logger,
  now: () => number,
  onChange: () => void,
): CollateralKeeper {
  const { directory, kds, pccs, rimService, ocspResponder, ocsp, insecureHttp } = collateral;
  return new CollateralKeeper({
    addresses: { amd: kds, pccs, nvidia: rimService, ocsp: ocspResponder },
    cacheFolder: directory ?? join(data.directory, 'collateral'),
    ocsp,
    insecureHttp,
    now,
    onChange,
    onEvent: (event) => {
      report(log, event);
    },
  });
}

function report(log: Logger, { kind, ageMs, ...fields }: KeeperEvent): void {
  const age_seconds = ageMs === undefined ? 'there is none' : Math.round(ageMs / 1000);
  log.log(kind === 'recovered' ? 'info' : 'warn', `collateral: ${kind}`, { ...fields, age_seconds });
}
