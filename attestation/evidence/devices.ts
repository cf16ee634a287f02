import type { Anchor } from '../anchors.ts';
import { toHex } from '../bytes/bytes.ts';
import { CHECKS, fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import type { RefusalCode } from '../errors.ts';
import type { NvidiaPolicy } from '../policy/policy.ts';
import { notReached, runSteps } from '../verdict/steps.ts';
import type { AppraisalContext } from './context.ts';
import type { DeviceEvidence } from './evidence.ts';
import { appraiseDevice, appraiseDeviceSet } from './nvidia/appraise.ts';
import type { ReferenceLibrary } from './nvidia/references.ts';
import {
  judgeDeviceRevocation,
  judgeReferenceRevocation,
  type RevocationOptions,
} from './nvidia/revocation.ts';
import type { VerifiedRim } from './nvidia/rim.ts';
import { verifyDevice, type VerifiedDevice } from './nvidia/verify.ts';

const VERIFIED_BY_ROOM: readonly CheckId[] = [
  'device.format',
  'device.chain',
  'device.signature',
  'device.nonce',
];
const APPRAISED: readonly CheckId[] = [
  'device.revocation',
  'device.firmware-id',
  'device.mode',
  'device.identity',
  'device.driver-reference',
  'device.vbios-reference',
  'device.reference-revocation',
  'device.measurements',
];
const ORDER = Object.keys(CHECKS);

export interface AppraisedDevices {
  readonly checks: readonly Check[];
  /** Anchors of the devices and of the reference values they were judged by. */
  readonly anchors: readonly Anchor[];
  /** In document order; shorter than the document where a device did not verify. */
  readonly verified: readonly VerifiedDevice[];
}

/**
 * Judges all devices of one document. Their reports must carry `nonce`; `prefix` stands before each subject.
 * `binding` says whether the CPU commits to them: devices that are judged alone have none.
 */
export async function appraiseDevices(
  devices: readonly DeviceEvidence[],
  nonce: Uint8Array,
  prefix: string,
  context: AppraisalContext,
  library: ReferenceLibrary,
  binding?: Check,
): Promise<AppraisedDevices> {
  const policy = context.policy.devices;
  const subject = `${prefix}devices`;
  if (policy === 'none') return { checks: [checkNone(devices.length, subject)], anchors: [], verified: [] };
  const each = [];
  const position = { gpu: 0, switch: 0 };
  for (const device of devices) {
    const name = `${prefix}${device.kind} ${position[device.kind]++}`;
    each.push(await appraiseOne(device, nonce, name, policy.nvidia, context, library));
  }
  const verified = each.flatMap((device) => device.verified ?? []);
  const set = appraiseDeviceSet(verified, policy, devices.length).map((check) => ({ ...check, subject }));
  return {
    checks: [...inOrder([...set, ...(binding ? [binding] : [])]), ...each.flatMap(({ checks }) => checks)],
    anchors: each.flatMap(({ anchors }) => anchors),
    verified,
  };
}

/**
 * Whether the CPU report commits to `digest`, the digest over exactly these reports and certificates (DESIGN section
 * 4). It does so together with the statement, in one value: what `cpu.binding` came to decides.
 */
export function checkDevicesBinding(
  devices: readonly DeviceEvidence[],
  digest: Uint8Array,
  cpu: readonly Check[],
  subject: string,
): Check {
  const id = 'devices.binding';
  const found = cpu.filter((check) => check.id === 'cpu.binding');
  const what = `${devices.length} devices with digest ${toHex(digest)}`;
  const broken = found.find(({ result }) => result === 'fail');
  if (broken) {
    const reason = `the CPU does not commit to ${what}, or not to this statement: ${broken.reason}`;
    return fail(id, subject, broken.code as RefusalCode, reason);
  }
  if (found.length === 0 || found.some(({ code }) => code === 'NOT_REACHED')) {
    return notReached(id, subject, 'the CPU evidence did not verify');
  }
  const waived = found.find(({ result }) => result === 'skip');
  if (waived) return skip(id, subject, waived.code, waived.reason);
  return pass(id, subject, `the CPU commits to ${what}`);
}

function checkNone(count: number, subject: string): Check {
  const id = 'devices.count';
  if (count === 0) return pass(id, subject, 'the policy demands no devices and there are none');
  const reason = `the policy demands no devices, the document has ${count}`;
  return fail(id, subject, 'DEVICE_COUNT_MISMATCH', reason);
}

interface AppraisedDevice {
  readonly checks: readonly Check[];
  readonly anchors: readonly Anchor[];
  readonly verified: VerifiedDevice | undefined;
}

async function appraiseOne(
  device: DeviceEvidence,
  nonce: Uint8Array,
  subject: string,
  policy: NvidiaPolicy,
  context: AppraisalContext,
  library: ReferenceLibrary,
): Promise<AppraisedDevice> {
  const { crypto, now, anchors, chainCache } = context;
  const { value: verified, checks } = await runSteps(
    VERIFIED_BY_ROOM,
    subject,
    () => verifyDevice(device, { crypto, now, anchors, chainCache, nonce }),
    (found) => ({ 'device.chain': `leads to the pinned key ${found.anchor.name}` }),
  );
  if (!verified) {
    const rest = APPRAISED.map((id) => notReached(id, subject, 'the device report did not verify'));
    return { checks: inOrder([...checks, ...rest]), anchors: [], verified };
  }
  const { checks: judged, manifests } = appraiseDevice(verified, await library.of(verified), policy, subject);
  const { ocspResponses } = library;
  const revocation: RevocationOptions = { crypto, now, ocspResponses, policy, subject };
  const revoked = [
    await judgeDeviceRevocation(verified, revocation),
    await judgeManifests(manifests, judged, revocation),
  ];
  return {
    checks: inOrder([...checks, ...judged, ...revoked]),
    anchors: [verified.anchor, ...manifests.map(({ anchor }) => anchor)],
    verified,
  };
}

/** One check for all manifests that were looked at: the first that fails, else the first that is skipped. */
async function judgeManifests(
  manifests: readonly VerifiedRim[],
  judged: readonly Check[],
  options: RevocationOptions,
): Promise<Check> {
  const id = 'device.reference-revocation';
  const { subject } = options;
  const checks = await Promise.all(manifests.map((rim) => judgeReferenceRevocation(rim, options)));
  const decisive =
    checks.find(({ result }) => result === 'fail') ?? checks.find(({ result }) => result === 'skip');
  if (decisive) return decisive;
  if (checks.length > 0) return pass(id, subject, checks.map(({ reason }) => reason).join('; '));
  const isPinned = judged.some(
    ({ id: found, code }) => found === 'device.vbios-reference' && code === 'NOT_REQUIRED',
  );
  return isPinned
    ? skip(id, subject, 'NOT_REQUIRED', 'no manifest is judged: values are pinned by policy')
    : notReached(id, subject, 'no manifest verified');
}

/** The order of the list of checks. */
function inOrder(checks: readonly Check[]): readonly Check[] {
  return checks.toSorted((a, b) => ORDER.indexOf(a.id) - ORDER.indexOf(b.id));
}
