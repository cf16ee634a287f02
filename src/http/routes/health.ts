import { type Action, json } from '../endpoint.ts';
import { readiness } from '../readiness.ts';
import type { Service } from '../service.ts';

/** `GET /livez`: the process answers. */
export function livez(): Action {
  return () => json({ status: 'live' });
}

/** `GET /readyz`: names everything that is not ready. */
export function readyz(service: Service): Action {
  return () => {
    const { isReady, obstacles } = readiness(service);
    const { engine, vouching, config } = service;
    const { refused, restarts } = engine.health();
    const value = {
      status: isReady ? 'ready' : 'not ready',
      obstacles,
      hardware: hardwareOf(service),
      receipts: config.receipts.enabled,
      refused_models: refused.map(({ model, code }) => ({ model, code })),
      engine_restarts: restarts,
      evidence_failing: vouching.evidenceFailure !== undefined,
    };
    return json(value, isReady ? 200 : 503);
  };
}

/** What answers and logs call the hardware. */
export function hardwareOf({ simulated }: Pick<Service, 'simulated'>): 'SIMULATED' | 'hardware' {
  return simulated ? 'SIMULATED' : 'hardware';
}
