import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { verifyAk, type VerifiedAk } from '../../../../attestation/evidence/tpm/ak.ts';
import { appraiseTpm, checkExtraData, hostTpmLimit } from '../../../../attestation/evidence/tpm/appraise.ts';
import { parseTpmtSignature } from '../../../../attestation/evidence/tpm/signature.ts';
import { verifyTpmQuote, type VerifiedTpmQuote } from '../../../../attestation/evidence/tpm/verify.ts';
import { tpmPolicySchema, type TpmPolicy } from '../../../../attestation/policy/tpm.ts';
import {
  encodeAttest,
  EXTRA_DATA,
  generateEc,
  GOOGLE_INSTANCE,
  googleInstance,
  LEAF,
  mintPcrs,
  mintTpmAuthority,
  NOW,
  pcrDigest,
  raw,
  signTpmt,
  spkiOf,
  usage,
  type Keys,
  type QuoteFields,
  type TpmAuthority,
} from '../../../support/tpmAuthority.ts';

const PCR4 = '05'.repeat(32);
const PCR7 = '08'.repeat(32);
let keys: Keys;
let authority: TpmAuthority;
let spki: Uint8Array;
let ak: VerifiedAk;
/** Accepts exactly the minted quote. */
let strict: TpmPolicy;

beforeAll(async () => {
  [keys, authority] = await Promise.all([generateEc(), mintTpmAuthority('gcp-vtpm')]);
  spki = await spkiOf(keys);
  ak = await akOf(googleInstance());
  strict = {
    attestationKeys: [toHex(nodeCrypto.hash('sha256', spki))],
    googleProjects: ['4711'],
    minimumFirmware: '2020031200120003',
    clock: 'safe',
    pcrs: {
      bank: 'sha256',
      values: { '4': [{ name: 'image 1', value: PCR4 }], '7': [{ name: 'keys 1', value: PCR7 }] },
    },
    revocation: 'when-present',
  };
});

/** The key under a certificate of a Google root, with or without an instance. */
async function akOf(instance: Uint8Array | undefined, subject: Keys = keys): Promise<VerifiedAk> {
  const extensions = [LEAF, usage('digitalSignature'), ...(instance ? [raw(GOOGLE_INSTANCE, instance)] : [])];
  const certificates = [await authority.issueLeaf(subject, { extensions }), authority.ca, authority.root];
  const claims = { certificates, vouched: undefined };
  return verifyAk(await spkiOf(subject), claims, ['gcp-vtpm'], {
    crypto: nodeCrypto,
    now: NOW,
    anchors: [authority.anchor],
    certificates: [],
    crls: [],
    revocation: 'when-present',
  });
}

async function quoteWith(fields: QuoteFields = {}, subject = 'cpu'): Promise<VerifiedTpmQuote> {
  const message = encodeAttest(fields);
  const signature = parseTpmtSignature(await signTpmt(message, keys, { scheme: 'ecdsa' }));
  return verifyTpmQuote({ message, signature, pcrs: [mintPcrs('sha256')] }, spki, {
    crypto: nodeCrypto,
    subject,
  });
}

