import { type Action, json } from '../endpoint.ts';
import { readiness } from '../readiness.ts';
import type { KeeperStatus } from '../../collateral/keeper.ts';
import { describeEvidenceFailure } from '../../receipts/evidenceFailure.ts';
import type { Vouching } from '../../receipts/vouching.ts';
import type { Service } from '../service.ts';

/** `GET /livez`: the process answers. */
export function livez(): Action {
  return () => json({ status: 'live' });
}

/** `GET /readyz`: names everything that is not ready. */
export function readyz(service: Service): Action {
  return () => {
    const { isReady, obstacles } = readiness(service);
    const { engine, vouching, config, now, archive } = service;
    const { refused, restarts } = engine.health();
    const value = {
      status: isReady ? 'ready' : 'not ready',
      obstacles,
      hardware: hardwareOf(service),
      receipts: config.receipts.enabled,
      refused_models: refused.map(({ model, code }) => ({ model, code })),
      engine_restarts: restarts,
      ...(archive && { archive: archive.mirrorStatus }),
      evidence_failing: vouching.evidenceFailure !== undefined,
      ...(vouching.evidenceFailure && {
        evidence_failure: describeEvidenceFailure(vouching.evidenceFailure),
      }),
      ...(service.collateralStatus && { collateral: describeCollateral(service.collateralStatus()) }),
      ...(vouching.anchoring.isConfigured && { anchoring: describeAnchoring(vouching, now()) }),
    };
    return json(value, isReady ? 200 : 503);
  };
}

/** Heads that nobody outside confirms stop nothing: receipts are issued all the same. */
function describeAnchoring({ anchoring }: Vouching, now: number): object {
  const { newest, pendingSince, failing } = anchoring;
  const secondsSince = (time: number) => Math.round((now - time) / 1000);
  return {
    anchored_entries: newest?.size ?? 0,
    anchor_age_seconds: newest ? secondsSince(newest.at) : null,
    pending_seconds: pendingSince === undefined ? 0 : secondsSince(pendingSince),
    failing: [...failing].map(([name, { code }]) => ({ name, code })),
  };
}

/** Statements that vendors do not renew stop nothing by themselves: the self-check says when they are too old. */
function describeCollateral({ statements, gaps }: KeeperStatus): object {
  const ages = statements.flatMap(({ ageMs }) => ageMs ?? []);
  const failing = statements.flatMap(({ kind, ageMs, failing: why }) =>
    why ? [{ kind, code: why.code, age_seconds: ageMs === undefined ? null : Math.round(ageMs / 1000) }] : [],
  );
  return {
    statements: statements.length,
    oldest_seconds: ages.length > 0 ? Math.round(Math.max(...ages) / 1000) : null,
    failing,
    gaps,
  };
}

/** What answers and logs call the hardware. */
export function hardwareOf({ simulated }: Pick<Service, 'simulated'>): 'SIMULATED' | 'hardware' {
  return simulated ? 'SIMULATED' : 'hardware';
}
