import { toHex } from '../../../attestation/bytes/bytes.ts';
import { adminOf, recordAdminAct } from '../adminAct.ts';
import { type Action, endpoint, json, type Route } from '../endpoint.ts';
import type { Service } from '../service.ts';

/** Names the act in the log. */
const RULE = 'key rotation';

/**
 * `POST /v1/keys/rotate`: has new keys follow those in use now, as after a suspicion. The admin key alone may; the act
 * is in the log under the keys that it ends.
 */
export function keyRoutes(service: Service): readonly Route[] {
  const path = '/v1/keys/rotate';
  const handler = endpoint(service, { route: 'key rotation', dialect: 'ours' }, rotate(service));
  return [{ method: 'post', path, handler }];
}

function rotate(service: Service): Action {
  const { vouching, log } = service;
  return async ({ request }) => {
    const actor = adminOf(service, request);
    const former = vouching.keysetDigest;
    await recordAdminAct(service, actor, RULE, former);
    const head = await vouching.rotateKeys();
    const { generation, notAfter } = vouching.keyset;
    log.info('keys rotated', { generation, keyset: toHex(vouching.keysetDigest) });
    return json({
      generation,
      keyset: toHex(vouching.keysetDigest),
      previous: toHex(former),
      not_after: notAfter,
      evidence: toHex(head.digest),
    });
  };
}
