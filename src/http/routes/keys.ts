import type { RequestHandler } from 'express';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { actSubject } from '../../../attestation/receipt/record.ts';
import { type Action, endpoint, json } from '../endpoint.ts';
import type { Service } from '../service.ts';

interface Route {
  readonly method: 'post';
  readonly path: string;
  readonly handler: RequestHandler;
}

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

function rotate({ gate, vouching, log }: Service): Action {
  return async ({ request }) => {
    const { name: actor = 'admin' } = gate.requireAdminKey(request);
    const former = vouching.keysetDigest;
    const subject = actSubject([former], nodeCrypto);
    await vouching.recordAct({ act: 'admin', actor, rule: RULE, subject, count: 1 });
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
