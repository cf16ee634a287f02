import type { Anchor } from '../anchors.ts';
import { conclude } from '../appraise.ts';
import { fromHex, toHex } from '../bytes/bytes.ts';
import { fail, skip, type Check } from '../checks.ts';
import { mergeCollateral } from '../collateral.ts';
import { Refusal } from '../errors.ts';
import { judgeSimulation, referenceLibrary } from '../evidence/appraise.ts';
import { forOneAppraisal, type AppraisalContext } from '../evidence/context.ts';
import { appraiseDevices } from '../evidence/devices.ts';
import type { DeviceEvidence } from '../evidence/evidence.ts';
import { judgeBootLog } from '../evidence/platforms/bootLog.ts';
import type { VerifiedDevice } from '../evidence/nvidia/verify.ts';
import { parseEitherKind } from '../recognition/deviceFile.ts';
import type { Verdict } from '../verdict/verdict.ts';
import { judgeRawCpu, type RawCpuJudgement } from './cpu.ts';
import { readRawFiles, type RawFile, type RawMaterial } from './files.ts';

/** What the asker of raw evidence knows of it; whatever is not given is not compared, and the verdict says so. */
export interface RawExpectation {
  /** Report data, user data or `user_data` that the CPU report must carry. */
  readonly reportData?: Uint8Array | undefined;
  /** Nonce that the device reports must carry, 32 bytes, or that of a Nitro document. */
  readonly nonce?: Uint8Array | undefined;
}

export interface RawResult {
  readonly verdict: Verdict;
  /** Undefined where the files could not be read together. */
  readonly material: RawMaterial | undefined;
  readonly devices: readonly VerifiedDevice[];
}

/**
 * Judges reports of vendors without a document of ours around them: form, chains, signatures, collateral and what the
 * policy says. They do not say for which keys they were made, so that a verdict over them is at best a warning. Files
 * that cannot be read give a refusing verdict.
 */
export async function appraiseRaw(
  files: readonly RawFile[],
  expected: RawExpectation,
  given: AppraisalContext,
): Promise<RawResult> {
  const material = readOr(files);
  if (material instanceof Refusal) {
    const check = fail('document.format', 'files', material.code, material.message);
    return { verdict: conclude([check], [], given), material: undefined, devices: [] };
  }
  const collateral = mergeCollateral(given.collateral, material.collateral);
  const context = forOneAppraisal({ ...given, collateral });
  const cpu = material.cpu && (await judgeRawCpu(material.cpu, expected, context));
  const devices = await judgeDevices(material, expected, context);
  const checks = [...(cpu ? cpuChecks(cpu, material, context) : []), ...devices.checks];
  const complete = (!cpu || cpu.machine !== undefined) && devices.complete;
  const anchors = { cpu: cpu?.anchors ?? [], devices: devices.anchors, complete };
  const simulation = judgeSimulation(anchors, 'evidence', context);
  return {
    verdict: conclude([simulation.check, ...checks], simulation.components, context),
    material,
    devices: devices.verified,
  };
}

function readOr(files: readonly RawFile[]): RawMaterial | Refusal {
  try {
    const material = readRawFiles(files);
    if (material.cpu || material.devices.length > 0) return material;
    return new Refusal('EVIDENCE_INCOMPLETE', 'there is no evidence in these files');
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function cpuChecks(
  cpu: RawCpuJudgement,
  { bootLog }: RawMaterial,
  context: AppraisalContext,
): readonly Check[] {
  return bootLog ? [...cpu.checks, judgeBootLog(bootLog, cpu, 'cpu', context)] : cpu.checks;
}

interface JudgedDevices {
  readonly checks: readonly Check[];
  readonly anchors: readonly Anchor[];
  readonly verified: readonly VerifiedDevice[];
  readonly complete: boolean;
}

/** Without a nonce of the asker all must carry that of the first; that it is anybody's own is then not claimed. */
async function judgeDevices(
  { devices, askedNonce }: RawMaterial,
  { nonce }: RawExpectation,
  context: AppraisalContext,
): Promise<JudgedDevices> {
  if (devices.length === 0) return { checks: [], anchors: [], verified: [], complete: true };
  const said =
    askedNonce !== undefined && /^[0-9a-f]{64}$/.test(askedNonce) ? fromHex(askedNonce) : undefined;
  const wanted = nonce ?? said ?? nonceIn(devices) ?? new Uint8Array(32);
  const { checks, anchors, verified } = await appraiseDevices(
    devices,
    wanted,
    '',
    context,
    referenceLibrary(context),
  );
  const made = nonce ? checks : checks.map((check) => notAsked(check, wanted));
  return { checks: made, anchors, verified, complete: verified.length === devices.length };
}

function notAsked(check: Check, found: Uint8Array): Check {
  if (check.id !== 'device.nonce' || check.result !== 'pass') return check;
  const reason = `no nonce was given: the report is for ${toHex(found)} and may be old`;
  return skip(check.id, check.subject, 'NOT_REQUESTED', reason);
}

function nonceIn(devices: readonly DeviceEvidence[]): Uint8Array | undefined {
  for (const { report } of devices) {
    try {
      return parseEitherKind(report).nonce;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  return undefined;
}
