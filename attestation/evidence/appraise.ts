import type { Anchor } from '../anchors.ts';
import {
  devicesDigest,
  gpuNonce,
  isNonce,
  NONCE_BYTES,
  nonceLeaf,
  reportData,
  statementDigest,
} from '../binding.ts';
import { equalBytes, toHex } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { keysetDigest } from '../keyset.ts';
import { verifyInclusion } from '../log/merkle.ts';
import { notReached, runSteps } from '../verdict/steps.ts';
import type { SimulatedComponent } from '../verdict/verdict.ts';
import { appraiseOperator } from '../operator/appraise.ts';
import { isoTime } from '../x509/time.ts';
import type { AppraisalContext } from './context.ts';
import { appraiseCpu } from './cpu.ts';
import { appraiseDevices, checkDevicesBinding } from './devices.ts';
import { parseDocument, type EvidenceDocument } from './document.ts';
import { judgeBootLog } from './platforms/bootLog.ts';
import { ReferenceLibrary } from './nvidia/references.ts';
import type { VerifiedDevice } from './nvidia/verify.ts';

/** The asker's nonce and where the document's nonce tree holds it (DESIGN section 4). */
export interface NonceProof {
  readonly nonce: Uint8Array;
  readonly index: number;
  readonly path: readonly Uint8Array[];
}

export interface DocumentAppraisal {
  readonly checks: readonly Check[];
  /** Undefined where the document could not be parsed or its keyset is not the one vouched for. */
  readonly document: EvidenceDocument | undefined;
  /** What names the machine; undefined where the CPU evidence did not verify. */
  readonly machine: Uint8Array | undefined;
  readonly devices: readonly VerifiedDevice[];
  readonly simulated: readonly SimulatedComponent[];
}

const DOCUMENT_STEPS: readonly CheckId[] = ['document.format', 'document.keyset'];

/**
 * Makes every check of one evidence document but those of nonce and time, which differ between a live document and
 * an archived one. `prefix` stands before each subject.
 */
export async function appraiseDocument(
  encoded: Uint8Array,
  prefix: string,
  context: AppraisalContext,
  library: ReferenceLibrary = referenceLibrary(context),
): Promise<DocumentAppraisal> {
  const subject = `${prefix}document`;
  const { value: document, checks } = await runSteps(DOCUMENT_STEPS, subject, () =>
    parseBound(encoded, context),
  );
  if (!document) {
    const rest = [notReached('document.simulated', subject, 'the document was refused')];
    return { checks: [...checks, ...rest], document, machine: undefined, devices: [], simulated: [] };
  }
  const { crypto } = context;
  const b = statementDigest(document.encodedStatement, crypto);
  const g = devicesDigest(document.encodedDevices, crypto);
  const expected = reportData(b, g, crypto);
  const cpu = await appraiseCpu(document.cpu, expected, `${prefix}cpu`, context);
  const bootLog = judgeBootLog(document.bootLog, cpu, `${prefix}cpu`, context);
  const binding = checkDevicesBinding(document.devices, g, cpu.checks, `${prefix}devices`);
  const nonce = gpuNonce(b, crypto);
  const devices = await appraiseDevices(document.devices, nonce, prefix, context, library, binding);
  const complete = cpu.machine !== undefined && devices.verified.length === document.devices.length;
  const anchors = { cpu: cpu.anchors, devices: devices.anchors, complete };
  const simulation = judgeSimulation(anchors, subject, context);
  const { keyset } = document;
  const operator = await appraiseOperator(document.operator, keyset.instance, `${prefix}operator`, context);
  return {
    checks: [...checks, simulation.check, ...cpu.checks, bootLog, ...devices.checks, operator],
    document,
    machine: cpu.machine,
    devices: devices.verified,
    simulated: simulation.components,
  };
}

/** The reference values of one appraisal: documents judged together share it. */
export function referenceLibrary(context: AppraisalContext): ReferenceLibrary {
  const { collateral, crypto, now, anchors, chainCache } = context;
  const options = { crypto, now, anchors, chainCache };
  return new ReferenceLibrary(collateral.rims, options, collateral.ocspResponses);
}