/** `result code` of each check. */
async function outcome(policy: Partial<TpmPolicy> = {}, fields: QuoteFields = {}, key = ak) {
  const checks = appraiseTpm(await quoteWith(fields), key, { ...strict, ...policy });
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

describe('appraiseTpm', () => {
  test('passes what the policy names, in the order of the list of checks', async () => {
    const checks = appraiseTpm(await quoteWith({}, 'vtpm'), ak, strict);
    expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
      'cpu.guest-policy vtpm pass',
      'cpu.tcb vtpm pass',
      'cpu.identity vtpm pass',
      'cpu.measurement vtpm pass',
    ]);
    for (const part of [`PCR 4 of sha256 ${PCR4} is image 1`, `PCR 7 of sha256 ${PCR7} is keys 1`]) {
      expect(checks[3]?.reason).toContain(part);
    }
  });

  test('a clock that may have run back is refused, and never passes where it is accepted', async () => {
    expect((await outcome({}, { safe: 0 }))['cpu.guest-policy']).toBe('fail GUEST_POLICY_VIOLATED');
    expect((await outcome({ clock: 'any' }, { safe: 0 }))['cpu.guest-policy']).toBe('skip NOT_REQUIRED');
    expect((await outcome({ clock: 'any' }))['cpu.guest-policy']).toBe('pass OK');
  });

  test('the resets are shown', async () => {
    const [clock] = appraiseTpm(await quoteWith({ resetCount: 53, restartCount: 9 }), ak, strict);
    expect(clock?.reason).toContain('reset 53, restart 9');
  });

  test('firmware below the minimum is refused; no minimum proves nothing', async () => {
    expect((await outcome({}, { firmwareVersion: 0x2020031200120002n }))['cpu.tcb']).toBe(
      'fail TCB_OUT_OF_DATE',
    );
    expect((await outcome({}, { firmwareVersion: 0xffffffffffffffffn }))['cpu.tcb']).toBe('pass OK');
    expect((await outcome({ minimumFirmware: 'any' }))['cpu.tcb']).toBe('skip NOT_REQUIRED');
  });

  test('the key and the project must be listed, the host of production, the key that of the quote', async () => {
    const identity = async (policy: Partial<TpmPolicy>, key = ak) =>
      (await outcome(policy, {}, key))['cpu.identity'];
    const any = { attestationKeys: 'any', googleProjects: 'any' } as const;
    expect(await identity(any)).toBe('pass OK');
    expect(await identity({ attestationKeys: ['00'.repeat(32)] })).toBe('fail DEVICE_NOT_ALLOWED');
    expect(await identity({ googleProjects: ['471', '47110'] })).toBe('fail DEVICE_NOT_ALLOWED');
    const withoutInstance = await akOf(undefined);
    expect(await identity({}, withoutInstance)).toBe('fail DEVICE_NOT_ALLOWED');
    expect(await identity(any, withoutInstance)).toBe('pass OK');
    expect(await identity(any, await akOf(googleInstance(4711n, false)))).toBe('fail DEVICE_NOT_ALLOWED');
    expect(await identity(any, await akOf(undefined, await generateEc()))).toBe('fail UNTRUSTED_KEY');
  });
});

describe('PCR reference values', () => {
  const measured = async (pcrs: TpmPolicy['pcrs'], fields: QuoteFields = {}) =>
    appraiseTpm(await quoteWith(fields), ak, { ...strict, pcrs })[3];
  const sha256 = (values: Readonly<Record<string, { name: string; value: string }[]>>) =>
    ({ bank: 'sha256', values }) as const;
  const other = { name: 'image 2', value: '00'.repeat(32) };
  const near = { name: 'typo', value: `${PCR4.slice(0, -1)}0` };

  test('another value names both and the nearest', async () => {
    const check = await measured(sha256({ '4': [other, near] }));
    expect(check).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    for (const part of ['PCR 4', PCR4, near.name, near.value]) expect(check?.reason).toContain(part);
  });

  test('an empty list is not judged, and says what was seen', async () => {
    const check = await measured(sha256({ '4': [] }));
    expect(check).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(check?.reason).toContain(PCR4);
  });

  test('a register that the quote does not cover is absent', async () => {
    const selection = [{ hash: 'sha256', pcrs: [7] }] as const;
    const fields = { selection, pcrDigest: pcrDigest(selection, [mintPcrs('sha256')], 'sha256') };
    const check = await measured(sha256({ '4': [other], '7': [{ name: 'keys 1', value: PCR7 }] }), fields);
    expect(check).toMatchObject({ result: 'fail', code: 'EVIDENCE_INCOMPLETE' });
    const bank = await measured({ bank: 'sha384', values: { '4': [{ name: 'x', value: '00'.repeat(48) }] } });
    expect(bank).toMatchObject({ result: 'fail', code: 'EVIDENCE_INCOMPLETE' });
  });

  test('other software refuses even while a reference value is missing elsewhere', async () => {
    const check = await measured(sha256({ '0': [], '4': [other], '9': [other] }));
    expect(check).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    for (const part of ['PCR 4', 'PCR 9']) expect(check?.reason).toContain(part);
  });

  test('any value proves nothing', async () => {
    expect(await measured('any')).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });
});

