import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import {
  appraiseNitro,
  appraiseNitroTpm,
  checkNitroBinding,
} from '../../../../attestation/evidence/nitro/appraise.ts';
import { verifyNitro, type VerifiedNitro } from '../../../../attestation/evidence/nitro/verify.ts';
import {
  nitroPolicySchema,
  nitroTpmPolicySchema,
  type NitroPolicy,
  type NitroTpmPolicy,
} from '../../../../attestation/policy/nitro.ts';
import {
  mintNitroAuthority,
  MODULE_ID,
  NOW,
  registers,
  type NitroAuthority,
} from '../../../support/nitroAuthority.ts';

const EXPECTED = Uint8Array.from({ length: 64 }, (_, i) => i);
const register = (index: number) => toHex(new Uint8Array(48).fill(index + 1));
const IMAGE = { name: 'release 1', pcrs: { 0: register(0), 1: register(1), 2: register(2) } };

/** Accepts exactly the minted document. */
const STRICT: NitroPolicy = {
  moduleIds: [MODULE_ID],
  maximumAgeSeconds: 300,
  debug: 'refused',
  measurements: [IMAGE],
};
const TPM: NitroTpmPolicy = {
  moduleIds: [MODULE_ID],
  maximumAgeSeconds: 300,
  measurements: [{ name: 'image 1', pcrs: { 4: register(4), 7: register(7), 12: register(12) } }],
};

let authority: NitroAuthority;

beforeAll(async () => {
  authority = await mintNitroAuthority();
});

async function verified(changes: Record<string, unknown> = {}, now = NOW): Promise<VerifiedNitro> {
  return verifyNitro(await authority.mint(changes), { crypto: nodeCrypto, now, anchors: [authority.anchor] });
}

const tpm = (changes: Record<string, unknown> = {}) =>
  verified({ pcrs: undefined, nitrotpm_pcrs: registers(24), ...changes });

