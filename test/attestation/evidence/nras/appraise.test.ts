import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { CHECKS, type Check } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { appraiseNrasAnswer, type NrasAppraisal } from '../../../../attestation/evidence/nras/answer.ts';
import { DEFAULT_NRAS_POLICY, type NrasPolicy } from '../../../../attestation/policy/nras.ts';
import {
  deviceClaims,
  errorClaims,
  issueAnswer,
  issueTokens,
  keySet,
  mintDevice,
  mintKey,
  NONCE,
  NOW,
  signToken,
  type AnswerChanges,
  type Json,
  type Version,
} from '../../../support/nrasService.ts';

const KEY = mintKey();
const JWKS = keySet(KEY.jwk);
const GPU = mintDevice('gpu', 1);
const SECOND = mintDevice('gpu', 2);
const SWITCH = mintDevice('switch', 3);
const SERIAL = '53'.repeat(19) + '01';

function judge(bytes: Uint8Array, changes: Partial<NrasAppraisal> = {}, policy: Partial<NrasPolicy> = {}) {
  return appraiseNrasAnswer(bytes, {
    nonce: NONCE,
    devices: [GPU],
    jwks: JWKS,
    now: NOW,
    crypto: nodeCrypto,
    ...changes,
    policy: { ...DEFAULT_NRAS_POLICY, ...policy },
  });
}

const judgeChanged = (changes: AnswerChanges, policy: Partial<NrasPolicy> = {}) =>
  judge(issueAnswer(KEY, [GPU], changes), {}, policy);

function failuresOf({ checks }: { readonly checks: readonly Check[] }): readonly string[] {
  return checks
    .filter(({ result }) => result === 'fail')
    .map(({ id, subject, code }) => `${subject}: ${id} ${code}`);
}

const VERSIONS: readonly Version[] = ['2.0', '3.0', '4.0'];

describe('an answer in which every device passed', () => {
  for (const [name, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    test.each(VERSIONS)(`of claims version %s is accepted as a warning with ${name}`, async (version) => {
      const devices = [GPU, SECOND, SWITCH];
      const verdict = await judge(issueAnswer(KEY, devices, { version }), { devices, crypto });
      expect(failuresOf(verdict)).toEqual([]);
      expect(verdict).toMatchObject({
        version: 'vouchsafe/nras-verdict/1',
        decision: 'accepted',
        tier: 'warning',
        issuer: 'https://nras.attestation.nvidia.com',
        judgedAt: '2026-11-21T12:00:00.000Z',
      });
    });
  }

  test('makes its checks in the order of the list, for the answer and for each device', async () => {
    const devices = [SWITCH, SECOND, GPU];
    const { checks } = await judge(issueAnswer(KEY, [GPU, SECOND, SWITCH]), { devices });
    expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
      'token.format answer pass',
      'token.signature answer pass',
      'token.time answer pass',
      'token.nonce answer pass',
      'token.submodules answer pass',
      'token.result answer pass',
      'token.result gpu 0 pass',
      'token.result gpu 1 pass',
      'token.result switch 0 pass',
      'token.devices devices pass',
      'token.devices gpu 0 pass',
      'token.devices gpu 1 pass',
      'token.devices switch 0 pass',
      'limits.relay devices skip',
    ]);
    const ids = checks.map(({ id }) => Object.keys(CHECKS).indexOf(id));
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
  });

  test('says whose word it is and what the trust in its keys rests on', async () => {
    const { basis } = await judge(issueAnswer(KEY, [GPU]));
    expect(basis).toContain("the word of NVIDIA's attestation service, not of the devices");
    expect(basis).toContain('rests on the TLS connection to the service');
    expect(basis).toContain('takes the place of no check of a device');
  });

  test('names the key set, the nonce and the end of what it accepts', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU]));
    expect(verdict.keySetDigest).toBe(toHex(nodeCrypto.hash('sha256', JWKS)));
    const reasons = verdict.checks.map(({ reason }) => reason).join('\n');
    expect(reasons).toContain(`made for nonce ${toHex(NONCE)}`);
    expect(reasons).toContain('in date until 2026-11-21T12:59:30.000Z');
  });

  test('is never affirming, and its verdict is no verdict on evidence', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU]), {}, { minimumDriver: '550', serials: [SERIAL] });
    expect(verdict.tier).toBe('warning');
    expect(verdict.checks.some(({ id }) => id.startsWith('device.') || id.startsWith('cpu.'))).toBe(false);
    expect(verdict).not.toHaveProperty('simulated');
  });

  test('shows claims that it does not know', async () => {
    const verdict = await judgeChanged({ device: { 'x-nvidia-gpu-new-thing': false } });
    expect(verdict.decision).toBe('accepted');
    expect(
      verdict.checks.find(({ id, subject }) => id === 'token.result' && subject === 'gpu 0')?.reason,
    ).toContain('decide nothing: "x-nvidia-gpu-new-thing"');
  });

  test('is not judged without a key set', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU]), { jwks: undefined });
    expect(verdict).toMatchObject({
      decision: 'not-judged',
      tier: 'none',
      issuer: undefined,
      keySetDigest: undefined,
    });
    expect(failuresOf(verdict)).toEqual(['answer: token.signature COLLATERAL_MISSING']);
    expect(verdict.checks.filter(({ code }) => code === 'NOT_REACHED').map(({ id }) => id)).toEqual([
      'token.time',
      'token.nonce',
      'token.submodules',
      'token.result',
      'token.devices',
    ]);
  });
});

