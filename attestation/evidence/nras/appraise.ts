import { fail, type Check, type CheckId } from '../../checks.ts';
import { Refusal } from '../../errors.ts';
import { conclude, kept, violated, waived, type Finding } from '../../policy/finding.ts';
import type { NrasPolicy } from '../../policy/nras.ts';
import { isAtLeast, readDecimalVersion } from '../../policy/version.ts';
import { notReached } from '../../verdict/steps.ts';
import type { DeviceClaims, DeviceKind, OverallClaims } from './claims.ts';
import { isNothing, judgeClaims } from './requiredClaims.ts';
import { quoted, shown } from './json.ts';
import type { DeviceToken } from './parse.ts';
import { readSentDevice, type ExpectedDevice, type SentDevice } from './sentDevice.ts';
import type { VerifiedNrasAnswer } from './verify.ts';

const RESULT = 'token.result';
const DEVICES = 'token.devices';
/** NVIDIA's IANA enterprise number. Tokens of switches do not state it. */
const NVIDIA = '5703';

/** By the first word of the common name of a boot ROM certificate. */
const ARCHITECTURES: ReadonlyMap<string, NrasPolicy['architectures'][number]> = new Map([
  ['GH100', 'hopper'],
  ['GB100', 'blackwell'],
  ['GB20X', 'blackwell'],
  ['LS_10', 'ls10'],
]);

/**
 * Judges what a verified answer says, and that it says it of exactly the devices that were sent. Nothing here is a
 * check of a device: a service that is deceived or in error deceives with it whoever believes it.
 */
export function appraiseNrasTokens(
  { overall, devices }: VerifiedNrasAnswer,
  sent: readonly SentDevice[],
  policy: NrasPolicy,
): readonly Check[] {
  const results = [
    checkOf(RESULT, 'answer', judgeOverall(overall.claims, policy)),
    ...devices.map((device) =>
      checkOf(RESULT, subjectOf(device), judgeResult(device, overall.claims, policy)),
    ),
  ];
  const expected = readSent(sent);
  if (expected instanceof Refusal) {
    const refused = fail(DEVICES, 'devices', expected.code, `the devices sent: ${expected.message}`);
    const rest = devices.map((device) => notReached(DEVICES, subjectOf(device), expected.code));
    return [...results, refused, ...rest];
  }
  return [
    ...results,
    checkOf(DEVICES, 'devices', judgeSet(devices, expected, policy)),
    ...devices.map((device) => checkOf(DEVICES, subjectOf(device), judgeDevice(device, expected, policy))),
  ];
}

/** What the policy waives leaves the rest unproved and is said first. */
function checkOf(id: CheckId, subject: string, findings: readonly Finding[]): Check {
  const waivers = findings.filter(({ kind }) => kind === 'waived');
  return conclude(id, subject, [...waivers, ...findings], waivers.length === 0);
}

function subjectOf({ deviceKind, index }: DeviceToken): string {
  return `${deviceKind} ${index}`;
}

