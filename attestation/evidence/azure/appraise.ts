import { equalBytes, isZero, toHex } from '../../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../../checks.ts';
import type { AzurePolicy } from '../../policy/azure.ts';
import type { RuntimeClaims } from './claims.ts';
import type { VerifiedRuntimeClaims } from './verify.ts';

const SUBJECT = 'cpu';

/** Judges verified claims under the policy. The checks come in the order of the list of checks. */
export function appraiseRuntimeClaims(
  { claims }: VerifiedRuntimeClaims,
  policy: AzurePolicy,
): readonly Check[] {
  return [checkConfiguration(claims, policy), checkIdentity(claims, policy)];
}

/**
 * Whether the claim `user-data` is `expected`, the 64 bytes of DESIGN section 4. Without it the claims may be from any
 * time since boot: only the quote of the virtual TPM is fresh, and a verdict that accepts it says so.
 */
export function checkUserData(
  { claims }: VerifiedRuntimeClaims,
  expected: Uint8Array,
  { userData: wanted }: AzurePolicy,
): Check {
  const id = 'cpu.binding';
  const { userData } = claims;
  if (userData && equalBytes(userData, expected)) {
    return pass(id, SUBJECT, 'user-data commits to the statement and the devices');
  }
  if (userData && !isZero(userData)) {
    const reason = `user-data is ${toHex(userData)}, the statement and devices give ${toHex(expected)}`;
    return fail(id, SUBJECT, 'BINDING_MISMATCH', reason);
  }
  const unset = 'user-data is not set: only the quote of the virtual TPM is fresh, not the hardware report';
  if (wanted === 'required') return fail(id, SUBJECT, 'BINDING_MISMATCH', unset);
  return skip(id, SUBJECT, 'NOT_REQUIRED', `${unset}, which the policy accepts`);
}

function checkConfiguration(claims: RuntimeClaims, policy: AzurePolicy): Check {
  const id = 'cpu.guest-policy';
  const seen = describe(claims);
  const violations = [
    ...violatedSwitches(claims, policy),
    ...violatedThumbprint(claims, policy),
    ...violatedUnknown(claims, policy),
  ];
  if (violations.length === 0) return pass(id, SUBJECT, seen);
  return fail(id, SUBJECT, 'GUEST_POLICY_VIOLATED', `${violations.join('; ')}: ${seen}`);
}

/** A weakness that the claims do not rule out counts as one. */
function violatedSwitches({ vm }: RuntimeClaims, policy: AzurePolicy): readonly string[] {
  const { consoleEnabled } = vm;
  const interactive = consoleEnabled && (vm.interactiveConsoleEnabled ?? true);
  const filtered = vm.filteredVpciDevicesAllowed ?? true;
  const violations: readonly (readonly [boolean, string])[] = [
    [!vm.tpmEnabled, 'the virtual TPM is off'],
    [policy.secureBoot === 'required' && !vm.secureBoot, 'Secure Boot is off'],
    [policy.console === 'refused' && consoleEnabled, 'the host reads the serial console'],
    [policy.interactiveConsole === 'refused' && interactive, 'the host may type at the serial console'],
    [policy.filteredVpciDevices === 'refused' && filtered, 'devices of the host may pass the device filter'],
  ];
  return violations.flatMap(([violated, text]) => (violated ? [text] : []));
}

function violatedThumbprint({ vm }: RuntimeClaims, { rootCertThumbprints }: AzurePolicy): readonly string[] {
  if (rootCertThumbprints === 'any') return [];
  if (vm.rootCertThumbprint && rootCertThumbprints.includes(vm.rootCertThumbprint)) return [];
  return [`the provisioning certificate is not among ${rootCertThumbprints.length} listed`];
}

function violatedUnknown({ unknown }: RuntimeClaims, policy: AzurePolicy): readonly string[] {
  if (unknown.length === 0 || policy.unknownClaims === 'accepted') return [];
  return [`claims that are not known here: ${unknown.join(', ')}`];
}

function describe({ vm, unknown }: RuntimeClaims): string {
  const said = (value: boolean | undefined) => (value === undefined ? 'not stated' : value ? 'yes' : 'no');
  const facts = [
    `secure-boot ${said(vm.secureBoot)}`,
    `console-enabled ${said(vm.consoleEnabled)}`,
    `interactive-console-enabled ${said(vm.interactiveConsoleEnabled)}`,
    `filtered-vpci-devices-allowed ${said(vm.filteredVpciDevicesAllowed)}`,
    `tpm-persisted ${said(vm.tpmPersisted)}`,
    `root-cert-thumbprint ${vm.rootCertThumbprint === '' ? 'empty' : (vm.rootCertThumbprint ?? 'not stated')}`,
  ];
  return [...facts, ...unknown.map((name) => `${name} unknown`)].join(', ');
}

function checkIdentity({ vm }: RuntimeClaims, { vmUniqueIds }: AzurePolicy): Check {
  const id = 'cpu.identity';
  const seen = `VM ${vm.vmUniqueId}`;
  if (vmUniqueIds === 'any') return skip(id, SUBJECT, 'NOT_REQUIRED', `${seen}; the policy allows any VM`);
  return vmUniqueIds.includes(vm.vmUniqueId)
    ? pass(id, SUBJECT, `${seen} is listed`)
    : fail(id, SUBJECT, 'DEVICE_NOT_ALLOWED', `${seen} is not among ${vmUniqueIds.length} listed`);
}