describe('what the service says of all devices', () => {
  test('overall result false refuses, whatever the device token says', async () => {
    const verdict = await judgeChanged({ overall: { 'x-nvidia-overall-att-result': false } });
    expect(failuresOf(verdict)).toEqual(['answer: token.result TOKEN_RESULT_NEGATIVE']);
    expect(verdict).toMatchObject({ decision: 'refused', tier: 'contraindicated' });
  });

  test('an error token refuses with its code, though the overall result is true', async () => {
    const tokens = { 'GPU-0': signToken(KEY, errorClaims()) };
    const verdict = await judge(issueAnswer(KEY, [GPU], { tokens }));
    expect(failuresOf(verdict)).toEqual([
      'gpu 0: token.result TOKEN_RESULT_NEGATIVE',
      'gpu 0: token.devices TOKEN_RESULT_NEGATIVE',
    ]);
    expect(verdict.checks.find(({ result }) => result === 'fail')?.reason).toContain(
      'error 4010 "NONCE_NOT_MATCHING',
    );
  });

  test('an error beside good claims refuses', async () => {
    const verdict = await judgeChanged({ device: errorClaims(4013, 'EVIDENCE_SIGNATURE') });
    expect(failuresOf(verdict)[0]).toBe('gpu 0: token.result TOKEN_RESULT_NEGATIVE');
  });

  test('claims of a version that the policy does not name refuse', async () => {
    const verdict = await judgeChanged({ version: '2.0' }, { claimsVersions: ['3.0', '4.0'] });
    expect(failuresOf(verdict)).toEqual(['answer: token.result EVIDENCE_INCOMPLETE']);
  });
});

const RESULT = (code: string) => [`gpu 0: token.result ${code}`];
const CHAIN = 'x-nvidia-gpu-driver-rim-cert-chain';
const good = deviceClaims(GPU, '3.0')[CHAIN] as Json;

