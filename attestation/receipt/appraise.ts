import { equalBytes, toHex } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import { documentDigest, type EvidenceDocument } from '../evidence/document.ts';
import { CLOCK_SKEW_MS } from '../time/clock.ts';
import { atCheck, notReached, runSteps } from '../verdict/steps.ts';
import { isoTime } from '../x509/time.ts';
import type { VerifiedDevice } from '../evidence/nvidia/verify.ts';
import { checkRequest, checkResponse, checkTenant, type Opening } from './opening.ts';
import { parseReceipt, verifyEntry, type ParsedReceipt } from './receipt.ts';

/** What the caller knows of the exchange besides the receipt. */
export interface Exchange {
  /** Nonce that the request carried. */
  readonly nonce?: Uint8Array;
  readonly opening?: Opening;
}

const STEPS: readonly CheckId[] = [
  'receipt.format',
  'receipt.evidence',
  'receipt.keyset',
  'receipt.signature',
];

/** What outsiders say of the receipt's time, milliseconds since 1970. */
export interface ReceiptTimes {
  /** It existed then at the latest. */
  readonly upper?: number | undefined;
  /** It was issued after it. */
  readonly lower?: number | undefined;
}

export interface ReceiptAppraisal {
  readonly checks: readonly Check[];
  /** Undefined unless the signature verified under the keyset of the cited document. */
  readonly receipt: ParsedReceipt | undefined;
}

/** Judges a receipt, encoded or parsed, against the document that it cites, whose own appraisal is separate. */
export async function appraiseReceiptClaims(
  given: Uint8Array | ParsedReceipt,
  cited: EvidenceDocument | undefined,
  devices: readonly VerifiedDevice[],
  exchange: Exchange,
  context: AppraisalContext,
  times: ReceiptTimes = {},
): Promise<ReceiptAppraisal> {
  const { value: receipt, checks } = await runSteps(STEPS, 'receipt', () =>
    verifyReceipt(given, cited, context),
  );
  if (!receipt) {
    const rest = LATER.map((id) => notReached(id, 'receipt', 'the receipt did not verify'));
    return { checks: [...checks, ...rest], receipt };
  }
  const time = checkTime(receipt, cited, times, context);
  return { checks: [...checks, time, ...claimChecks(receipt, cited, devices, exchange, context)], receipt };
}

const LATER: readonly CheckId[] = [
  'receipt.time',
  'receipt.devices',
  'receipt.model',
  'receipt.outcome',
  'receipt.channel',
  'receipt.nonce',
  'receipt.request',
  'receipt.response',
  'receipt.tenant',
];

async function verifyReceipt(
  given: Uint8Array | ParsedReceipt,
  cited: EvidenceDocument | undefined,
  { crypto }: AppraisalContext,
): Promise<ParsedReceipt> {
  const receipt = given instanceof Uint8Array ? parseReceipt(given) : given;
  if (!cited) throw new Refusal('EVIDENCE_INCOMPLETE', 'the cited document was refused', 'receipt.evidence');
  const digest = documentDigest(cited.encoded, crypto);
  if (!equalBytes(receipt.claims.evidenceDigest, digest)) {
    throw new Refusal(
      'EVIDENCE_MISMATCH',
      `the receipt cites ${toHex(receipt.claims.evidenceDigest)}, the document is ${toHex(digest)}`,
      'receipt.evidence',
    );
  }
  if (!equalBytes(receipt.claims.keysetDigest, cited.statement.keysetDigest)) {
    const reason = 'the receipt was issued under another keyset than its evidence';
    throw new Refusal('KEYSET_MISMATCH', reason, 'receipt.keyset');
  }
  const { receipt: key, instance } = cited.keyset;
  await atCheck('receipt.signature', () => verifyEntry(receipt, key, instance, crypto));
  return receipt;
}

function claimChecks(
  receipt: ParsedReceipt,
  cited: EvidenceDocument | undefined,
  devices: readonly VerifiedDevice[],
  exchange: Exchange,
  context: AppraisalContext,
): readonly Check[] {
  return [
    checkDevices(receipt, cited, devices),
    checkModel(receipt, context),
    checkOutcome(receipt, context),
    checkChannel(receipt, context),
    checkNonce(receipt, exchange),
    checkContent('receipt.request', exchange, () => {
      if (exchange.opening) checkRequest(receipt.claims, exchange.opening, context.crypto);
    }),
    checkContent('receipt.response', exchange, () => {
      if (exchange.opening) checkResponse(receipt.claims, exchange.opening, context.crypto);
    }),
    checkTenantOpening(receipt, exchange, context),
  ];
}