function parseBound(encoded: Uint8Array, { crypto }: AppraisalContext): EvidenceDocument {
  const document = parseDocument(encoded);
  const digest = keysetDigest(document.encodedKeyset, crypto);
  if (!equalBytes(digest, document.statement.keysetDigest)) {
    throw new Refusal(
      'KEYSET_MISMATCH',
      `the statement vouches for keyset ${toHex(document.statement.keysetDigest)}, the document has ${toHex(digest)}`,
      'document.keyset',
    );
  }
  checkTimeAnchor(document, crypto);
  return document;
}

/** The anchor stands beside what the hardware signed: only its digest in the statement binds it. */
function checkTimeAnchor({ timeAnchor, statement }: EvidenceDocument, crypto: CryptoProvider): void {
  if (!timeAnchor || !statement.timeAnchor) return;
  if (equalBytes(crypto.hash('sha256', timeAnchor), statement.timeAnchor)) return;
  const reason = 'the time anchor is not the one that the statement commits to';
  throw new Refusal('BINDING_MISMATCH', reason, 'document.format');
}

/** What the chains of one appraisal led to. */
export interface UsedAnchors {
  readonly cpu: readonly Anchor[];
  readonly devices: readonly Anchor[];
  /** False where a component did not verify, so that its anchor is not known. */
  readonly complete: boolean;
}

/** Whether exactly the components that the policy names are simulated. The anchor decides, no field does. */
export function judgeSimulation(
  { cpu, devices, complete }: UsedAnchors,
  subject: string,
  { policy }: AppraisalContext,
): { readonly check: Check; readonly components: readonly SimulatedComponent[] } {
  const components: SimulatedComponent[] = [];
  if (cpu.some(({ simulated }) => simulated)) components.push('cpu');
  if (devices.some(({ simulated }) => simulated)) components.push('gpu');
  const found = components.length > 0 ? `SIMULATED: ${components.join(' and ')}` : 'nothing is simulated';
  if (!complete) {
    return { check: notReached('document.simulated', subject, 'not every component verified'), components };
  }
  const accepted = policy.simulated;
  const same = accepted.length === components.length && components.every((item) => accepted.includes(item));
  if (!same) {
    const wanted = accepted.length > 0 ? accepted.join(' and ') : 'none';
    const reason = `${found}; the policy accepts as simulated: ${wanted}`;
    return { check: fail('document.simulated', subject, 'SIMULATED_HARDWARE', reason), components };
  }
  const code = components.length > 0 ? 'ACCEPTED_SIMULATED' : 'OK';
  return { check: pass('document.simulated', subject, found, code), components };
}

/** Whether the document was made for the asker's nonce. */
export function checkNonceProof(
  document: EvidenceDocument,
  proof: NonceProof | undefined,
  { policy, crypto }: AppraisalContext,
): Check {
  const id = 'document.nonce';
  if (!proof) {
    return policy.nonce === 'required'
      ? fail(id, 'document', 'NONCE_MISMATCH', 'the policy requires a nonce and none was given')
      : skip(id, 'document', 'NOT_REQUESTED', 'no nonce was given: the evidence may be old');
  }
  const { nonce, index, path } = proof;
  if (!isNonce(nonce)) {
    return fail(id, 'document', 'NONCE_INVALID', `a nonce is ${NONCE_BYTES} bytes and not all zero`);
  }
  const { nonceCount, nonceRoot } = document.statement;
  try {
    const leaf = nonceLeaf(nonce, crypto);
    verifyInclusion(sha256With(crypto), { index, size: nonceCount, path }, leaf, nonceRoot);
    return pass(id, 'document', `your nonce is number ${index} of ${nonceCount} in the statement`);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return fail(id, 'document', 'NONCE_MISMATCH', `the statement does not hold your nonce: ${error.message}`);
  }
}

/** Whether the keyset may still be used at the judged time. */
export function checkKeysetTime(document: EvidenceDocument, { now }: AppraisalContext): Check {
  const notAfter = document.keyset.notAfter * 1000;
  const until = `the keyset ends ${isoTime(notAfter)}, judged at ${isoTime(now)}`;
  return now <= notAfter
    ? pass('document.time', 'document', until)
    : fail('document.time', 'document', 'KEYSET_EXPIRED', until);
}
