import { toHex } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../checks.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import type { OperatorPolicy } from '../policy/operator.ts';
import { parseOperatorStatement, type OperatorStatement } from './statement.ts';
import { verifyOperatorStatement, type VerifiedOperatorStatement } from './verify.ts';

const ID = 'operator.statement';

/**
 * Who answers for the instance. It is asked where the policy names organisations, and where the caller trusts an
 * operator's key and the evidence has a statement; hardware has no part in it.
 */
export async function appraiseOperator(
  encoded: Uint8Array | undefined,
  instance: Uint8Array,
  subject: string,
  context: AppraisalContext,
): Promise<Check> {
  const policy = context.policy.operator;
  if (!encoded) {
    return policy === 'any'
      ? skip(
          ID,
          subject,
          'NOT_REQUIRED',
          'the evidence has no statement of an operator; the policy asks for none',
        )
      : fail(ID, subject, 'EVIDENCE_INCOMPLETE', 'the evidence has no statement of an operator');
  }
  try {
    const statement = parseOperatorStatement(encoded);
    if (policy === 'any' && !context.anchors.some(({ role }) => role === 'operator')) {
      return skip(ID, subject, 'NOT_REQUIRED', unasked(statement));
    }
    return judge(await verifyOperatorStatement(statement, { ...context, instance }), policy, subject);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return fail(ID, subject, error.code, error.message);
  }
}

function unasked({ organisation }: OperatorStatement): string {
  return `someone who says to be ${organisation} made a statement; you named no key of an operator to compare`;
}

function judge(
  { statement, anchor }: VerifiedOperatorStatement,
  policy: OperatorPolicy,
  subject: string,
): Check {
  const { organisation, text } = statement;
  if (policy !== 'any' && !policy.organisations.includes(organisation)) {
    const reason = `${organisation} answers for it, the policy names ${policy.organisations.join(', ')}`;
    return fail(ID, subject, 'OPERATOR_NOT_ALLOWED', reason);
  }
  if (policy !== 'any' && policy.images !== 'any') {
    const image = statement.image ? toHex(statement.image) : 'none';
    const seen = `the statement names the image ${image}`;
    if (policy.images.length === 0) return fail(ID, subject, 'REFERENCE_VALUES_MISSING', seen);
    if (!policy.images.some(({ value }) => value === image)) {
      return fail(ID, subject, 'OPERATOR_IMAGE_MISMATCH', seen);
    }
  }
  return pass(ID, subject, `${organisation}, under ${anchor.name}: ${text}`);
}
