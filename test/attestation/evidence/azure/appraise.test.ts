import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseRuntimeClaims, checkUserData } from '../../../../attestation/evidence/azure/appraise.ts';
import { parseHclReport } from '../../../../attestation/evidence/azure/parse.ts';
import { verifyRuntimeClaims } from '../../../../attestation/evidence/azure/verify.ts';
import { azurePolicySchema, type AzurePolicy } from '../../../../attestation/policy/azure.ts';
import { claimsOf, CONFIGURATION, mintHclReport, VM_ID } from '../../../support/hclReport.ts';

const EXPECTED = Uint8Array.from({ length: 64 }, (_, i) => i);
const THUMBPRINT = 'A'.repeat(42) + 'E';

/** Accepts exactly the minted claims. */
const STRICT: AzurePolicy = {
  secureBoot: 'required',
  console: 'refused',
  interactiveConsole: 'refused',
  filteredVpciDevices: 'refused',
  rootCertThumbprints: 'any',
  vmUniqueIds: [VM_ID.toLowerCase()],
  userData: 'required',
  unknownClaims: 'refused',
};
const LAX: AzurePolicy = {
  secureBoot: 'any',
  console: 'accepted',
  interactiveConsole: 'accepted',
  filteredVpciDevices: 'accepted',
  rootCertThumbprints: 'any',
  vmUniqueIds: 'any',
  userData: 'any',
  unknownClaims: 'accepted',
};

function verified(changes: Record<string, unknown> = {}) {
  const report = parseHclReport(mintHclReport({ claims: claimsOf(changes) }));
  return verifyRuntimeClaims(report, report.reportData, nodeCrypto);
}

const configured = (changes: Record<string, unknown>) =>
  verified({ 'vm-configuration': { ...CONFIGURATION, ...changes } });

function judge(claims: ReturnType<typeof verified>, policy: Partial<AzurePolicy> = {}) {
  const checks = appraiseRuntimeClaims(claims, { ...STRICT, ...policy });
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

const VIOLATED = 'fail GUEST_POLICY_VIOLATED';

describe('appraiseRuntimeClaims', () => {
  test('passes what the policy names, in the order of the list of checks', () => {
    const checks = appraiseRuntimeClaims(verified(), STRICT);
    expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
      'cpu.guest-policy cpu pass',
      'cpu.identity cpu pass',
    ]);
    expect(checks[0]?.reason).toContain('secure-boot yes, console-enabled no');
  });

  test.each<[string, Record<string, unknown>, Partial<AzurePolicy>]>([
    ['Secure Boot off', { 'secure-boot': false }, { secureBoot: 'any' }],
    ['a console', { 'console-enabled': true }, { console: 'accepted' }],
    [
      'an interactive console',
      { 'console-enabled': true, 'interactive-console-enabled': true },
      { console: 'accepted', interactiveConsole: 'accepted' },
    ],
    [
      'a console that does not say whether it is interactive',
      { 'console-enabled': true, 'interactive-console-enabled': undefined },
      { console: 'accepted', interactiveConsole: 'accepted' },
    ],
    [
      'devices through the filter',
      { 'filtered-vpci-devices-allowed': true },
      { filteredVpciDevices: 'accepted' },
    ],
    [
      'no word on the filter',
      { 'filtered-vpci-devices-allowed': undefined },
      { filteredVpciDevices: 'accepted' },
    ],
    ['a claim that is not known', { 'live-migration': false }, { unknownClaims: 'accepted' }],
  ])('%s is refused unless the policy accepts it', (_name, configuration, accepting) => {
    const claims = configured(configuration);
    expect(judge(claims)['cpu.guest-policy']).toBe(VIOLATED);
    expect(judge(claims, accepting)['cpu.guest-policy']).toBe('pass OK');
    for (const name of Object.keys(accepting) as (keyof AzurePolicy)[]) {
      const policy = { ...LAX, [name]: STRICT[name] };
      expect(judge(claims, policy)['cpu.guest-policy']).toBe(VIOLATED);
    }
  });

  test('a virtual TPM that is off is refused by every policy', () => {
    expect(judge(configured({ 'tpm-enabled': false }), LAX)['cpu.guest-policy']).toBe(VIOLATED);
  });

  test('every violation is named', () => {
    const claims = configured({ 'secure-boot': false, 'console-enabled': true });
    const [check] = appraiseRuntimeClaims(claims, STRICT);
    expect(check?.reason).toContain('Secure Boot is off; the host reads the serial console: ');
  });

  test('the provisioning certificate must be listed', () => {
    const listed = { rootCertThumbprints: [THUMBPRINT] };
    for (const thumbprint of [undefined, '', 'A'.repeat(43)]) {
      const claims = configured({ 'root-cert-thumbprint': thumbprint });
      expect(judge(claims, listed)['cpu.guest-policy']).toBe(VIOLATED);
      expect(judge(claims)['cpu.guest-policy']).toBe('pass OK');
    }
    expect(judge(configured({ 'root-cert-thumbprint': THUMBPRINT }), listed)['cpu.guest-policy']).toBe(
      'pass OK',
    );
  });

  test('the VM must be listed, however its id is written', () => {
    const identity = (vmUniqueIds: AzurePolicy['vmUniqueIds'], vmUniqueId = VM_ID) =>
      judge(configured({ vmUniqueId }), { vmUniqueIds })['cpu.identity'];
    expect(identity([VM_ID.toLowerCase()], VM_ID.toUpperCase())).toBe('pass OK');
    expect(identity(['0123abcd-89ab-4def-8123-456789abcde0'])).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity('any')).toBe('skip NOT_REQUIRED');
  });
});

