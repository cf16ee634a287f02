import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import {
  MAX_STATEMENT_BYTES,
  OPERATOR_STATEMENT_TYPE,
  parseOperatorStatement,
  type OperatorStatement,
} from '../../../attestation/operator/statement.ts';
import { checkOperatorStatement } from '../../../attestation/operator/verify.ts';
import { adminOf, recordAdminAct } from '../adminAct.ts';
import { mediaType, readBody } from '../body.ts';
import { type Action, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { Service } from '../service.ts';

/** Names the act in the log. */
const RULE = 'operator statement';

/**
 * `PUT /v1/operator-statement`: who answers for this instance. The admin key alone may; the statement itself carries
 * the organisation's signature, so that the key cannot make one up.
 */
export function operatorRoutes(service: Service): readonly Route[] {
  const path = '/v1/operator-statement';
  const handler = endpoint(service, { route: 'operator statement', dialect: 'ours' }, put(service));
  return [{ method: 'put', path, handler }];
}

function put(service: Service): Action {
  const { vouching, keyset, log, now } = service;
  return async ({ request }) => {
    const actor = adminOf(service, request);
    if (mediaType(request.headers['content-type']) !== OPERATOR_STATEMENT_TYPE) {
      throw new ServiceError(
        'CONTENT_TYPE_UNSUPPORTED',
        `the body is not declared as ${OPERATOR_STATEMENT_TYPE}`,
      );
    }
    const encoded = Uint8Array.from(await readBody(request, MAX_STATEMENT_BYTES));
    const statement = await check(encoded, keyset.instance, now());
    const digest = nodeCrypto.hash('sha256', encoded);
    await recordAdminAct(service, actor, RULE, digest);
    const head = await vouching.setOperatorStatement(encoded);
    log.info('operator statement', { organisation: statement.organisation, digest: toHex(digest) });
    return json({
      organisation: statement.organisation,
      digest: toHex(digest),
      not_after: statement.notAfter,
      evidence: toHex(head.digest),
    });
  };
}

/** What no verifier would take is refused here, and not first by all of them. Whom to trust is theirs to say. */
async function check(encoded: Uint8Array, instance: Uint8Array, now: number): Promise<OperatorStatement> {
  try {
    const statement = parseOperatorStatement(encoded);
    await checkOperatorStatement(statement, { instance, now, crypto: nodeCrypto });
    return statement;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new ServiceError('OPERATOR_STATEMENT_REFUSED', `${error.code}: ${error.message}`);
  }
}
