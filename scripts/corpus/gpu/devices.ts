import { fail, type Check } from '../../../attestation/checks.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { appraiseDevices, type AppraisedDevices } from '../../../attestation/evidence/devices.ts';
import type { DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseDeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import { ReferenceLibrary } from '../../../attestation/evidence/nvidia/references.ts';
import { judgeDeviceRevocation } from '../../../attestation/evidence/nvidia/revocation.ts';
import { driverRimId, vbiosRimId } from '../../../attestation/evidence/nvidia/rim.ts';
import type { NvidiaPolicy } from '../../../attestation/policy/nvidia.ts';
import { OcspLibrary } from '../../../attestation/x509/ocspLibrary.ts';
import { anchorsOf } from './context.ts';
import { readDevices } from './evidence.ts';
import { fileOf, instantOf, nonceOf, ocspOf, type Demands, type Material } from './material.ts';
import { devicePolicy, revocationPolicy } from './policy.ts';

/** Checks that need what NVIDIA publishes about the software of a device. */
export const REFERENCE_CHECKS: readonly string[] = [
  'device.driver-reference',
  'device.vbios-reference',
  'device.reference-revocation',
  'device.measurements',
];

/** Judges the devices of a case as those of a document are judged, without the CPU that would commit to them. */
export async function judgeDevices(
  material: Material,
  demands: Demands,
  topology: NvidiaPolicy['topology'],
  crypto: CryptoProvider,
): Promise<readonly Check[]> {
  const now = instantOf(material.times.verifyAt, 'verifyAt');
  const nonce = nonceOf(material);
  const devices = await readOr(() => readDevices(material));
  if ('refused' in devices) return devices.refused;
  const options = { crypto, now, anchors: anchorsOf(material, crypto) };
  const rims = suppliedRims(devices.read, material);
  const library = new ReferenceLibrary(rims, options, ocspOf(material, 'reference'));
  // The responses about devices are of another day, and judged by themselves.
  const revocation = revocationPolicy({ ...demands, deviceOcsp: false });
  const context = {
    policy: devicePolicy({ topology, revocation }),
    collateral: NO_COLLATERAL,
    ...options,
  };
  const appraised = await appraiseDevices(devices.read, nonce, '', context, library);
  const checks = demands.deviceOcsp
    ? await withDeviceRevocation(appraised, material, demands, crypto)
    : appraised.checks;
  return demands.references ? checks : checks.filter(({ id }) => !REFERENCE_CHECKS.includes(id));
}

async function readOr<T>(
  read: () => Promise<T>,
): Promise<{ readonly read: T } | { readonly refused: readonly Check[] }> {
  try {
    return { read: await read() };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { refused: [fail(error.check ?? 'device.format', 'devices', error.code, error.message)] };
  }
}

/**
 * The manifests of the case under the ids that its devices ask for: whoever fetches one asks by id, and what comes
 * back may be another.
 */
function suppliedRims(
  devices: readonly DeviceEvidence[],
  material: Material,
): ReadonlyMap<string, Uint8Array> {
  const rims = new Map<string, Uint8Array>();
  const supply = (id: string | undefined, rim: Uint8Array | undefined) => {
    if (id !== undefined && rim) rims.set(id, rim);
  };
  for (const device of devices) {
    const report = reportOf(device);
    if (!report) continue;
    supply(driverRimId(report), fileOf(material, 'driver-rim'));
    supply(vbiosRimId(report), fileOf(material, report.kind === 'gpu' ? 'vbios-rim' : 'switch-bios-rim'));
  }
  return rims;
}

/** Undefined for a report that the verifier refuses: nobody asks for its manifests. */
function reportOf({ report, kind }: DeviceEvidence) {
  try {
    return parseDeviceReport(report, kind);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** `device.revocation` of the devices that verified, at the time of the responses about them. */
async function withDeviceRevocation(
  { checks, verified }: AppraisedDevices,
  material: Material,
  demands: Demands,
  crypto: CryptoProvider,
): Promise<readonly Check[]> {
  const { verifyAt, deviceOcspVerifyAt } = material.times;
  const now = instantOf(deviceOcspVerifyAt ?? verifyAt, 'deviceOcspVerifyAt');
  const ocspResponses = new OcspLibrary(ocspOf(material, 'device'));
  const policy = { revocation: revocationPolicy(demands) };
  const open = [...verified];
  const judged: Check[] = [];
  for (const check of checks) {
    const isReached = check.id === 'device.revocation' && check.code !== 'NOT_REACHED';
    const device = isReached ? open.shift() : undefined;
    const { subject } = check;
    const options = { crypto, now, ocspResponses, policy, subject };
    judged.push(device ? await judgeDeviceRevocation(device, options) : check);
  }
  if (open.length > 0) throw new Error('a verified device has no check of its revocation');
  return judged;
}