describe('checkUserData', () => {
  const bound = (userData: string | undefined, wanted: AzurePolicy['userData']) => {
    const claims = verified({ 'user-data': userData });
    const { id, result, code } = checkUserData(claims, EXPECTED, { ...STRICT, userData: wanted });
    expect(id).toBe('cpu.binding');
    return `${result} ${code}`;
  };

  test('passes exactly the expected bytes', () => {
    expect(bound(toHex(EXPECTED), 'required')).toBe('pass OK');
    expect(bound(toHex(EXPECTED).toUpperCase(), 'any')).toBe('pass OK');
  });

  test.each([
    ['absent', undefined],
    ['never set', '00'.repeat(64)],
  ])('user data that is %s leaves only the quote fresh', (_name, userData) => {
    expect(bound(userData, 'required')).toBe('fail BINDING_MISMATCH');
    expect(bound(userData, 'any')).toBe('skip NOT_REQUIRED');
  });

  test('user data of another statement is refused by every policy', () => {
    for (const userData of [toHex(EXPECTED.toReversed()), toHex(EXPECTED).replace(/3f$/, '00')]) {
      expect(bound(userData, 'required')).toBe('fail BINDING_MISMATCH');
      expect(bound(userData, 'any')).toBe('fail BINDING_MISMATCH');
    }
  });
});

describe('the policy', () => {
  test('takes what is written out', () => {
    for (const policy of [STRICT, LAX, { ...LAX, rootCertThumbprints: [THUMBPRINT] }]) {
      expect(azurePolicySchema.safeParse(policy).success).toBe(true);
    }
  });

  test.each<[string, Record<string, unknown>]>([
    ['an absent member', { userData: undefined }],
    ['an unknown member', { tpmPersisted: 'any' }],
    ['a VM id in capitals', { vmUniqueIds: [VM_ID.toUpperCase()] }],
    ['no VM id', { vmUniqueIds: [] }],
    ['a VM id twice', { vmUniqueIds: [VM_ID.toLowerCase(), VM_ID.toLowerCase()] }],
    ['a thumbprint of hex', { rootCertThumbprints: ['00'.repeat(32)] }],
    ['an empty thumbprint', { rootCertThumbprints: [''] }],
  ])('refuses %s', (_name, changes) => {
    expect(azurePolicySchema.safeParse({ ...STRICT, ...changes }).success).toBe(false);
  });
});
