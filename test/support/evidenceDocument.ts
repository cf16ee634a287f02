import { appraiseEvidence } from '../../attestation/appraise.ts';
import {
  devicesDigest,
  encodeDevices,
  encodeStatement,
  nonceLeaf,
  reportData,
  statementDigest,
  type Statement,
} from '../../attestation/binding.ts';
import type { Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { NonceProof } from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { encodeDocument } from '../../attestation/evidence/document.ts';
import type { CpuEvidence } from '../../attestation/evidence/evidence.ts';
import { encodeKeyset, keysetDigest, type Keyset } from '../../attestation/keyset.ts';
import type { Anchor } from '../../attestation/anchors.ts';
import type { CpuPolicy } from '../../attestation/policy/cpu.ts';
import { DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { failures, makeKeyring } from './world.ts';

/** A machine of our own on one platform, and what a relying party needs to judge it. */
export interface MintedPlatform {
  /** Evidence that commits to 64 bytes. */
  readonly collectCpu: (reportData: Uint8Array) => Promise<CpuEvidence>;
  /** Names the platform and exactly what runs on it; every other platform is refused. */
  readonly cpu: CpuPolicy;
  readonly anchors: readonly Anchor[];
  readonly collateral: Collateral;
  /** An instant at which everything of it is in date. */
  readonly now: number;
  /** The log of the boot whose registers it reports; absent where the platform has none. */
  readonly bootLog?: Uint8Array;
}

export const NO_PLATFORM: CpuPolicy = {
  snp: 'refused',
  tdx: 'refused',
  nitro: 'refused',
  'azure-snp': 'refused',
  'azure-tdx': 'refused',
  'gcp-vtpm': 'refused',
  nitrotpm: 'refused',
  tpm: 'refused',
  bootLog: 'when-present',
};

export const NONCE = new Uint8Array(32).fill(0x5a);
/** Where a statement holds the one nonce that it answers. */
const PROOF: NonceProof = { nonce: NONCE, index: 0, path: [] };

let keyset: Keyset | undefined;

/** The statement of a first document that answers one nonce. */
async function statementOf(): Promise<{ readonly keyset: Keyset; readonly statement: Statement }> {
  keyset ??= (await makeKeyring()).keyset;
  const statement: Statement = {
    seq: 0,
    final: false,
    keysetDigest: keysetDigest(encodeKeyset(keyset), nodeCrypto),
    nonceCount: 1,
    nonceRoot: nonceLeaf(NONCE, nodeCrypto),
    logSize: 1,
    logRoot: new Uint8Array(32).fill(3),
    previous: undefined,
    timeAnchor: undefined,
  };
  return { keyset, statement };
}

export interface DocumentChanges {
  readonly bootLog?: Uint8Array | undefined;
  /** Another member in place of what was collected. */
  readonly change?: (cpu: CpuEvidence) => CpuEvidence | Promise<CpuEvidence>;
}

/** A document without devices whose CPU evidence commits to its statement. */
export async function mintDocument(
  collectCpu: MintedPlatform['collectCpu'],
  { bootLog, change = (cpu) => cpu }: DocumentChanges = {},
): Promise<Uint8Array> {
  const parts = { ...(await statementOf()), devices: [] };
  const b = statementDigest(encodeStatement(parts.statement), nodeCrypto);
  const g = devicesDigest(encodeDevices(parts.devices), nodeCrypto);
  const cpu = await change(await collectCpu(reportData(b, g, nodeCrypto)));
  return encodeDocument({ ...parts, cpu, bootLog });
}

/** The relying party of a minted platform: no devices, and its CPU anchors stand for a vendor's. */
export function contextFor(
  { cpu, anchors, collateral, now }: MintedPlatform,
  changes: Partial<AppraisalContext> = {},
): AppraisalContext {
  return {
    policy: { ...DEFAULT_POLICY, cpu, devices: 'none' },
    anchors,
    collateral,
    now,
    crypto: nodeCrypto,
    ...changes,
  };
}

export async function judgeDocument(
  document: Uint8Array,
  platform: MintedPlatform,
  changes: Partial<AppraisalContext> = {},
): Promise<Verdict> {
  return (await appraiseEvidence(document, PROOF, contextFor(platform, changes))).verdict;
}

/** Those of the CPU alone: where its binding fails, that of the devices does too. */
export function cpuFailures(verdict: Verdict): readonly string[] {
  return failures(verdict).filter((failure) => failure.startsWith('cpu'));
}