describe('checkExtraData', () => {
  test('passes what the quote was made for, and fails with the code of its meaning', async () => {
    const quote = await quoteWith({}, 'vtpm');
    const nonce = { id: 'document.nonce', code: 'NONCE_MISMATCH' } as const;
    const binding = { id: 'cpu.binding', code: 'BINDING_MISMATCH' } as const;
    expect(checkExtraData(quote, EXTRA_DATA, nonce)).toMatchObject({ id: 'document.nonce', result: 'pass' });
    for (const expected of [new Uint8Array(32), EXTRA_DATA.subarray(1), new Uint8Array()]) {
      expect(checkExtraData(quote, expected, nonce)).toMatchObject({
        result: 'fail',
        code: 'NONCE_MISMATCH',
      });
      const check = checkExtraData(quote, expected, binding);
      expect(check).toMatchObject({ id: 'cpu.binding', subject: 'vtpm', code: 'BINDING_MISMATCH' });
      expect(check.reason).toContain(toHex(EXTRA_DATA));
    }
  });

  test('an empty extraData equals an empty expectation alone', async () => {
    const quote = await quoteWith({ extraData: new Uint8Array() });
    const nonce = { id: 'document.nonce', code: 'NONCE_MISMATCH' } as const;
    expect(checkExtraData(quote, new Uint8Array(), nonce).result).toBe('pass');
    expect(checkExtraData(quote, EXTRA_DATA, nonce).reason).toContain('is empty');
  });
});

test('what a TPM of the host cannot exclude is a skip, never a pass', () => {
  expect(hostTpmLimit()).toMatchObject({
    id: 'limits.host-tpm',
    subject: 'cpu',
    result: 'skip',
    code: 'NOT_EXCLUDED',
  });
});

describe('tpmPolicySchema', () => {
  const accepts = (value: unknown) => tpmPolicySchema.safeParse(value).success;

  test('takes the strict policy and one that names «any» everywhere', () => {
    expect(accepts(strict)).toBe(true);
    const any = {
      attestationKeys: 'any',
      googleProjects: 'any',
      minimumFirmware: 'any',
      clock: 'any',
      pcrs: 'any',
    };
    expect(accepts({ ...any, revocation: 'required' })).toBe(true);
  });

  test.each<[string, object]>([
    ['an unknown member', { more: 1 }],
    ['no PCR', { pcrs: { bank: 'sha256', values: {} } }],
    ['PCR 24', { pcrs: { bank: 'sha256', values: { '24': [] } } }],
    ['PCR 04', { pcrs: { bank: 'sha256', values: { '04': [] } } }],
    ['the SHA-1 bank', { pcrs: { bank: 'sha1', values: { '4': [] } } }],
    ['a value of another bank', { pcrs: { bank: 'sha384', values: { '4': [{ name: 'x', value: PCR4 }] } } }],
    ['an unnamed value', { pcrs: { bank: 'sha256', values: { '4': [{ value: PCR4 }] } } }],
    ['no key', { attestationKeys: [] }],
    ['one key twice', { attestationKeys: [PCR4, PCR4] }],
    ['a project with a leading zero', { googleProjects: ['04711'] }],
    ['firmware in another form', { minimumFirmware: '1.2' }],
    ['an unknown clock', { clock: 'unsafe' }],
    ['a member left out', { revocation: undefined }],
  ])('refuses %s', (_corruption, change) => {
    expect(accepts({ ...strict, ...change })).toBe(false);
  });
});