function readSent(sent: readonly SentDevice[]): readonly ExpectedDevice[] | Refusal {
  try {
    return sent.map(readSentDevice);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function judgeOverall({ result, version }: OverallClaims, policy: NrasPolicy): readonly Finding[] {
  return [
    result
      ? kept('the service says that all devices passed')
      : violated('TOKEN_RESULT_NEGATIVE', 'the service says that not all devices passed'),
    policy.claimsVersions.includes(version)
      ? kept(`claims of version ${version}`)
      : violated(
          'EVIDENCE_INCOMPLETE',
          `claims of version ${version}, the policy demands ${policy.claimsVersions.join(' or ')}`,
        ),
  ];
}

function judgeResult(
  { claims, deviceKind }: DeviceToken,
  { version }: OverallClaims,
  policy: NrasPolicy,
): readonly Finding[] {
  if (claims.kind === 'error') {
    const reason = `the service could not judge the device: error ${claims.code} ${quoted(claims.message)}`;
    return [violated('TOKEN_RESULT_NEGATIVE', reason)];
  }
  return [...judgeClaims(claims, deviceKind, version), ...judgeWarning(claims, policy)];
}

function judgeWarning({ all }: DeviceClaims, { warnings }: NrasPolicy): readonly Finding[] {
  const warning = all.get('x-nvidia-attestation-warning');
  if (isNothing(warning)) return [];
  const reason = `the service warns: ${shown(warning)}`;
  return [warnings === 'accepted' ? waived(reason) : violated('TOKEN_RESULT_NEGATIVE', reason)];
}

/** As many tokens as devices, of each kind, within the bounds of the policy, and none of them twice. */
function judgeSet(
  devices: readonly DeviceToken[],
  expected: readonly ExpectedDevice[],
  policy: NrasPolicy,
): readonly Finding[] {
  const counts = (['gpu', 'switch'] as const).map((kind) => {
    const [tokens, sent] = [
      devices.filter(({ deviceKind }) => deviceKind === kind).length,
      expected.filter((device) => device.kind === kind).length,
    ];
    const { minimum, maximum } = kind === 'gpu' ? policy.gpus : policy.switches;
    const found = `${tokens} tokens of kind ${kind}`;
    if (tokens !== sent) return violated('DEVICE_COUNT_MISMATCH', `${found}, ${sent} devices were sent`);
    if (tokens < minimum || tokens > maximum) {
      return violated('DEVICE_COUNT_MISMATCH', `${found}, the policy demands ${minimum} to ${maximum}`);
    }
    return kept(`${found}, as many as were sent`);
  });
  const stated = devices.flatMap(({ claims }) => (claims.kind === 'device' ? (claims.ueid ?? []) : []));
  return [
    ...counts,
    judgeDistinct(
      'the devices sent',
      expected.map(({ ueid }) => ueid),
    ),
    judgeDistinct('the tokens', stated),
  ];
}

function judgeDistinct(what: string, ueids: readonly string[]): Finding {
  const twice = ueids.find((ueid, i) => ueids.indexOf(ueid) !== i);
  if (twice === undefined) return kept(`${what} are of distinct devices`);
  return violated('DEVICE_DUPLICATE', `${what} name device ${twice} more than once`);
}

function judgeDevice(
  { claims, deviceKind }: DeviceToken,
  expected: readonly ExpectedDevice[],
  policy: NrasPolicy,
): readonly Finding[] {
  if (claims.kind === 'error') return [violated('TOKEN_RESULT_NEGATIVE', 'an error token names no device')];
  const { ueid } = claims;
  if (ueid === undefined)
    return [violated('EVIDENCE_INCOMPLETE', 'the token names no device: ueid is absent')];
  const device = expected.find((each) => each.kind === deviceKind && each.ueid === ueid);
  if (!device) {
    const reason = `the token is of ${deviceKind} ${ueid}, which is none of the devices that were sent`;
    return [violated('CHIP_ID_MISMATCH', reason)];
  }
  return [
    kept(`of leaf serial ${device.serial}`),
    ...judgeModel(claims, device, policy),
    judgeIdentity(device, policy),
    ...judgeState(claims),
    ...judgeVersions(claims, deviceKind, policy),
  ];
}

/**
 * Version 2.0 says the chip (`GH100`), 3.0 the common name (`GH100 A01 GSP BROM`); for switches NVIDIA writes LS_10
 * in certificates and LS10 elsewhere.
 */
function judgeModel(
  { hardwareModel, oemId }: DeviceClaims,
  { model, kind }: ExpectedDevice,
  { architectures }: NrasPolicy,
): readonly Finding[] {
  const [chip = ''] = model.split(' ');
  const accepted = [model, chip, chip.replace('_', '')];
  const findings: Finding[] = [];
  if (hardwareModel === undefined) {
    findings.push(violated('EVIDENCE_INCOMPLETE', 'hwmodel is absent'));
  } else if (!accepted.includes(hardwareModel)) {
    const reason = `hwmodel is ${quoted(hardwareModel)}, the chain sent is of ${quoted(model)}`;
    findings.push(violated('PRODUCT_MISMATCH', reason));
  } else {
    findings.push(kept(`hwmodel ${hardwareModel}`));
  }
  if (oemId !== NVIDIA && !(kind === 'switch' && oemId === undefined)) {
    const reason = `oemid is ${shown(oemId)}, NVIDIA is ${NVIDIA}`;
    findings.push(violated(oemId === undefined ? 'EVIDENCE_INCOMPLETE' : 'PRODUCT_MISMATCH', reason));
  }
  const architecture = ARCHITECTURES.get(chip);
  if (architecture === undefined || !architectures.includes(architecture)) {
    const reason = `${quoted(chip)} is of architecture ${architecture ?? 'unknown'}; the policy names ${architectures.join(', ')}`;
    findings.push(violated('DEVICE_NOT_ALLOWED', reason));
  }
  return findings;
}

function judgeIdentity({ serial }: ExpectedDevice, { serials }: NrasPolicy): Finding {
  if (serials === 'any') return kept('the policy allows any serial');
  return serials.includes(serial)
    ? kept('the serial is listed')
    : violated('DEVICE_NOT_ALLOWED', `serial ${serial} is not in the policy`);
}

/** The service states both only of a device that passed. */
function judgeState({ secureBoot, debugStatus }: DeviceClaims): readonly Finding[] {
  const findings: Finding[] = [];
  if (secureBoot === true) findings.push(kept('secboot is true'));
  else if (secureBoot === false) findings.push(violated('DEVICE_MODE_FORBIDDEN', 'secboot is false'));
  else findings.push(violated('EVIDENCE_INCOMPLETE', 'secboot is absent'));
  if (debugStatus === 'disabled') findings.push(kept('dbgstat is "disabled"'));
  else if (debugStatus === undefined) findings.push(violated('EVIDENCE_INCOMPLETE', 'dbgstat is absent'));
  else findings.push(violated('DEBUG_ENABLED', `dbgstat is ${quoted(debugStatus)}`));
  return findings;
}

function judgeVersions(
  { driverVersion, firmwareVersion }: DeviceClaims,
  kind: DeviceKind,
  { minimumDriver, firmware }: NrasPolicy,
): readonly Finding[] {
  const drivers = kind === 'gpu' ? [judgeDriver(driverVersion, minimumDriver)] : [];
  if (firmwareVersion === undefined) {
    return [...drivers, violated('EVIDENCE_INCOMPLETE', 'the firmware version is absent')];
  }
  const listed = firmware === 'any' || firmware.includes(firmwareVersion.toUpperCase());
  const seen = `firmware ${quoted(firmwareVersion)}`;
  return [
    ...drivers,
    listed
      ? kept(seen)
      : violated('MEASUREMENT_MISMATCH', `${seen} is not among the ${firmware.length} of the policy`),
  ];
}

function judgeDriver(version: string | undefined, minimum: NrasPolicy['minimumDriver']): Finding {
  if (version === undefined) return violated('EVIDENCE_INCOMPLETE', 'the driver version is absent');
  const seen = `driver ${quoted(version)}`;
  if (minimum === 'any') return kept(seen);
  const [have, want] = [readDecimalVersion(version), readDecimalVersion(minimum)];
  if (have && want && isAtLeast(have, want)) return kept(seen);
  return violated('TCB_OUT_OF_DATE', `${seen}, the policy demands ${minimum}`);
}
