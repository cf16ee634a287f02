import { toHex } from '../../attestation/bytes/bytes.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { ARCHITECTURES } from '../../attestation/evidence/nvidia/identity.ts';
import { parseDeviceReport } from '../../attestation/evidence/nvidia/parse.ts';
import { DEFAULT_POLICY } from '../../attestation/policy/defaults.ts';
import type { NvidiaPolicy, PinnedMeasurements, Policy } from '../../attestation/policy/policy.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { notNamed, type Narrowing } from './policyFromSeen.ts';

/** What devices are pinned by beside their number and kind. */
export interface DeviceNarrowing extends Narrowing {
  /** Measurements of devices that verified. */
  readonly pins: readonly PinnedMeasurements[];
}

/** As many devices of these chips as the machines have, at least and at most. */
export function devicesPolicy(
  machines: readonly (readonly DeviceEvidence[])[],
  { thisMachineOnly, pins }: DeviceNarrowing,
): Policy['devices'] {
  const devices = machines.flat();
  const accepted = DEFAULT_POLICY.devices;
  if (accepted === 'none' || devices.length === 0) return 'none';
  const chips = [...new Set(devices.map(chipOf))];
  const nvidia: NvidiaPolicy = {
    ...accepted.nvidia,
    architectures: [...new Set(chips.map((chip) => ARCHITECTURES[chip]))],
    chips,
    serials: thisMachineOnly ? [...new Set(devices.map(serialOf))] : 'any',
    pinnedMeasurements: [...pins],
  };
  return { gpus: counted(machines, 'gpu'), switches: counted(machines, 'switch'), nvidia };
}

function counted(machines: readonly (readonly DeviceEvidence[])[], wanted: DeviceEvidence['kind']) {
  const counts = machines.map((devices) => devices.filter(({ kind }) => kind === wanted).length);
  return { minimum: Math.min(...counts), maximum: Math.max(...counts) };
}

function chipOf({ kind, report }: DeviceEvidence) {
  const parsed = parseDeviceReport(report, kind);
  return parsed.kind === 'gpu' ? parsed.chip : 'LS10';
}

/** The serial of its leaf, which as a decimal number is the UEID. */
function serialOf({ certificates: [leaf] }: DeviceEvidence): string {
  if (leaf) return toHex(parseCertificate(leaf).serial);
  throw notNamed(
    'a device has no certificate, which names it',
    'Collect evidence with the certificates of its devices.',
  );
}
