import type { Action } from '../endpoint.ts';
import type { Service } from '../service.ts';

/** `GET /metrics`: for Prometheus, with the admin key beyond loopback. */
export function metrics({ gate, metrics: all }: Service): Action {
  return async ({ request }) => {
    gate.requireAdmin(request);
    return { status: 200, contentType: all.contentType, body: Buffer.from(await all.render()) };
  };
}