describe('what the service says of a device', () => {
  test.each<[string, Json, string]>([
    ['measurements that did not match', { measres: 'fail' }, 'MEASUREMENT_MISMATCH'],
    ['no measurement result', { measres: undefined }, 'MEASUREMENT_MISMATCH'],
    ['a result of version 1', { measres: 'comparison-successful' }, 'MEASUREMENT_MISMATCH'],
    [
      'success beside mismatched measurements',
      { 'x-nvidia-mismatch-measurement-records': [{ index: 9 }] },
      'MEASUREMENT_MISMATCH',
    ],
    [
      'success beside mismatched opaque data',
      { 'x-nvidia-mismatch-opaque-data-records': [{ id: 36 }] },
      'MEASUREMENT_MISMATCH',
    ],
    [
      'a report whose signature failed',
      { 'x-nvidia-gpu-attestation-report-signature-verified': false },
      'TOKEN_RESULT_NEGATIVE',
    ],
    ['a flag as text', { 'x-nvidia-gpu-arch-check': 'true' }, 'TOKEN_RESULT_NEGATIVE'],
    ['a flag of null', { 'x-nvidia-gpu-driver-rim-fetched': null }, 'TOKEN_RESULT_NEGATIVE'],
    [
      'a failed flag of another version',
      { 'x-nvidia-gpu-vbios-rim-cert-validated': false },
      'TOKEN_RESULT_NEGATIVE',
    ],
    ['a claim that is absent', { 'x-nvidia-gpu-vbios-index-no-conflict': undefined }, 'EVIDENCE_INCOMPLETE'],
    ['no word on a warning', { 'x-nvidia-attestation-warning': undefined }, 'EVIDENCE_INCOMPLETE'],
    ['a chain that is absent', { [CHAIN]: undefined }, 'EVIDENCE_INCOMPLETE'],
    ['a chain that is no object', { [CHAIN]: true }, 'TOKEN_RESULT_NEGATIVE'],
    [
      'an expired chain',
      { [CHAIN]: { ...good, 'x-nvidia-cert-status': 'expired' } },
      'TOKEN_RESULT_NEGATIVE',
    ],
    [
      'a revoked chain',
      { [CHAIN]: { ...good, 'x-nvidia-cert-ocsp-status': 'revoked' } },
      'TOKEN_RESULT_NEGATIVE',
    ],
    [
      'an unknown chain',
      { [CHAIN]: { ...good, 'x-nvidia-cert-ocsp-status': 'unknown' } },
      'TOKEN_RESULT_NEGATIVE',
    ],
    [
      'a chain on hold',
      { [CHAIN]: { ...good, 'x-nvidia-cert-revocation-reason': 'certificate_hold' } },
      'TOKEN_RESULT_NEGATIVE',
    ],
    [
      'an invalid OCSP response',
      { [CHAIN]: { ...good, 'x-nvidia-cert-ocsp-response-valid': false } },
      'TOKEN_RESULT_NEGATIVE',
    ],
    ['a chain that says nothing', { [CHAIN]: {} }, 'TOKEN_RESULT_NEGATIVE'],
  ])('%s refuses', async (_, device, code) => {
    expect(failuresOf(await judgeChanged({ device }))).toEqual(RESULT(code));
  });

  test('of version 4.0 needs no schema claim and no warning claim, as NVIDIA publishes it', async () => {
    const device = { 'x-nvidia-attestation-warning': undefined, 'x-nvidia-attester-claims': { x: 1 } };
    expect(failuresOf(await judgeChanged({ version: '4.0', device }))).toEqual([]);
    const failed = { 'x-nvidia-gpu-driver-rim-schema-validated': false };
    expect(failuresOf(await judgeChanged({ version: '4.0', device: failed }))).toEqual(
      RESULT('TOKEN_RESULT_NEGATIVE'),
    );
  });

  test.each<[Version, string]>([
    ['2.0', 'x-nvidia-gpu-attestation-report-cert-chain-validated'],
    ['2.0', 'x-nvidia-gpu-driver-rim-cert-validated'],
    ['3.0', 'x-nvidia-gpu-attestation-report-cert-chain-fwid-match'],
    ['3.0', 'x-nvidia-gpu-vbios-rim-version-match'],
    ['3.0', 'x-nvidia-gpu-driver-rim-schema-validated'],
    ['4.0', 'x-nvidia-gpu-vbios-rim-cert-chain'],
  ])('of version %s must hold %s', async (version, name) => {
    const verdict = await judgeChanged({ version, device: { [name]: undefined } });
    expect(failuresOf(verdict)).toEqual(RESULT('EVIDENCE_INCOMPLETE'));
    expect(verdict.checks.find(({ result }) => result === 'fail')?.reason).toContain(name);
  });

  test('a version is not met by the claims of another', async () => {
    const tokens = issueTokens(KEY, [GPU], '2.0');
    const verdict = await judge(issueAnswer(KEY, [GPU], { version: '3.0', tokens }));
    expect(failuresOf(verdict)).toEqual(RESULT('EVIDENCE_INCOMPLETE'));
  });

  test('a warning refuses, unless the policy accepts it: then it is skipped, not passed', async () => {
    const device = { 'x-nvidia-attestation-warning': 'driver is pre-release\u001b' };
    expect(failuresOf(await judgeChanged({ device }))).toEqual(RESULT('TOKEN_RESULT_NEGATIVE'));
    const accepted = await judgeChanged({ device }, { warnings: 'accepted' });
    expect(accepted.decision).toBe('accepted');
    const check = accepted.checks.find(({ id, subject }) => id === 'token.result' && subject === 'gpu 0');
    expect(check).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
    expect(check?.reason).toContain('the service warns: "driver is pre-release\\u001b"');
  });

  test('every reason is given, not the first alone', async () => {
    const device = {
      measres: 'fail',
      'x-nvidia-gpu-driver-rim-fetched': false,
      'x-nvidia-gpu-arch-check': undefined,
    };
    const verdict = await judgeChanged({ device });
    const reason = verdict.checks.find(({ result }) => result === 'fail')?.reason;
    expect(reason).toContain('measres is "fail"');
    expect(reason).toContain('x-nvidia-gpu-driver-rim-fetched is false');
    expect(reason).toContain('are absent: x-nvidia-gpu-arch-check');
  });
});

