import { randomBytes } from 'node:crypto';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import type { Collector } from '../../enclave/collect/collector.ts';
import {
  createSimulatedCollector,
  type SimulatedCollectorOptions,
} from '../../enclave/collect/simulated/collector.ts';
import { generateKeyring, type Keyring } from '../../enclave/keys/keyring.ts';
import { KeysetLine, type KeysetLineOptions } from '../../enclave/keys/keysetLine.ts';
import type { IssuedReceipt, ReceiptDraft } from '../../src/receipts/draft.ts';
import { Anchoring } from '../../src/receipts/anchoring.ts';
import type { Outsider } from '../../src/receipts/outsider.ts';
import { SelfCheck, type SelfCheckParts } from '../../src/receipts/selfCheck.ts';
import { type EpochLimits, Vouching, type VouchingParts } from '../../src/receipts/vouching.ts';
import { MemoryLog } from './memoryLog.ts';
import { verifyOnce } from './verifyOnce.ts';

export const NOW = Date.parse('2026-11-21T12:00:00Z');
const DAY_SECONDS = 86_400;

/** One simulated instance with its log in memory, as a server has it. */
export interface World {
  readonly vouching: Vouching;
  readonly log: MemoryLog;
  /** Keys of generation 0. */
  readonly keyring: Keyring;
  readonly keys: KeysetLine;
  readonly collector: Collector;
  readonly collateral: Collateral;
}

export interface WorldOptions {
  readonly hardware?: SimulatedCollectorOptions;
  /** An instance that shares this hardware. */
  readonly collector?: Collector;
  readonly algorithm?: 'ES256' | 'Ed25519';
  readonly keys?: Partial<KeysetLineOptions>;
  /** Who confirms heads of the log; nobody by default. */
  readonly outsiders?: (log: MemoryLog, keyset: Keyset) => Promise<readonly Outsider[]>;
  readonly limits?: Partial<EpochLimits>;
  readonly onDiscontinuity?: VouchingParts['onDiscontinuity'];
  /** Has documents judged before they are kept; left out where evidence is made up. */
  readonly selfCheck?: Partial<SelfCheckParts>;
  readonly now?: () => number;
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const clock = () => new Date(NOW);
  const collector =
    options.collector ?? (await createSimulatedCollector({ now: clock, ...options.hardware }));
  const keys = await makeKeysetLine({ receiptAlgorithm: options.algorithm ?? 'ES256', ...options.keys });
  const keyring = keys.current;
  const log = new MemoryLog();
  const now = options.now ?? (() => NOW);
  const outsiders = (await options.outsiders?.(log, keyring.keyset)) ?? [];
  const vouching = await Vouching.start({
    anchoring: new Anchoring({ outsiders, log, now, retryDelaysMs: [1] }),
    keys: keyring,
    keySource: keys,
    log,
    source: collector,
    configDigest: new Uint8Array(32).fill(7),
    predecessor: undefined,
    onDiscontinuity: options.onDiscontinuity,
    selfCheck:
      options.selfCheck && new SelfCheck({ policy: undefined, simulated: true, now, ...options.selfCheck }),
    limits: { periodMs: 3_600_000, receipts: 1_000_000, maxEvidenceAgeMs: 3_600_000, ...options.limits },
    now,
  });
  return { vouching, log, keyring, keys, collector, collateral: await collector.collateral() };
}

/** Keys with a life of 30 days, all generations of which are made at `NOW`. */
export function makeKeysetLine(changes: Partial<KeysetLineOptions> = {}): Promise<KeysetLine> {
  return KeysetLine.start({
    host: 'localhost',
    lifetimeSeconds: 30 * DAY_SECONDS,
    software: { name: 'vouchsafe', version: '0.0.0-test' },
    receiptAlgorithm: 'ES256',
    now: () => NOW,
    ...changes,
  });
}

export function makeKeyring(algorithm: 'ES256' | 'Ed25519' = 'ES256'): Promise<Keyring> {
  return generateKeyring({
    host: 'localhost',
    notAfter: NOW / 1000 + 30 * DAY_SECONDS,
    software: { name: 'vouchsafe', version: '0.0.0-test' },
    receiptAlgorithm: algorithm,
  });
}

export function makeDraft(changes: Partial<ReceiptDraft> = {}): ReceiptDraft {
  return {
    id: randomBytes(16),
    k: randomBytes(32),
    nonce: undefined,
    channel: 'plain',
    method: 'POST',
    path: '/v1/embeddings',
    model: {
      id: 'test-model',
      manifestDigest: new Uint8Array(32).fill(9),
      providers: ['CPUExecutionProvider'],
    },
    parameters: new Map([['encoding_format', 'float']]),
    tenant: undefined,
    outcome: 'complete',
    reason: undefined,
    usage: new Map([['prompt_tokens', 3]]),
    request: Buffer.from('{"input":"hello"}'),
    response: { kind: 'body', body: Buffer.from('{"data":[]}') },
    ...changes,
  };
}

export interface Bundled {
  readonly draft: ReceiptDraft;
  readonly issued: IssuedReceipt;
  readonly bundle: Uint8Array;
}

/** Issues one receipt among others and bundles it once it is covered. */
export async function issueBundle(world: World, changes: Partial<ReceiptDraft> = {}): Promise<Bundled> {
  const { vouching } = world;
  await vouching.issue(makeDraft());
  const draft = makeDraft(changes);
  const issued = await vouching.issue(draft);
  await vouching.issue(makeDraft());
  await vouching.covered(issued.index);
  return { draft, issued, bundle: await vouching.bundle(toHex(draft.id), draft.tenant) };
}

/** Of this test file. */
const crypto = verifyOnce(nodeCrypto);

export function contextOf(changes: Partial<AppraisalContext> = {}): AppraisalContext {
  return {
    policy: SIMULATED_POLICY,
    anchors: DEFAULT_ANCHORS,
    collateral: NO_COLLATERAL,
    now: NOW,
    crypto,
    ...changes,
  };
}

export function policyOf(changes: Partial<Policy>): Policy {
  return { ...SIMULATED_POLICY, ...changes };
}

/** `check code` of every failed check, in order. */
export function failures(verdict: Verdict): readonly string[] {
  return verdict.checks
    .filter(({ result }) => result === 'fail')
    .map(({ id, subject, code }) => `${subject}: ${id} ${code}`);
}
