import type { Anchor } from '../anchors.ts';
import { fail, pass, skip, type Check, type CheckId } from '../checks.ts';
import type { NvidiaPolicy } from '../policy/policy.ts';
import { notReached, runSteps } from '../verdict/steps.ts';
import type { AppraisalContext } from './context.ts';
import type { DeviceEvidence } from './evidence.ts';
import { appraiseDevice, appraiseDeviceSet } from './nvidia/appraise.ts';
import type { ReferenceLibrary } from './nvidia/references.ts';
import { verifyDevice, type VerifiedDevice } from './nvidia/verify.ts';

const VERIFIED_BY_ROOM: readonly CheckId[] = [
  'device.format',
  'device.chain',
  'device.signature',
  'device.nonce',
];
const APPRAISED: readonly CheckId[] = [
  'device.firmware-id',
  'device.mode',
  'device.identity',
  'device.driver-reference',
  'device.vbios-reference',
  'device.measurements',
];

export interface AppraisedDevices {
  readonly checks: readonly Check[];
  /** Anchors of the devices and of the reference values they were judged by. */
  readonly anchors: readonly Anchor[];
  /** In document order; shorter than the document where a device did not verify. */
  readonly verified: readonly VerifiedDevice[];
}

/**
 * Judges all devices of one document. Their reports must carry `nonce`; `subjectOf` names device `i` of a kind in
 * the checks.
 */
export async function appraiseDevices(
  devices: readonly DeviceEvidence[],
  nonce: Uint8Array,
  prefix: string,
  context: AppraisalContext,
  library: ReferenceLibrary,
): Promise<AppraisedDevices> {
  const policy = context.policy.devices;
  const subject = `${prefix}devices`;
  if (policy === 'none') return withoutDevices(devices.length, subject);
  const each = [];
  const position = { gpu: 0, switch: 0 };
  for (const device of devices) {
    const name = `${prefix}${device.kind} ${position[device.kind]++}`;
    each.push(await appraiseOne(device, nonce, name, policy.nvidia, context, library));
  }
  const verified = each.flatMap((device) => device.verified ?? []);
  const set = appraiseDeviceSet(verified, policy).map((check) => ({ ...check, subject }));
  return {
    checks: [...set, ...each.flatMap(({ checks }) => checks)],
    anchors: each.flatMap(({ anchors }) => anchors),
    verified,
  };
}

function withoutDevices(count: number, subject: string): AppraisedDevices {
  const check =
    count === 0
      ? pass('devices.count', subject, 'the policy demands no devices and there are none')
      : fail(
          'devices.count',
          subject,
          'DEVICE_COUNT_MISMATCH',
          `the policy demands no devices, the document has ${count}`,
        );
  return { checks: [check], anchors: [], verified: [] };
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
  const { crypto, now, anchors } = context;
  const { value: verified, checks } = await runSteps(
    VERIFIED_BY_ROOM,
    subject,
    () => verifyDevice(device, { crypto, now, anchors, nonce }),
    (found) => ({ 'device.chain': `leads to the pinned key ${found.anchor.name}` }),
  );
  if (!verified) {
    const rest = APPRAISED.map((id) => notReached(id, subject, 'the device report did not verify'));
    return { checks: [...checks, ...rest], anchors: [], verified };
  }
  const references = await library.of(verified);
  const used = [references.driver, references.vbios].flatMap((reference) =>
    reference && 'anchor' in reference ? [reference.anchor] : [],
  );
  const revocation = skip(
    'device.revocation',
    subject,
    'NOT_REQUIRED',
    'the policy does not ask for revocation of devices',
  );
  return {
    checks: [...checks, revocation, ...appraiseDevice(verified, references, policy, subject)],
    anchors: [verified.anchor, ...used],
    verified,
  };
}