const DEVICE = (code: string) => [`gpu 0: token.devices ${code}`];

describe('the devices that were sent', () => {
  test.each<[string, Json, string]>([
    ['another device', { ueid: '478176379286082186618948445787393647364802107249' }, 'CHIP_ID_MISMATCH'],
    ['no device', { ueid: undefined }, 'EVIDENCE_INCOMPLETE'],
    ['another chip', { hwmodel: 'GB100 A01 GSP BROM' }, 'PRODUCT_MISMATCH'],
    ['no chip', { hwmodel: null }, 'EVIDENCE_INCOMPLETE'],
    ['another maker', { oemid: '1' }, 'PRODUCT_MISMATCH'],
    ['no maker', { oemid: null }, 'EVIDENCE_INCOMPLETE'],
    ['secure boot off', { secboot: false }, 'DEVICE_MODE_FORBIDDEN'],
    ['no word on secure boot', { secboot: null }, 'EVIDENCE_INCOMPLETE'],
    ['debugging', { dbgstat: 'enabled' }, 'DEBUG_ENABLED'],
    ['no word on debugging', { dbgstat: undefined }, 'EVIDENCE_INCOMPLETE'],
    ['no driver version', { 'x-nvidia-gpu-driver-version': null }, 'EVIDENCE_INCOMPLETE'],
    ['no VBIOS version', { 'x-nvidia-gpu-vbios-version': undefined }, 'EVIDENCE_INCOMPLETE'],
  ])('a token of %s refuses', async (_, device, code) => {
    expect(failuresOf(await judgeChanged({ device }))).toEqual(DEVICE(code));
  });

  test('the chip may be named by its word alone', async () => {
    for (const hwmodel of ['GH100', 'GH100 A01 GSP BROM']) {
      expect(failuresOf(await judgeChanged({ device: { hwmodel } }))).toEqual([]);
    }
    const answer = issueAnswer(KEY, [SWITCH], { device: { hwmodel: 'LS10' } });
    expect(failuresOf(await judge(answer, { devices: [SWITCH] }))).toEqual([]);
  });

  test.each<[string, Partial<NrasPolicy>, string]>([
    ['an older driver', { minimumDriver: '550.90.08' }, 'TCB_OUT_OF_DATE'],
    ['other firmware', { firmware: ['96.00.5E.00.02'] }, 'MEASUREMENT_MISMATCH'],
    ['another serial', { serials: ['53'.repeat(20)] }, 'DEVICE_NOT_ALLOWED'],
    ['another architecture', { architectures: ['blackwell'] }, 'DEVICE_NOT_ALLOWED'],
  ])('%s than the policy names refuses', async (_, policy, code) => {
    expect(failuresOf(await judgeChanged({}, policy))).toEqual(DEVICE(code));
  });

  test('what the policy names is accepted', async () => {
    const policy: Partial<NrasPolicy> = {
      minimumDriver: '550.90.7',
      firmware: ['96.00.9F.00.01'],
      serials: [SERIAL],
      architectures: ['hopper'],
    };
    expect(failuresOf(await judgeChanged({}, policy))).toEqual([]);
    const device = { 'x-nvidia-gpu-vbios-version': '96.00.9f.00.01' };
    expect(failuresOf(await judgeChanged({ device }, policy))).toEqual([]);
  });

  test('a driver version of another form is at least nothing', async () => {
    const device = { 'x-nvidia-gpu-driver-version': '999.0-beta' };
    expect(failuresOf(await judgeChanged({ device }, { minimumDriver: '1.0' }))).toEqual(
      DEVICE('TCB_OUT_OF_DATE'),
    );
  });

  test('a chip that is not known here is of no architecture', async () => {
    for (const model of ['GR100 A01 GSP BROM', 'constructor', '']) {
      const device = mintDevice('gpu', 1, model);
      const verdict = await judge(issueAnswer(KEY, [device]), { devices: [device] });
      expect(failuresOf(verdict)).toEqual(DEVICE('DEVICE_NOT_ALLOWED'));
    }
  });

  test('fewer tokens than devices refuse', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU]), { devices: [GPU, SECOND] });
    expect(failuresOf(verdict)).toEqual(['devices: token.devices DEVICE_COUNT_MISMATCH']);
  });

  test('more tokens than devices refuse', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU, SECOND]), { devices: [GPU] });
    expect(failuresOf(verdict)).toEqual([
      'devices: token.devices DEVICE_COUNT_MISMATCH',
      'gpu 1: token.devices CHIP_ID_MISMATCH',
    ]);
  });

  test('no devices sent refuse', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU]), { devices: [] });
    expect(failuresOf(verdict)[0]).toBe('devices: token.devices DEVICE_COUNT_MISMATCH');
  });

  test('a switch in the place of a GPU refuses', async () => {
    const verdict = await judge(issueAnswer(KEY, [SWITCH]), { devices: [GPU] });
    expect(failuresOf(verdict)).toEqual([
      'devices: token.devices DEVICE_COUNT_MISMATCH',
      'switch 0: token.devices CHIP_ID_MISMATCH',
    ]);
  });

  test('the claims of a switch under the label of a GPU refuse', async () => {
    const tokens = { 'GPU-0': signToken(KEY, deviceClaims(SWITCH, '3.0')) };
    const verdict = await judge(issueAnswer(KEY, [], { tokens }), { devices: [SWITCH] });
    expect(failuresOf(verdict)).toEqual([
      'gpu 0: token.result EVIDENCE_INCOMPLETE',
      'devices: token.devices DEVICE_COUNT_MISMATCH',
      'gpu 0: token.devices CHIP_ID_MISMATCH',
    ]);
  });

  test('one device that answers for two refuses', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU, GPU]), { devices: [GPU, SECOND] });
    expect(failuresOf(verdict)).toEqual(['devices: token.devices DEVICE_DUPLICATE']);
  });

  test('one device that was sent twice refuses', async () => {
    const verdict = await judge(issueAnswer(KEY, [GPU, GPU]), { devices: [GPU, GPU] });
    expect(failuresOf(verdict)).toEqual(['devices: token.devices DEVICE_DUPLICATE']);
  });

  test('other numbers than the policy demands refuse', async () => {
    const few = await judgeChanged({}, { gpus: { minimum: 8, maximum: 8 } });
    const many = await judgeChanged({}, { gpus: { minimum: 0, maximum: 0 } });
    const none = await judgeChanged({}, { switches: { minimum: 4, maximum: 4 } });
    for (const verdict of [few, many, none]) {
      expect(failuresOf(verdict)).toEqual(['devices: token.devices DEVICE_COUNT_MISMATCH']);
    }
  });

  test.each<[string, readonly Uint8Array[], string]>([
    ['without certificates', [], 'CERT_MISSING'],
    ['with a leaf alone', GPU.certificates.slice(0, 1), 'CERT_MISSING'],
    ['with too many', Array.from({ length: 11 }, () => GPU.certificates[0]!), 'CERT_CHAIN_INVALID'],
    ['with bytes that are none', [Uint8Array.of(1, 2, 3), Uint8Array.of(4)], 'MALFORMED'],
  ])('a chain %s refuses', async (_, certificates, code) => {
    const verdict = await judge(issueAnswer(KEY, [GPU]), { devices: [{ kind: 'gpu', certificates }] });
    expect(failuresOf(verdict)).toEqual([`devices: token.devices ${code}`]);
    expect(
      verdict.checks.find(({ subject, id }) => subject === 'gpu 0' && id === 'token.devices')?.code,
    ).toBe('NOT_REACHED');
  });
});