/** `result code` of each check. */
function outcome(checks: readonly Check[]): Record<string, string> {
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

const judge = (document: VerifiedNitro, policy: Partial<NitroPolicy> = {}) =>
  outcome(appraiseNitro(document, { ...STRICT, ...policy }));

/** Registers with these in place of the first ones. */
function registersWith(...first: readonly Uint8Array[]): Map<number, Uint8Array> {
  return new Map([...registers(16), ...first.entries()]);
}

describe('appraiseNitro', () => {
  test('passes what the policy names, in the order of the list of checks', async () => {
    const checks = appraiseNitro(await verified(), STRICT);
    expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
      'document.time cpu pass',
      'cpu.debug cpu pass',
      'cpu.identity cpu pass',
      'cpu.measurement cpu pass',
    ]);
    expect(checks[3]?.reason).toContain('release 1');
  });

  test('debug mode is refused, and never passes where it is accepted', async () => {
    const zero = new Uint8Array(48);
    const debug = await verified({ pcrs: registersWith(zero, zero, zero) });
    expect(judge(debug)['cpu.debug']).toBe('fail DEBUG_ENABLED');
    expect(judge(debug, { debug: 'accepted' })['cpu.debug']).toBe('skip NOT_REQUIRED');
    expect(judge(await verified(), { debug: 'accepted' })['cpu.debug']).toBe('pass OK');
  });

  test('one image register of zero is enough', async () => {
    for (const index of [0, 1, 2]) {
      const pcrs = registersWith().set(index, new Uint8Array(48));
      expect(judge(await verified({ pcrs }))['cpu.debug']).toBe('fail DEBUG_ENABLED');
    }
  });

  test.each([0, 1, 2])('without PCR%i nothing says that debug mode is off', async (index) => {
    const pcrs = registers(16);
    pcrs.delete(index);
    const document = await verified({ pcrs });
    for (const debug of ['refused', 'accepted'] as const) {
      expect(judge(document, { debug })['cpu.debug']).toBe('fail EVIDENCE_INCOMPLETE');
    }
  });

  test('age is measured from the time in the document to the judged time', async () => {
    const document = await verified({}, NOW + 240_000);
    expect(judge(document)['document.time']).toBe('pass OK');
    expect(judge(await verified({}, NOW + 240_001))['document.time']).toBe('fail EVIDENCE_STALE');
    expect(judge(document, { maximumAgeSeconds: 'any' })['document.time']).toBe('skip NOT_REQUIRED');
    expect(judge(document, { maximumAgeSeconds: 0 })['document.time']).toBe('fail EVIDENCE_STALE');
  });

  test('a document that is ahead of the judged time by less than the skew is fresh', async () => {
    const document = await verified({ timestamp: NOW + 60_000 });
    expect(judge(document, { maximumAgeSeconds: 0 })['document.time']).toBe('pass OK');
  });

  test('the module must be listed, by its id or that of its instance', async () => {
    const document = await verified();
    const identity = (moduleIds: NitroPolicy['moduleIds']) => judge(document, { moduleIds })['cpu.identity'];
    expect(identity(['i-0123456789abcdef0'])).toBe('pass OK');
    expect(identity(['i-0123456789abcdef1'])).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity(['i-0123456789abcdef'])).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity([`${MODULE_ID.slice(0, -1)}2`])).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity('any')).toBe('skip NOT_REQUIRED');
  });

  test.each([
    ['another module', 'CN=i-0123456789abcdef1-enc0fedcba987654321.minted-1.aws'],
    ['a longer name', `CN=${MODULE_ID}0.minted-1.aws`],
    ['the module in another attribute', `O=${MODULE_ID}.minted-1.aws`],
    ['the module inside another value', `O=x\\, CN=${MODULE_ID}.minted-1.aws`],
  ])('a certificate for %s does not vouch for the module', async (_name, subject) => {
    const certificate = await authority.issueLeaf({ subject });
    const document = await verified({ certificate });
    expect(judge(document)['cpu.identity']).toBe('fail CHIP_ID_MISMATCH');
    expect(judge(document, { moduleIds: 'any' })['cpu.identity']).toBe('skip NOT_REQUIRED');
  });

  test('registers: none known, others, another set of them, any', async () => {
    const document = await verified();
    const measured = (measurements: NitroPolicy['measurements']) =>
      appraiseNitro(document, { ...STRICT, measurements }).find(({ id }) => id === 'cpu.measurement');
    const other = { name: 'release 2', pcrs: { 0: register(9), 1: register(9), 2: register(2) } };
    const near = { name: 'release 3', pcrs: { 0: register(0), 1: register(1), 2: register(9) } };
    expect(measured([])).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(measured([])?.reason).toContain(`PCR2 ${register(2)}`);
    const refused = measured([other, near]);
    expect(refused).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    expect(refused?.reason).toContain(`release 3: PCR2 is ${register(2)}, expected ${register(9)}`);
    expect(measured([other, near, IMAGE])).toMatchObject({ result: 'pass' });
    expect(measured([{ name: 'signer', pcrs: { 8: register(8) } }])).toMatchObject({ result: 'pass' });
    expect(measured('any')).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });

  test('registers of two sets never make one', async () => {
    const measurements = [
      { name: 'a', pcrs: { 0: register(0), 1: register(9) } },
      { name: 'b', pcrs: { 0: register(9), 1: register(1) } },
    ];
    expect(judge(await verified(), { measurements })['cpu.measurement']).toBe('fail MEASUREMENT_MISMATCH');
  });

  test('a register that the document does not have matches nothing', async () => {
    const pcrs = registers(8);
    const measurements = [{ name: 'signer', pcrs: { 8: register(8) } }];
    expect(judge(await verified({ pcrs }), { measurements })['cpu.measurement']).toBe(
      'fail MEASUREMENT_MISMATCH',
    );
  });
});

describe('appraiseNitroTpm', () => {
  test('passes what the policy names, and says whose TPM it is', async () => {
    const checks = appraiseNitroTpm(await tpm(), TPM);
    expect(checks.map(({ id, result, code }) => `${id} ${result} ${code}`)).toEqual([
      'document.time pass OK',
      'cpu.identity pass OK',
      'cpu.measurement pass OK',
      'limits.host-tpm skip NOT_EXCLUDED',
    ]);
  });

  test('registers of zero are no debug mode here', async () => {
    const nitrotpm_pcrs = registers(24).set(0, new Uint8Array(48));
    expect(outcome(appraiseNitroTpm(await tpm({ nitrotpm_pcrs }), TPM))['cpu.debug']).toBeUndefined();
  });

  test('other registers are refused', async () => {
    const nitrotpm_pcrs = registers(24).set(7, new Uint8Array(48));
    expect(outcome(appraiseNitroTpm(await tpm({ nitrotpm_pcrs }), TPM))['cpu.measurement']).toBe(
      'fail MEASUREMENT_MISMATCH',
    );
  });
});

