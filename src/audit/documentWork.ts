import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { parseCollateral } from '../../attestation/bundle/collateral.ts';
import { decodeDc } from '../../attestation/cbor/deterministic.ts';
import type { Check } from '../../attestation/checks.ts';
import { mergeCollateral, NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { createNodeCrypto, nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import {
  appraiseDocument,
  referenceLibrary,
  type DocumentAppraisal,
} from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { VerifiedDevice } from '../../attestation/evidence/nvidia/verify.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import { decide } from '../../attestation/verdict/verdict.ts';
import { createChainCache } from '../../attestation/x509/chainCache.ts';
import type { DeviceFacts, DocumentFacts, FailedCheck } from './documentFacts.ts';
import type { DocumentTask, LaterJudgement, WorkerSetup } from './tasks.ts';

/** Keys and certificate signatures of many machines, remembered: documents of one instance have them in common. */
const KEPT_KEYS = 1024;
const KEPT_SIGNATURES = 4096;
/** Characters of a reason that are kept. */
const MAX_REASON = 500;

const NOTHING = new Uint8Array(0);

interface Day {
  readonly collateral: Uint8Array;
  readonly context: AppraisalContext;
  readonly failure: readonly FailedCheck[];
  readonly references: ReturnType<typeof referenceLibrary>;
}

/** Appraises evidence documents one after the other, each at its time, with caches that last. */
export class DocumentWork {
  readonly #setup: WorkerSetup;
  readonly #own: Collateral;
  readonly #context: Omit<AppraisalContext, 'collateral' | 'now'>;
  #last: Day | undefined;

  constructor(setup: WorkerSetup) {
    this.#setup = setup;
    this.#own = parseCollateral(decodeDc(setup.collateral));
    this.#context = {
      policy: parsePolicy(setup.policy),
      anchors: setup.anchors,
      crypto: createNodeCrypto(KEPT_KEYS),
      chainCache: createChainCache(KEPT_SIGNATURES),
    };
  }

  async run({ seq, encoded, collateral, now }: DocumentTask): Promise<DocumentFacts> {
    const { context, failure, references } = this.#day(collateral, now);
    const appraisal = await appraiseDocument(encoded, `document ${seq} `, context, references);
    const { document, checks } = appraisal;
    const tcb = checks.find(({ id }) => id === 'cpu.tcb');
    return {
      kind: 'document',
      seq,
      decision: decide(checks),
      judgedAt: now,
      failures: [...failure, ...checks.filter(({ result }) => result === 'fail').map(failedCheck)],
      simulated: appraisal.simulated,
      platform: document?.cpu.platform ?? 'unknown',
      machine: appraisal.machine && toHex(appraisal.machine),
      devices: appraisal.devices.map(deviceFacts),
      tcb: tcb && { result: tcb.result, code: tcb.code, reason: tcb.reason.slice(0, MAX_REASON) },
      receiptKey: document ? toHex(keyThumbprint(document.keyset.receipt, nodeCrypto)) : '',
      logKey: document ? toHex(keyThumbprint(document.keyset.log, nodeCrypto)) : '',
      later: await this.#later(encoded, appraisal, context),
    };
  }

  /** What documents of one day have in common: manifests are parsed and verified once for all of them. */
  #day(collateral: Uint8Array | undefined, now: number): Day {
    const last = this.#last;
    const same = last?.context.now === now && equalBytes(last.collateral, collateral ?? NOTHING);
    if (same) return last;
    const { kept, failure } = readKept(collateral);
    const context = { ...this.#context, collateral: mergeCollateral(this.#own, kept), now };
    this.#last = {
      collateral: collateral ?? NOTHING,
      context,
      failure,
      references: referenceLibrary(context),
    };
    return this.#last;
  }

  /** Whether the firmware level holds by what became known later. Only a document that verified has an answer. */
  async #later(
    encoded: Uint8Array,
    { machine }: DocumentAppraisal,
    context: AppraisalContext,
  ): Promise<readonly (string | undefined)[]> {
    const answers: (string | undefined)[] = [];
    for (const judgement of this.#setup.later) {
      answers.push(machine ? await judgeLater(encoded, judgement, context) : undefined);
    }
    return answers;
  }
}

async function judgeLater(
  encoded: Uint8Array,
  { policy, collateral, since }: LaterJudgement,
  context: AppraisalContext,
): Promise<string | undefined> {
  const given = collateral ? parseCollateral(decodeDc(collateral)) : NO_COLLATERAL;
  const tcbInfos = given.tcbInfos.length > 0 ? given.tcbInfos : context.collateral.tcbInfos;
  const { checks } = await appraiseDocument(encoded, '', {
    ...context,
    policy: policy === undefined ? context.policy : parsePolicy(policy),
    collateral: { ...mergeCollateral(given, context.collateral), tcbInfos },
    now: since,
  });
  const failed = checks.find(({ id, result }) => id === 'cpu.tcb' && result === 'fail');
  return failed && `${failed.code}: ${failed.reason}`.slice(0, MAX_REASON);
}

/** Kept collateral that cannot be read is said, and the document judged without. */
function readKept(bytes: Uint8Array | undefined): {
  readonly kept: Collateral;
  readonly failure: readonly FailedCheck[];
} {
  try {
    return { kept: bytes ? parseCollateral(decodeDc(bytes)) : NO_COLLATERAL, failure: [] };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const { code, message } = error;
    return {
      kept: NO_COLLATERAL,
      failure: [{ id: 'cpu.collateral', subject: 'collateral', code, reason: message }],
    };
  }
}

function failedCheck({ id, subject, code, reason }: Check): FailedCheck {
  return { id, subject, code, reason: reason.slice(0, MAX_REASON) };
}

function deviceFacts({ kind, report, serial }: VerifiedDevice): DeviceFacts {
  return report.kind === 'gpu'
    ? { kind, serial: toHex(serial), driver: report.driverVersion, firmware: report.vbiosVersion }
    : { kind, serial: toHex(serial), driver: undefined, firmware: report.biosVersion };
}
