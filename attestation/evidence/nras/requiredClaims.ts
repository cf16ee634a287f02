import { kept, violated, type Finding } from '../../policy/finding.ts';
import type { ClaimsVersion, DeviceClaims, DeviceKind } from './claims.ts';
import { quoted, shown } from './json.ts';

/** Names of claims that must be there for a version, by what they must say. */
interface ClaimNames {
  /** Must be true. */
  readonly flags: readonly string[];
  /** Must be a chain of certificates that is valid and not revoked. */
  readonly chains: readonly string[];
}

const CHAIN_GOOD: Readonly<Record<string, unknown>> = {
  'x-nvidia-cert-status': 'valid',
  'x-nvidia-cert-ocsp-status': 'good',
};
/** In a chain where the service says it: something else than this is bad. */
const CHAIN_GOOD_IF_SAID: Readonly<Record<string, unknown>> = {
  'x-nvidia-cert-revocation-reason': null,
  'x-nvidia-cert-ocsp-response-valid': true,
};
/** Lists of what did not match. A token with one that says success contradicts itself. */
const MISMATCHES = ['x-nvidia-mismatch-measurement-records', 'x-nvidia-mismatch-opaque-data-records'];
const WARNING = 'x-nvidia-attestation-warning';
/** Claims that are read elsewhere or that decide nothing. */
const OTHERS = [
  'iss', 'nbf', 'iat', 'exp', 'jti', 'sub', 'eat_nonce', 'ueid', 'hwmodel', 'oemid', 'measres', 'secboot', 'dbgstat',
  'x-nvidia-error-details', 'x-nvidia-device-type', 'x-nvidia-gpu-claims-version', 'x-nvidia-gpu-driver-version',
  'x-nvidia-gpu-vbios-version', 'x-nvidia-switch-bios-version', 'x-nvidia-gpu-switch-pdis', 'x-nvidia-attester-claims',
  WARNING, ...MISMATCHES,
]; // prettier-ignore

const VERSIONS: readonly ClaimsVersion[] = ['2.0', '3.0', '4.0'];

function claimNames(kind: DeviceKind, version: ClaimsVersion): ClaimNames {
  const manifests = kind === 'gpu' ? ['driver-rim', 'vbios-rim'] : ['bios-rim'];
  const ofManifests = (suffixes: readonly string[]) =>
    manifests.flatMap((manifest) => suffixes.map((suffix) => `${manifest}-${suffix}`));
  const report = 'attestation-report';
  const flags = [
    'arch-check',
    `${report}-parsed`,
    `${report}-nonce-match`,
    `${report}-signature-verified`,
    ...ofManifests(['fetched', 'signature-verified', 'measurements-available']),
    ...(kind === 'gpu' ? ['vbios-index-no-conflict'] : []),
    ...(version === '4.0' ? [] : ofManifests(['schema-validated'])),
    ...(version === '2.0'
      ? [`${report}-cert-chain-validated`, ...ofManifests(['cert-validated'])]
      : [`${report}-cert-chain-fwid-match`, ...ofManifests(['version-match'])]),
  ];
  const chains = version === '2.0' ? [] : [`${report}-cert-chain`, ...ofManifests(['cert-chain'])];
  const named = (name: string) => `x-nvidia-${kind}-${name}`;
  return { flags: flags.map(named), chains: chains.map(named) };
}

/**
 * What the single claims of a token come to. Those of its version must be there; any that is known, of whatever
 * version, must be good where it stands. The measurement result speaks first: it names what most failures are.
 */
export function judgeClaims(
  claims: DeviceClaims,
  kind: DeviceKind,
  version: ClaimsVersion,
): readonly Finding[] {
  const demanded = claimNames(kind, version);
  const known = VERSIONS.map((each) => claimNames(kind, each));
  const flags = [...new Set(known.flatMap((names) => names.flags))];
  const chains = [...new Set(known.flatMap((names) => names.chains))];
  return [
    judgeMeasurements(claims),
    ...flags.map((name) => judgeFlag(claims, name)),
    ...chains.flatMap((name) => judgeChain(claims, name)),
    judgePresence(claims, [...demanded.flags, ...demanded.chains, ...alwaysSaid(version)], version),
    judgeUnknown(claims, [...flags, ...chains]),
  ];
}

/** The warning is null where there is none. No 4.0 token of a device has been seen, and its published schema has none. */
function alwaysSaid(version: ClaimsVersion): readonly string[] {
  return version === '4.0' ? [] : [WARNING];
}

function judgeMeasurements({ measurementResult, all }: DeviceClaims): Finding {
  if (measurementResult !== 'success') {
    return violated('MEASUREMENT_MISMATCH', `measres is ${shown(measurementResult)}`);
  }
  const listed = MISMATCHES.filter((name) => !isNothing(all.get(name)));
  if (listed.length > 0) {
    return violated('MEASUREMENT_MISMATCH', `measres is "success" beside ${listed.join(' and ')}`);
  }
  return kept('measres is "success"');
}

export function isNothing(value: unknown): boolean {
  return value === undefined || value === null || (Array.isArray(value) && value.length === 0);
}

function judgeFlag({ all }: DeviceClaims, name: string): Finding {
  const value = all.get(name);
  if (value === undefined || value === true) return kept('every claim that the service checked is true');
  return violated('TOKEN_RESULT_NEGATIVE', `${name} is ${shown(value)}`);
}

function judgeChain({ all }: DeviceClaims, name: string): readonly Finding[] {
  const value = all.get(name);
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null) {
    return [violated('TOKEN_RESULT_NEGATIVE', `${name} is ${shown(value)}`)];
  }
  const chain = new Map<string, unknown>(Object.entries(value));
  const bad = [
    ...Object.entries(CHAIN_GOOD).filter(([member, good]) => chain.get(member) !== good),
    ...Object.entries(CHAIN_GOOD_IF_SAID).filter(
      ([member, good]) => !isNothing(chain.get(member)) && chain.get(member) !== good,
    ),
  ];
  return bad.map(([member]) =>
    violated('TOKEN_RESULT_NEGATIVE', `${name}: ${member} is ${shown(chain.get(member))}`),
  );
}

function judgePresence({ all }: DeviceClaims, demanded: readonly string[], version: ClaimsVersion): Finding {
  const absent = demanded.filter((name) => !all.has(name));
  if (absent.length === 0) return kept(`all ${demanded.length} claims of version ${version} are there`);
  return violated('EVIDENCE_INCOMPLETE', `claims of version ${version} are absent: ${absent.join(', ')}`);
}

function judgeUnknown({ all }: DeviceClaims, known: readonly string[]): Finding {
  const unknown = [...all.keys()].filter((name) => !known.includes(name) && !OTHERS.includes(name));
  if (unknown.length === 0) return kept('every claim is known');
  return kept(`claims that are not known here and decide nothing: ${unknown.map(quoted).join(', ')}`);
}