test('a document of one kind is refused under the policy of the other', async () => {
  const refused = { 'cpu.platform': 'fail PLATFORM_NOT_ALLOWED' };
  expect(outcome(appraiseNitro(await tpm(), STRICT))).toEqual(refused);
  expect(outcome(appraiseNitroTpm(await verified(), TPM))).toEqual(refused);
});

describe('checkNitroBinding', () => {
  const bound = async (changes: Record<string, unknown>) => {
    const { result, code } = checkNitroBinding(await verified(changes), EXPECTED);
    return `${result} ${code}`;
  };

  test('passes user data of exactly the expected bytes and nothing else', async () => {
    expect(await bound({ user_data: EXPECTED })).toBe('pass OK');
  });

  test.each<[string, Record<string, unknown>]>([
    ['no user data', {}],
    ['empty user data', { user_data: new Uint8Array() }],
    ['other user data', { user_data: EXPECTED.toReversed() }],
    ['user data cut short', { user_data: EXPECTED.slice(0, 63) }],
    ['longer user data', { user_data: Uint8Array.of(...EXPECTED, 0) }],
    ['a nonce beside it', { user_data: EXPECTED, nonce: new Uint8Array(32) }],
    ['an empty nonce beside it', { user_data: EXPECTED, nonce: new Uint8Array() }],
    ['a public key beside it', { user_data: EXPECTED, public_key: new Uint8Array(65) }],
    ['the bytes as nonce', { nonce: EXPECTED }],
  ])('refuses %s', async (_corruption, changes) => {
    expect(await bound(changes)).toBe('fail BINDING_MISMATCH');
  });
});

describe('the policies', () => {
  test('take what is written out', () => {
    expect(nitroPolicySchema.safeParse(STRICT).success).toBe(true);
    expect(nitroTpmPolicySchema.safeParse(TPM).success).toBe(true);
    const any = { moduleIds: 'any', maximumAgeSeconds: 'any', measurements: 'any' };
    expect(nitroPolicySchema.safeParse({ ...any, debug: 'accepted' }).success).toBe(true);
    expect(nitroPolicySchema.safeParse({ ...STRICT, measurements: [] }).success).toBe(true);
    expect(nitroTpmPolicySchema.safeParse(any).success).toBe(true);
  });

  test.each<[string, Record<string, unknown>]>([
    ['an absent member', { debug: undefined }],
    ['an unknown member', { pcrs: 'any' }],
    ['no module', { moduleIds: [] }],
    ['a module twice', { moduleIds: [MODULE_ID, MODULE_ID] }],
    ['a module in capitals', { moduleIds: [MODULE_ID.toUpperCase()] }],
    ['a negative age', { maximumAgeSeconds: -1 }],
    ['an age beyond the life of a certificate', { maximumAgeSeconds: 10_801 }],
    ['a set without registers', { measurements: [{ name: 'x', pcrs: {} }] }],
    ['a set without a name', { measurements: [{ name: '', pcrs: IMAGE.pcrs }] }],
    ['a register that no image determines', { measurements: [{ name: 'x', pcrs: { 5: register(5) } }] }],
    ['a register of 32 bytes', { measurements: [{ name: 'x', pcrs: { 0: '00'.repeat(32) } }] }],
  ])('refuse %s', (_name, changes) => {
    expect(nitroPolicySchema.safeParse({ ...STRICT, ...changes }).success).toBe(false);
  });

  test.each(['24x', '32', '-1', '01'])('refuse TPM register %s', (index) => {
    const measurements = [{ name: 'x', pcrs: { [index]: register(1) } }];
    expect(nitroTpmPolicySchema.safeParse({ ...TPM, measurements }).success).toBe(false);
  });
});