/** `iat` and the keyset's end are the guest's own claims: they can contradict, they cannot prove. */
function checkTime(
  { claims }: ParsedReceipt,
  cited: EvidenceDocument | undefined,
  { upper, lower }: ReceiptTimes,
  { now }: AppraisalContext,
): Check {
  const notAfter = cited?.keyset.notAfter ?? 0;
  const claimed = `claims second ${claims.issuedAt}`;
  const issuedAt = claims.issuedAt * 1000;
  const contradiction = (reason: string) => fail('receipt.time', 'receipt', 'TIME_CONTRADICTION', reason);
  if (claims.issuedAt > notAfter) return contradiction(`${claimed}, the keyset ends at ${notAfter}`);
  if (upper !== undefined && issuedAt > upper + CLOCK_SKEW_MS) {
    return contradiction(`${claimed}, but existed at ${isoTime(upper)} already`);
  }
  if (issuedAt > now + CLOCK_SKEW_MS) return contradiction(`${claimed}, which is later than the judged time`);
  if (lower !== undefined && issuedAt < lower - CLOCK_SKEW_MS) {
    return contradiction(`${claimed}, but its evidence was made after ${isoTime(lower)}`);
  }
  if (lower !== undefined && lower > notAfter * 1000 + CLOCK_SKEW_MS) {
    return contradiction(`its evidence was made after ${isoTime(lower)}, the keyset ends at ${notAfter}`);
  }
  return pass('receipt.time', 'receipt', `${claimed} by the guest's clock`);
}

/** ONNX Runtime's names. Any other provider could compute on hardware that nothing attests. */
const CPU_PROVIDER = 'CPUExecutionProvider';
const CUDA_PROVIDER = 'CUDAExecutionProvider';

function checkDevices(
  { claims }: ParsedReceipt,
  cited: EvidenceDocument | undefined,
  devices: readonly VerifiedDevice[],
): Check {
  if (!cited || devices.length !== cited.devices.length) {
    return notReached('receipt.devices', 'receipt', 'not every device verified');
  }
  const same =
    claims.devices.length === devices.length &&
    devices.every(({ serial }, i) => equalBytes(serial, claims.devices[i] ?? new Uint8Array(0)));
  if (!same) {
    const named = claims.devices.map(toHex).join(', ') || 'none';
    return fail('receipt.devices', 'receipt', 'DEVICES_MISMATCH', `the receipt names the devices ${named}`);
  }
  const gpus = devices.filter(({ kind }) => kind === 'gpu').length;
  const onGpu = claims.providers.includes(CUDA_PROVIDER);
  const known = claims.providers.every((provider) => [CPU_PROVIDER, CUDA_PROVIDER].includes(provider));
  if (claims.providers.length === 0 || !known || (onGpu && gpus === 0)) {
    const reason = `providers ${claims.providers.join(', ') || 'none'} with ${gpus} GPUs`;
    return fail('receipt.devices', 'receipt', 'DEVICES_MISMATCH', reason);
  }
  const where = onGpu ? 'computed on the attested devices' : 'computed on the CPU';
  return pass('receipt.devices', 'receipt', `${devices.length} devices, ${where}`);
}

function checkModel({ claims }: ParsedReceipt, { policy }: AppraisalContext): Check {
  const digest = toHex(claims.manifestDigest);
  if (policy.models === 'any') {
    return skip('receipt.model', 'receipt', 'NOT_REQUIRED', `the policy takes any model; this is ${digest}`);
  }
  const known = policy.models.find(({ value }) => value === digest);
  return known
    ? pass('receipt.model', 'receipt', `manifest of ${known.name}`)
    : fail('receipt.model', 'receipt', 'MODEL_NOT_ALLOWED', `manifest ${digest} is not in the policy`);
}

function checkOutcome({ claims }: ParsedReceipt, { policy }: AppraisalContext): Check {
  const { outcome, reason } = claims;
  return policy.outcomes.includes(outcome)
    ? pass('receipt.outcome', 'receipt', reason ? `${outcome}: ${reason}` : outcome)
    : fail('receipt.outcome', 'receipt', 'OUTCOME_NOT_ALLOWED', `${outcome}: ${reason ?? 'no reason'}`);
}

function checkChannel({ claims }: ParsedReceipt, { policy }: AppraisalContext): Check {
  return policy.channels.includes(claims.channel)
    ? pass('receipt.channel', 'receipt', claims.channel)
    : fail('receipt.channel', 'receipt', 'CHANNEL_NOT_ALLOWED', claims.channel);
}

function checkNonce({ claims }: ParsedReceipt, { nonce }: Exchange): Check {
  if (!nonce) return skip('receipt.nonce', 'receipt', 'NOT_REQUESTED', 'no request nonce was given');
  return claims.nonce && equalBytes(claims.nonce, nonce)
    ? pass('receipt.nonce', 'receipt', 'repeats your nonce')
    : fail('receipt.nonce', 'receipt', 'NONCE_MISMATCH', 'the receipt has another nonce or none');
}

function checkContent(
  id: 'receipt.request' | 'receipt.response' | 'receipt.tenant',
  { opening }: Exchange,
  check: () => void,
): Check {
  if (!opening) return skip(id, 'receipt', 'NOT_REQUESTED', 'no content and commitment key were given');
  try {
    check();
    return pass(id, 'receipt', 'the commitment opens to this content');
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return fail(id, 'receipt', error.code, error.message);
  }
}

/** Whoever shows content need not know under which name the operator keeps the key that asked. */
function checkTenantOpening(
  { claims }: ParsedReceipt,
  exchange: Exchange,
  { crypto }: AppraisalContext,
): Check {
  const { opening } = exchange;
  if (!opening?.tenant) return skip('receipt.tenant', 'receipt', 'NOT_REQUESTED', 'no tenant was given');
  return checkContent('receipt.tenant', exchange, () => {
    checkTenant(claims, opening, crypto);
  });
}
