import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fromHex, toBase64, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { DeviceEvidence } from '../../attestation/evidence/evidence.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { parseGpuCase } from '../../scripts/corpus/gpu/case.ts';
import { judgeGpuCase, type GpuJudgement } from '../../scripts/corpus/gpu/judge.ts';
import { createSimulatedGpu } from '../../enclave/collect/simulated/nvidia.ts';
import { DRIVER_RIM_ID, VBIOS_RIM_ID } from '../../enclave/collect/simulated/reference.ts';
import { createSimulatedRims } from '../../enclave/collect/simulated/rim.ts';
import { readAuthority } from '../../enclave/collect/simulated/certificate.ts';
import { SIMULATED_ROOTS } from '../../enclave/collect/simulated/roots.ts';
import * as nras from '../support/nrasService.ts';
import { mintDevice, mintMachine, NONCE } from '../support/nvidiaMachine.ts';
import { AUTHORITY, DAY, mintResponder, NOW, respond } from '../support/ocspAuthority.ts';
import { verifyOnce } from '../support/verifyOnce.ts';
import { runCorpus, runCorpusAlone } from './corpusProgram.ts';

// The runner over GPU cases of our own: right, wrong, not understood, hostile.

const CRYPTO = verifyOnce(nodeCrypto);
const AT = new Date(NOW).toISOString();
/** Of the day on which the responses about devices were made. */
const OCSP_DAY = NOW - 10 * DAY;

type Files = Readonly<Record<string, { readonly role: string; readonly bytes: Uint8Array }>>;
type Stated = Readonly<Record<string, unknown>>;

const anchors: Files = {
  'device-root.pem': {
    role: 'trust anchor to inject (device)',
    bytes: pem([readAuthority(SIMULATED_ROOTS.deviceRoot).certificate]),
  },
  'rim-root.pem': {
    role: 'trust anchor to inject (RIM)',
    bytes: pem([readAuthority(SIMULATED_ROOTS.rimRoot).certificate]),
  },
};

function without(files: Files, ...paths: readonly string[]): Files {
  return Object.fromEntries(Object.entries(files).filter(([path]) => !paths.includes(path)));
}

function pem(certificates: readonly Uint8Array[]): Uint8Array {
  const block = (der: Uint8Array) =>
    `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`;
  return utf8(certificates.map(block).join(''));
}

function hex(report: Uint8Array): Uint8Array {
  return utf8(`${toHex(report)}\n`);
}

function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

function array(devices: readonly DeviceEvidence[], extra: Stated = {}): Uint8Array {
  return json(devices.map((device) => ({ ...entryOf(device), ...extra })));
}

function entryOf({ report, certificates }: DeviceEvidence) {
  return { evidence: toBase64(report), certificate: toBase64(pem(certificates)) };
}

/** What `case.json` says. */
function stating(files: Files, changes: Stated = {}): Stated {
  return {
    id: 'minted',
    schema: 'gpu-evidence-case/1',
    evidenceFormat: 'spdm-1.1-transcript (hex) + PEM chain',
    files: Object.entries(files).map(([path, { role }]) => ({ path, role })),
    verifyAt: AT,
    expectedNonceHex: toHex(NONCE),
    expected: { verdict: 'pass' },
    ...changes,
  };
}

function judgeAll(files: Files, changes: Stated = {}): Promise<readonly GpuJudgement[]> {
  const read = (path: string) => files[path]!.bytes;
  return judgeGpuCase(parseGpuCase(stating(files, changes), read), CRYPTO);
}

async function judge(files: Files, changes: Stated = {}): Promise<GpuJudgement> {
  const [first] = await judgeAll(files, changes);
  return first!;
}

/** What comes of one change, expected to end so. */
async function vary(
  files: Files,
  change: Stated,
  expected: Stated,
  changes: Stated = {},
): Promise<GpuJudgement> {
  const variants = [{ id: 'changed', change, ...expected }];
  const [, variant] = await judgeAll(files, { ...changes, variants });
  return variant!;
}

const failing = (...names: readonly string[]) => ({ expected: 'fail', failing: names });
const AGREES = { agrees: true, disagreement: undefined };

/** A GPU with its manifests and the responses about both. */
let gpu: Files;
let other: Files;
let report: Uint8Array;
let machine: { readonly gpus: readonly DeviceEvidence[]; readonly switches: readonly DeviceEvidence[] };

beforeAll(async () => {
  gpu = await mintGpu();
  other = {
    'chain-of-another.pem': {
      role: 'gpu-certificate-chain (other device)',
      bytes: pem((await createSimulatedGpu('spt')).certificates),
    },
  };
  report = fromHex(new TextDecoder().decode(gpu['report.hex']!.bytes).trim());
  const { gpus, switches } = await mintMachine();
  const evidence = (devices: typeof gpus) => Promise.all(devices.map((device) => device.evidence()));
  machine = { gpus: await evidence(gpus), switches: await evidence(switches) };
}, 60_000);

async function mintGpu(): Promise<Files> {
  const device = await createSimulatedGpu('spt');
  const rims = await createSimulatedRims();
  return {
    ...anchors,
    'report.hex': { role: 'gpu-attestation-report', bytes: hex(await device.report(NONCE)) },
    'chain.pem': { role: 'gpu-certificate-chain', bytes: pem(device.certificates) },
    'driver.xml': { role: 'driver-rim (ours)', bytes: rims.get(DRIVER_RIM_ID)! },
    'vbios.xml': { role: 'vbios-rim', bytes: rims.get(VBIOS_RIM_ID)! },
    ...ocspFiles(device.certificates),
  };
}

function ocspFiles(chain: readonly Uint8Array[]): Files {
  const { deviceRoot, deviceIdentity, deviceProvisioner, rimRoot, rimCa, rimIssuer, rimSigner } = AUTHORITY;
  const about = (role: string, issuer: typeof rimCa, certificate: Uint8Array, time: number) => {
    const responder = mintResponder(issuer, { notBefore: time - DAY, notAfter: time + DAY });
    const statement = { thisUpdate: time - DAY / 2 };
    return { role, bytes: respond(issuer, parseCertificate(certificate), statement, responder) };
  };
  const ofDevice = (i: number, issuer: typeof rimCa) =>
    about(`ocsp-response for chain[${i}]`, issuer, chain[i]!, OCSP_DAY);
  const ofRim = (i: number, issuer: typeof rimCa, { certificate }: typeof rimCa) =>
    about(`ocsp-response for RIM chain[${i}] (both RIMs)`, issuer, certificate, NOW);
  return {
    'ocsp/d1.der': ofDevice(1, deviceProvisioner),
    'ocsp/d2.der': ofDevice(2, deviceIdentity),
    'ocsp/d3.der': ofDevice(3, deviceRoot),
    'ocsp/r0.der': ofRim(0, rimIssuer, rimSigner),
    'ocsp/r1.der': ofRim(1, rimCa, rimIssuer),
    'ocsp/r2.der': ofRim(2, rimRoot, rimCa),
  };
}

const DAYS = { deviceOcspVerifyAt: new Date(OCSP_DAY).toISOString() };

describe('one device', () => {
  test('a whole case passes', async () => {
    const judged = await judge(gpu, DAYS);
    expect(judged).toMatchObject({ ...AGREES, got: 'accept', failures: [], variant: undefined });
  });

  test('names of files say nothing', async () => {
    const renamed = Object.fromEntries(Object.entries(gpu).map(([, file], i) => [`f/${i}.bin`, file]));
    expect(await judge(renamed, DAYS)).toMatchObject({ ...AGREES, got: 'accept' });
  });

  test('without its anchors it is refused as forged: simulated keys are trusted nowhere else', async () => {
    const untrusted = without(gpu, 'device-root.pem');
    const expected = { verdict: 'fail', failing: ['device.rootPinned'] };
    expect(await judge(untrusted, { ...DAYS, expected })).toMatchObject({ ...AGREES, got: 'refuse' });
    expect((await judge(untrusted, DAYS)).agrees).toBe(false);
  });

  const length = () => report.length;
  const expired = '2200-01-01T00:00:00Z';
  const changes: readonly (readonly [name: string, change: () => Stated, expected: Stated])[] = [
    [
      'xor of a measurement',
      () => ({ file: 'report.hex', xor: { offset: 60, mask: 1 } }),
      failing('reportSignature'),
    ],
    [
      'xor of the last byte',
      () => ({ file: 'report.hex', xor: { offset: length() - 1, mask: 128 } }),
      failing('device.reportSignature'),
    ],
    ['truncate', () => ({ file: 'report.hex', truncate: 2 }), failing('parsed')],
    ['append', () => ({ file: 'report.hex', append: '00ff' }), failing('signatureBytes96')],
    ['keep without root', () => ({ file: 'chain.pem', keep: [0, 1, 2, 3] }), failing('rootPinned')],
    ['keep with a gap', () => ({ file: 'chain.pem', keep: [0, 1, 2, 4] }), failing('chainLength5')],
    ['keep in another order', () => ({ file: 'chain.pem', keep: [0, 2, 1, 3, 4] }), failing('chainLinks')],
    ['keep one twice', () => ({ file: 'chain.pem', keep: [0, 1, 2, 3, 4, 4] }), failing('chainLength5')],
    ['expectedNonceHex', () => ({ expectedNonceHex: '11'.repeat(32) }), failing('nonceMatch')],
    [
      'verifyAt after the signers',
      () => ({ verifyAt: expired }),
      failing('rim.driver.certsValidAtVerifyAt', 'rim.vbios.certsValidAtVerifyAt'),
    ],
    [
      'verifyAt after the responses',
      () => ({ verifyAt: new Date(NOW + 2 * DAY).toISOString() }),
      failing('ocsp.stale'),
    ],
    ['deviceOcspVerifyAt', () => ({ deviceOcspVerifyAt: AT }), failing('ocsp.stale')],
    [
      'deviceOcspVerifyAt before',
      () => ({ deviceOcspVerifyAt: '2020-01-01T00:00:00Z' }),
      failing('ocsp.stale'),
    ],
    [
      'rims swapped',
      () => ({ 'driver-rim': 'vbios.xml', 'vbios-rim': 'driver.xml' }),
      failing('rim.driver.versionMatch', 'rim.vbios.versionMatch'),
    ],
    [
      'another certificate-chain',
      () => ({ 'certificate-chain': 'chain-of-another.pem' }),
      failing('reportSignature'),
    ],
    [
      'a response of another certificate',
      () => ({ 'ocsp for chain[1]': 'ocsp/d2.der' }),
      failing('ocsp.certId'),
    ],
    [
      'a response of another signer',
      () => ({ 'ocsp for RIM chain[1]': 'ocsp/r0.der' }),
      failing('ocsp.certId'),
    ],
    ['drop of a response', () => ({ drop: ['ocsp/d3.der'] }), failing('ocsp.missing')],
    ['drop of the chain', () => ({ drop: ['chain.pem'] }), failing('chainLength5')],
    ['drop of the report', () => ({ drop: ['report.hex'] }), failing('parsed')],
    [
      'an edited manifest',
      () => ({ file: 'driver.xml', xor: { offset: 700, mask: 1 } }),
      failing('rim.driver.signature', 'rim.driver.layout'),
    ],
    [
      'two at once',
      () => ({
        file: 'report.hex',
        xor: { offset: 4, mask: 1 },
        expectedNonceHex: toHex(NONCE.with(0, NONCE[0]! ^ 1)),
        meaning: 'for people',
      }),
      failing('reportSignature'),
    ],
  ];

  test.each(changes)('%s', async (_name, change, expected) => {
    const files = 'certificate-chain' in change() ? { ...gpu, ...other } : gpu;
    const judged = await vary(files, change(), expected, DAYS);
    expect(judged).toMatchObject({ ...AGREES, got: expect.stringMatching(/^(?:refuse|not judged)$/) });
    expect((await vary(files, change(), { expected: 'pass' }, DAYS)).agrees).toBe(false);
    expect((await vary(files, change(), failing('ocsp.status'), DAYS)).agrees).toBe(false);
  });

  const IDS = { driverRimId: DRIVER_RIM_ID, vbiosRimId: VBIOS_RIM_ID };
  const missing = (...roles: readonly string[]) => ({ expected: 'indeterminate', missing: roles });

  test.each([
    [['driver.xml'], ['driver-rim'], IDS, undefined],
    [['driver.xml', 'vbios.xml'], ['driver-rim', 'vbios-rim'], IDS, undefined],
    [['driver.xml', 'vbios.xml'], [], IDS, undefined],
    [['driver.xml', 'vbios.xml'], ['driver-rim'], IDS, 'device.vbios-reference REFERENCE_VALUES_MISSING'],
    [['driver.xml'], ['driver-rim', 'vbios-rim'], IDS, `no failure names ${VBIOS_RIM_ID}`],
    [['driver.xml'], ['driver-rim'], { driverRimId: `${DRIVER_RIM_ID}9` }, 'no failure names'],
    [['driver.xml'], ['driver-rim'], {}, 'the facts of the case state no driverRimId'],
    [['driver.xml'], ['kernel-rim'], IDS, '«kernel-rim», is not known'],
    [['ocsp/d1.der'], ['driver-rim'], IDS, 'device.revocation COLLATERAL_MISSING'],
  ] as const)('without %j, «%j» missing of facts %j: %s', async (drop, roles, facts, reason) => {
    const judged = await vary(gpu, { drop }, missing(...roles), { ...DAYS, facts });
    if (reason === undefined) expect(judged).toMatchObject({ ...AGREES, got: 'not judged' });
    else expect(judged.disagreement).toContain(reason);
    expect(judged.agrees).toBe(reason === undefined);
  });

  test('of two files of one role the one that a variant brings in is not the own one', async () => {
    const stale = { ...gpu, 'stale.xml': { role: 'vbios-rim (stale)', bytes: gpu['driver.xml']!.bytes } };
    const change = { 'vbios-rim': 'stale.xml' };
    const variants = [{ id: 'stale', change, ...failing('rim.vbios.versionMatch') }];
    const [own, changed] = await judgeAll(stale, { ...DAYS, variants });
    expect(own).toMatchObject({ ...AGREES, got: 'accept' });
    expect(changed).toMatchObject({ ...AGREES, got: 'refuse' });
    const unclear = await judge(stale, DAYS);
    expect(unclear).toMatchObject({ agrees: false, got: 'error' });
    expect(unclear.disagreement).toBe('vbios.xml and stale.xml all have the role vbios-rim');
  });

  test('a part that passes is judged alone', async () => {
    const { 'vbios.xml': vbios, ...rest } = gpu;
    const files = { ...rest, 'vbios.xml': { ...vbios!, bytes: rest['driver.xml']!.bytes } };
    const change = { expectedNonceHex: toHex(NONCE) };
    const parts = ['device evidence passes', 'driver part passes', 'vbios part passes', 'pass'];
    const judged = await Promise.all(parts.map((expected) => vary(files, change, { expected }, DAYS)));
    expect(judged.map(({ agrees }) => agrees)).toEqual([true, true, false, false]);
  });
});

describe('what is not understood agrees with nothing', () => {
  const anything = { expected: 'fail', failing: ['device.parsed'] };

  test.each([
    [{ file: 'report.hex', reverse: true }, 'the change «reverse» is not understood'],
    [{ file: 'report.hex', xor: { offset: 1 } }, 'the change «xor.mask» is not understood'],
    [{ file: 'report.hex', xor: { offset: 1, mask: 0 } }, 'the change «xor.mask» is not understood'],
    [{ file: 'report.hex', xor: { offset: 99999, mask: 1 } }, 'there is no byte 99999'],
    [{ file: 'report.hex', truncate: 99999 }, 'there are no 99999 bytes'],
    [{ file: 'report.hex', append: 'zz' }, 'the change «append» is not understood'],
    [{ file: 'report.hex' }, 'the change of report.hex is not one operation'],
    [{ file: 'report.hex', truncate: 1, keep: [0] }, 'the change of report.hex is not one operation'],
    [{ file: 'absent.hex', truncate: 1 }, 'the case has no file absent.hex'],
    [{ file: '../report.hex', truncate: 1 }, 'the change «file» is not understood'],
    [{ truncate: 1 }, 'the change names no file'],
    [{ file: 'chain.pem', keep: [9] }, 'there is no certificate 9'],
    [{ drop: ['absent.der'] }, 'the case has no file absent.der'],
    [{ 'kernel-rim': 'vbios.xml' }, 'the change «kernel-rim» is not understood'],
    [{ 'gpu-attestation-report': 'report.hex' }, 'the change «gpu-attestation-report» is not understood'],
    [{ 'vbios-rim': 'absent.xml' }, 'the case has no file absent.xml'],
    [{ 'ocsp for chain[9]': 'vbios.xml' }, 'the change «ocsp for chain[9]» is not understood'],
    [{ 'absent.json': { drop: [0] } }, 'the change «absent.json» is not understood'],
    [{ 'chain.pem': { sort: [0] } }, 'the change «chain.pem» is not understood'],
    [{ constructor: 'vbios.xml' }, 'the change «constructor» is not understood'],
    [{ file: 'vbios.xml', jwt: 'overall' }, 'the change of vbios.xml is incomplete'],
    [{ file: 'vbios.xml', set: { iss: '' } }, 'the change of vbios.xml is not one operation'],
    [{ file: 'vbios.xml', jwt: 'GPU-0', set: {} }, 'the change «jwt» is not understood'],
    [{ verifyAt: 'soon' }, 'verifyAt soon is no instant'],
    [{ expectedNonceHex: 'xyz' }, 'expectedNonceHex is no hex'],
    [{ meaning: 'nothing' }, 'the change changes nothing'],
    [{}, 'the change changes nothing'],
  ])('change %j', async (change, reason) => {
    const judged = await vary(gpu, change, anything, DAYS);
    expect(judged).toMatchObject({ agrees: false, got: 'error' });
    expect(judged.disagreement).toContain(reason);
  });

  test('its neighbours are judged all the same', async () => {
    const variants = [
      { id: 'strange', change: { rotate: 3 }, ...anything },
      { id: 'cut', change: { file: 'report.hex', truncate: 1 }, ...anything },
    ];
    const judged = await judgeAll(gpu, { ...DAYS, variants });
    expect(judged.map(({ agrees }) => agrees)).toEqual([true, false, true]);
  });

  test.each<[Stated, string]>([
    [{ expected: { verdict: 'perhaps' } }, 'the verdict «perhaps» is not known'],
    [{ expected: { verdict: 'fail' } }, 'nothing fails'],
    [{ expected: { verdict: 'fail', failing: ['device.colour'] } }, 'nothing fails'],
    [{ expected: { verdict: 'pass', failing: ['device.parsed'] } }, 'has failing checks'],
    [{ expected: { verdict: 'pass', topology: 'perhaps' } }, 'the topology «perhaps» is not understood'],
    [{ expected: { verdict: 'pass', topology: 'pass' } }, 'devices.topology TOPOLOGY_MISMATCH'],
    [{ expected: { verdict: 'per file' } }, 'states no verdict of its files'],
    [{ expected: { verdict: 'per file', files: {} } }, 'no verdict by file'],
    [{ expected: { verdict: 'n/a' } }, 'said to be no evidence'],
    [{ evidenceFormat: 'spdm-1.2-transcript (hex) + PEM chain' }, '«spdm-1.2-transcript (hex)» is not known'],
    [{ evidenceFormat: 'spdm-1.1-transcript (base64) + PEM chain' }, 'is not known'],
    [{ verifyAt: null }, 'the case states no verifyAt'],
    [{ expectedNonceHex: undefined }, 'the case states no expectedNonceHex'],
  ])('a case with %j', async (changes, reason) => {
    const judged = await judge(gpu, { ...DAYS, ...changes });
    expect(judged.agrees).toBe(false);
    expect(judged.disagreement).toContain(reason);
  });

  test('a check name that is not known, of a refusal', async () => {
    const change = { file: 'report.hex', truncate: 1 };
    for (const name of ['colour', 'constructor', '__proto__', 'rim.kernel.signature']) {
      const { disagreement } = await vary(gpu, change, failing(name), DAYS);
      expect(disagreement).toBe(`the check name «${name}» is not known`);
    }
    expect((await vary(gpu, change, failing(), DAYS)).disagreement).toContain('names no failing check');
  });

  test.each([
    ['firmware-dump', 'has the unknown role «firmware-dump»'],
    ['gpu-attestation-reports', 'has the unknown role'],
    ['policy', 'has no part in such a case'],
    ['rim', 'has no part in such a case'],
    ['nras-jwks', 'has no part in such a case'],
    ['trust anchor that must not verify any of them', 'has no part in such a case'],
    ['ocsp-response for chain[7]', 'has the unknown role'],
  ])('a file of role «%s»', async (role, reason) => {
    const judged = await judge({ ...gpu, 'more.bin': { role, bytes: Uint8Array.of(0) } }, DAYS);
    expect(judged).toMatchObject({ agrees: false, got: 'error' });
    expect(judged.disagreement).toContain(`more.bin`);
    expect(judged.disagreement).toContain(reason);
  });

  test.each<[Stated, RegExp]>([
    [{ schema: 'gpu-evidence-case/2' }, /schema/],
    [{ files: [] }, /files/],
    [{ expected: { verdict: 'pass', unless: 'it rains' } }, /expected.*unless/],
    [{ variants: [{ id: 'a', change: {}, expected: 'pass', at: 'noon' }] }, /variants\.0.*at/],
    [{ files: [{ path: '/etc/hostname', role: 'policy' }] }, /files\.0\.path/],
  ])('a case.json with %j is refused', (changes, reason) => {
    const parsing = () => parseGpuCase(stating(gpu, changes), () => new Uint8Array());
    expect(parsing).toThrow(reason);
  });

  test('evidence that is none in its form is refused, never passed over', async () => {
    const report = { role: 'gpu-attestation-report', bytes: utf8('no hex') };
    const expected = { verdict: 'fail', failing: ['device.parsed'] };
    expect(await judge({ ...gpu, 'report.hex': report }, { ...DAYS, expected })).toMatchObject(AGREES);
    expect((await judge({ ...gpu, 'report.hex': report }, DAYS)).agrees).toBe(false);
  });
});

describe('devices of one machine', () => {
  const FORMAT = { evidenceFormat: 'serialized evidence JSON of the NVIDIA SDK (arch, nonce)' };
  const facts = {
    gpu: {
      driverRimId: 'NV_GPU_DRIVER_GH100_550.90.07',
      vbiosRimId: 'NV_GPU_VBIOS_1010_0200_882_96009F0004',
    },
    nvswitch: { biosRimId: 'NV_SWITCH_BIOS_5612_0002_890_9610550001' },
  };
  const missing = ['driver-rim', 'vbios-rim', 'switch-bios-rim'];
  const passing = { ...FORMAT, facts, expected: { verdict: 'indeterminate', missing, topology: 'pass' } };
  const arrays = (gpus = machine.gpus, switches = machine.switches): Files => ({
    'device-root.pem': anchors['device-root.pem']!,
    'gpus.json': { role: 'gpu-evidence-array', bytes: array(gpus, { arch: 'HOPPER' }) },
    'switches.json': { role: 'switch-evidence-array', bytes: array(switches) },
  });

  test('all twelve are one, their manifests are missing', async () => {
    const judged = await judge(arrays(), passing);
    expect(judged).toMatchObject({ ...AGREES, got: 'not judged' });
    expect(judged.notes).toEqual([
      `missing ${facts.gpu.driverRimId}, ${facts.gpu.vbiosRimId}, ${facts.nvswitch.biosRimId}`,
      'topology pass',
    ]);
  });

  test.each<[Stated, Stated]>([
    [{ 'switches.json': { drop: [0] } }, failing('topology.switchCount')],
    [{ 'gpus.json': { drop: [7, 6] } }, failing('topology.gpuCount')],
    [{ 'gpus.json': { replace: { '1': 0 } } }, failing('topology.duplicateDevice')],
    [{ 'switches.json': { replace: { '3': 2 } } }, failing('duplicateDevice')],
    [{ 'gpus.json': { swapCertificate: [0, 1] } }, failing('device.reportSignature')],
    [{ 'gpus.json': { swapCertificate: [0, 1], drop: [0, 1] } }, failing('topology.gpuCount')],
    [{ drop: ['switches.json'] }, failing('topology.switchSelfPdisEqualThatSet')],
    [{ expectedNonceHex: '00'.repeat(32) }, failing('device.nonceMatch')],
  ])('%j', async (change, expected) => {
    expect(await vary(arrays(), change, expected, passing)).toMatchObject({ ...AGREES, got: 'refuse' });
    const still = await vary(arrays(), change, { expected: 'indeterminate' }, passing);
    expect(still.agrees).toBe(false);
  });

  test.each<[Stated, string]>([
    [{ 'gpus.json': { drop: [8] } }, 'there is no entry 8'],
    [{ 'gpus.json': { replace: { '0': 8 } } }, 'there is no entry 8'],
    [{ 'gpus.json': { replace: { '9': 0 } } }, 'there is no entry 9'],
    [{ 'gpus.json': { swapCertificate: [0, 8] } }, 'there is no entry 8'],
    [{ 'gpus.json': {} }, 'is not understood'],
  ])('%j is not understood', async (change, reason) => {
    const judged = await vary(arrays(), change, failing('device.parsed'), passing);
    expect(judged.disagreement).toContain(reason);
  });

  test('some of them are judged one by one, and as a machine where one is demanded', async () => {
    const files = without(arrays(machine.gpus.slice(0, 4)), 'switches.json');
    const topology = 'fail when PPCIE topology is demanded (4 of 8)';
    const expected = { verdict: 'indeterminate', missing: ['driver-rim', 'vbios-rim'], topology };
    const judged = await judge(files, { ...passing, expected });
    expect(judged).toMatchObject({ ...AGREES, got: 'not judged' });
    expect(judged.notes.at(-1)).toBe('topology fail TOPOLOGY_MISMATCH when demanded');
    const wrong = await judge(arrays(), { ...passing, expected: { ...expected, missing } });
    expect(wrong.disagreement).toContain('topology pass');
    const claimed = { verdict: 'indeterminate', missing: expected.missing, topology: 'pass' };
    expect((await judge(files, { ...passing, expected: claimed })).agrees).toBe(false);
  });

  test('modes must not be mixed', async () => {
    const device = await (await mintDevice({ mode: 'spt' })).evidence();
    const files = without(arrays([machine.gpus[0]!, device]), 'switches.json');
    const expected = { verdict: 'fail', failing: ['mode.mixed'] };
    expect(await judge(files, { ...passing, expected })).toMatchObject(AGREES);
  });

  test('a list in the form that collectors print is read as well', async () => {
    const files = arrays();
    const gpus = {
      evidences: JSON.parse(new TextDecoder().decode(files['gpus.json']!.bytes)) as unknown,
      result_code: 0,
      result_message: 'Ok',
    };
    const printed = { ...files, 'gpus.json': { ...files['gpus.json']!, bytes: json(gpus) } };
    expect(await judge(printed, passing)).toMatchObject(AGREES);
    const dropped = await vary(
      printed,
      { 'gpus.json': { drop: [0] } },
      failing('topology.gpuCount'),
      passing,
    );
    expect(dropped).toMatchObject(AGREES);
  });

  const first = () => entryOf(machine.gpus[0]!);
  test.each<[string, () => unknown]>([
    ['another kind', () => [{ ...first(), arch: 'LS10' }]],
    ['an unknown architecture', () => [{ ...first(), arch: 'RUBIN' }]],
    ['an unknown member', () => [{ ...first(), simulated: true }]],
    ['no certificate', () => [{ evidence: first().evidence }]],
    ['no base64', () => [{ ...first(), evidence: '*' }]],
    ['no entries', () => []],
    ['no list', () => ({ evidence: first() })],
  ])('a list with %s is refused', async (_name, value) => {
    const files = { ...arrays(), 'gpus.json': { role: 'gpu-evidence-array', bytes: json(value()) } };
    const expected = { verdict: 'fail', failing: ['device.parsed'] };
    expect(await judge(files, { ...passing, expected })).toMatchObject({ ...AGREES, got: 'refuse' });
  });
});

describe('answers of the attestation service', () => {
  const AT_SERVICE = new Date(nras.NOW).toISOString();
  const key = nras.mintKey();
  let files: Files;

  beforeAll(async () => {
    const device = await createSimulatedGpu('spt');
    const sent = { kind: 'gpu', certificates: device.certificates } as const;
    const evidence = { ...sent, report: await device.report(nras.NONCE) };
    const request = { nonce: toHex(nras.NONCE), arch: 'HOPPER', evidence_list: [entryOf(evidence)] };
    files = {
      'device-root.pem': anchors['device-root.pem']!,
      'request.json': { role: 'nras-request-body', bytes: json(request) },
      'answer.json': { role: 'nras-detached-eat', bytes: nras.issueAnswer(key, [sent]) },
      'jwks.json': { role: 'nras-jwks', bytes: nras.keySet(key.jwk) },
    };
  });

  const CASE = {
    evidenceFormat: 'NRAS request JSON + detached EAT JSON + JWKS',
    verifyAt: AT_SERVICE,
    expectedNonceHex: toHex(nras.NONCE),
  };
  const after = (seconds: number) => new Date(nras.NOW + 1000 * seconds).toISOString();

  test('the service vouches for what no manifest is there for', async () => {
    expect(await judge(files, CASE)).toMatchObject({ ...AGREES, got: 'accept', notes: [] });
  });

  test.each<[Stated, Stated]>([
    [{ verifyAt: after(3600) }, failing('eat.exp')],
    [{ verifyAt: after(-3600) }, failing('eat.nbf')],
    [{ expectedNonceHex: '11'.repeat(32) }, failing('eat.nonce')],
    [{ file: 'answer.json', jwt: 'overall', set: { iss: 'https://example' } }, failing('eat.signature')],
    [{ file: 'answer.json', jwt: 'overall', header: { alg: 'none' }, signature: '' }, failing('eat.alg')],
    [{ file: 'answer.json', jwt: 'overall', header: { kid: 'another' } }, failing('eat.kid')],
    [{ file: 'answer.json', removeDevice: 'GPU-0' }, failing('eat.submodCount', 'eat.submodMissing')],
    [{ drop: ['jwks.json'] }, failing('eat.kid')],
    [
      { 'request.json': { replace: { '0': 0 } }, expectedNonceHex: '22'.repeat(32) },
      failing('device.nonceMatch', 'eat.nonce'),
    ],
  ])('%j', async (change, expected) => {
    expect(await vary(files, change, expected, CASE)).toMatchObject(AGREES);
    expect((await vary(files, change, { expected: 'pass' }, CASE)).agrees).toBe(false);
  });

  test('a token that is not there cannot be removed', async () => {
    const judged = await vary(
      files,
      { file: 'answer.json', removeDevice: 'GPU-1' },
      failing('eat.submodCount'),
      CASE,
    );
    expect(judged.disagreement).toBe('there is no token GPU-1');
  });

  test('an overall token alone proves nothing', async () => {
    const rest = without(files, 'request.json', 'answer.json', 'device-root.pem');
    const { 'answer.json': answer } = files;
    const [[, overall]] = JSON.parse(new TextDecoder().decode(answer!.bytes)) as [[string, string]];
    const alone = { ...rest, 'overall.jwt': { role: 'nras-overall-token', bytes: utf8(`${overall}\n`) } };
    const expected = { verdict: 'fail', failing: ['eat.submodMissing'] };
    const stated = { ...CASE, evidenceFormat: 'JWT + JWKS (kty, crv)', expected };
    expect(await judge(alone, stated)).toMatchObject(AGREES);
    const change = { file: 'overall.jwt', jwt: 'overall', set: { submods: {} } };
    expect(await vary(alone, change, failing('eat.signature'), stated)).toMatchObject(AGREES);
  });

  test('without a key set the token is parsed and no more', async () => {
    const eat = { 'eat.json': { role: 'nras-detached-eat', bytes: files['answer.json']!.bytes } };
    const judged = await judge({ ...gpu, ...eat }, DAYS);
    expect(judged).toMatchObject({ ...AGREES, got: 'accept' });
    expect(judged.notes).toEqual(['the token is parsed only: the case has no key set']);
    const broken = { 'eat.json': { role: 'nras-detached-eat', bytes: utf8('[["JWT", "a.b.c"], {}]') } };
    expect((await judge({ ...gpu, ...broken }, DAYS)).agrees).toBe(false);
  });
});

describe('manifests alone', () => {
  const EMPTY = '<SoftwareIdentity></SoftwareIdentity>';
  const FORMAT = { evidenceFormat: 'SWID tag XML with enveloped XML-DSig', expectedNonceHex: undefined };
  const alone = (more: Files = {}): Files => ({
    'rim-root.pem': anchors['rim-root.pem']!,
    'good.xml': { role: 'rim', bytes: gpu['driver.xml']!.bytes },
    'bad.xml': { role: 'rim', bytes: gpu['vbios.xml']!.bytes.with(700, 0x41) },
    'doctype.xml': { role: 'rim', bytes: utf8(`<!DOCTYPE a>${EMPTY}`) },
    ...more,
  });
  const verdicts = {
    'good.xml': { verdict: 'pass', failing: [] },
    'bad.xml': { verdict: 'fail', failing: ['signature', 'layout'] },
    'doctype.xml': { verdict: 'fail', failing: ['rim.doctype'] },
  };
  const byFile = (files: Stated) => ({ ...FORMAT, expected: { verdict: 'per file', files } });

  test('are judged each for itself', async () => {
    const judged = await judge(alone(), byFile(verdicts));
    expect(judged).toMatchObject({ ...AGREES, got: 'by file' });
    expect(judged.failures.map(({ subject }) => subject)).toEqual(['bad.xml', 'doctype.xml']);
  });

  test.each<[Stated, string]>([
    [{ ...verdicts, 'good.xml': { verdict: 'fail', failing: ['rim.signature'] } }, 'good.xml: nothing fails'],
    [{ ...verdicts, 'doctype.xml': { verdict: 'pass' } }, 'doctype.xml: MALFORMED'],
    [
      { ...verdicts, 'doctype.xml': { verdict: 'fail', failing: ['rim.rootPinned'] } },
      'is no rim.rootPinned',
    ],
    [{ 'good.xml': verdicts['good.xml'] }, 'bad.xml: no verdict is stated'],
    [{ ...verdicts, 'more.xml': { verdict: 'pass' } }, 'more.xml is not judged'],
    [{ ...verdicts, 'good.xml': { parse: 'ok' } }, 'good.xml: a fragment is accepted as a manifest'],
  ])('%j does not agree', async (files, reason) => {
    const judged = await judge(alone(), byFile(files));
    expect(judged.agrees).toBe(false);
    expect(judged.disagreement).toContain(reason);
  });

  test('failing checks by file', async () => {
    const bad = without(alone(), 'good.xml');
    const failing = { 'bad.xml': ['rim.signature', 'rim.layout'], 'doctype.xml': ['rim.doctype'] };
    const stated = { ...FORMAT, expected: { verdict: 'fail', failing } };
    expect(await judge(bad, stated)).toMatchObject({ ...AGREES, got: 'by file' });
  });

  test('one verdict is that of every file', async () => {
    const good = { 'rim-root.pem': anchors['rim-root.pem']!, 'good.xml': alone()['good.xml']! };
    expect(await judge(good, FORMAT)).toMatchObject({ ...AGREES, got: 'accept' });
    expect((await judge(alone(), FORMAT)).agrees).toBe(false);
  });

  test('a wrong anchor must verify none of them', async () => {
    const role = 'trust anchor that must not verify any of them';
    const wrong = (bytes: Uint8Array) => alone({ 'wrong.pem': { role, bytes } });
    const device = wrong(anchors['device-root.pem']!.bytes);
    expect(await judge(device, byFile(verdicts))).toMatchObject(AGREES);
    const right = await judge(wrong(anchors['rim-root.pem']!.bytes), byFile(verdicts));
    expect(right.disagreement).toBe('good.xml verifies under the wrong trust anchor of the case');
  });

  test('fragments are parsed, and are no manifests', async () => {
    const swid = 'http://standards.iso.org/iso/19770/-2/2015/schema.xsd';
    const fragment = (body: string) => ({
      role: 'rim-fragment',
      bytes: utf8(`<SoftwareIdentity xmlns="${swid}">${body}</SoftwareIdentity>`),
    });
    const files = {
      'payload.xml': fragment('<Payload></Payload>'),
      'nothing.xml': fragment(''),
      'meta.xml': fragment('<Meta></Meta>'),
    };
    const expected = {
      'payload.xml': { parse: 'ok' },
      'nothing.xml': { parse: 'refuse' },
      'meta.xml': { parse: 'refuse' },
    };
    const stated = { ...byFile(expected), evidenceFormat: 'SWID tag XML, unsigned', verifyAt: null };
    expect(await judge(files, stated)).toMatchObject({ ...AGREES, got: 'by file' });
    const otherwise = byFile({ ...expected, 'meta.xml': { parse: 'ok' } });
    expect(
      (await judge(files, { ...stated, ...otherwise, evidenceFormat: stated.evidenceFormat })).agrees,
    ).toBe(false);
  });
});

describe('the runner as it is called', () => {
  let scratch: string;

  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'gpu-corpus-'));
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  function writeCase(corpus: string, id: string, files: Files, changes: Stated = {}): void {
    const folder = join(scratch, corpus, id);
    const stated = { ...stating(files, changes), id };
    const contents = { ...files, 'case.json': { bytes: json(stated) } };
    for (const [path, { bytes }] of Object.entries(contents)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
  }

  const run = (corpus: string, ...options: readonly string[]) => runCorpus(join(scratch, corpus), ...options);

  test('one line for each case and variant, and the count of both', async () => {
    const change = { expectedNonceHex: '11'.repeat(32) };
    const variants = [
      { id: 'wrong-nonce', change, ...failing('nonceMatch') },
      { id: 'device', change: { drop: ['vbios.xml'] }, expected: 'device evidence passes' },
    ];
    writeCase('right', 'a-gpu', gpu, { ...DAYS, variants });
    const policy = { 'p.json': { role: 'policy', bytes: utf8('{}') } };
    writeCase('right', 'papers', policy, { evidenceFormat: 'JSON', expected: { verdict: 'n/a' } });
    const { status, lines } = await runCorpusAlone(join(scratch, 'right'));
    expect(lines).toEqual([
      'agree     a-gpu: expected pass; got accept',
      'agree     a-gpu wrong-nonce: expected fail nonceMatch; got refuse device.nonce NONCE_MISMATCH',
      'agree     a-gpu device: expected device evidence passes; got accept (judged: device evidence)',
      '–         papers: not evidence',
      'agree 3 of 3',
    ]);
    expect(status).toBe(0);
    expect(await run('right', '--portable')).toMatchObject({ status, lines });
    const rows = JSON.parse((await run('right', '--json')).lines.join('\n')) as unknown;
    expect(rows).toMatchObject([
      { id: 'a-gpu', variant: null, got: 'accept', checks: [], reason: null, agrees: true },
      {
        variant: 'wrong-nonce',
        expected: { verdict: 'fail', failing: ['nonceMatch'] },
        checks: ['device.nonce NONCE_MISMATCH'],
      },
      { variant: 'device' },
      { id: 'papers', got: 'not evidence' },
    ]);
  }, 60_000);

  test('every disagreement is named with its reason, and exits 1', async () => {
    const variants = [{ id: 'strange', change: { rotate: 3 }, expected: 'pass' }];
    writeCase('wrong', 'forged', gpu, {
      ...DAYS,
      expected: { verdict: 'fail', failing: ['device.rootPinned'] },
    });
    writeCase('wrong', 'newer', gpu, { schema: 'gpu-evidence-case/2' });
    writeCase('wrong', 'partly', gpu, { ...DAYS, variants });
    const link = { 'report.hex': { role: 'gpu-attestation-report', bytes: new Uint8Array() } };
    writeCase('wrong', 'link-out', {}, { files: stating(link)['files'] });
    writeFileSync(join(scratch, 'secret'), 'of this machine');
    symlinkSync(join(scratch, 'secret'), join(scratch, 'wrong', 'link-out', 'report.hex'));
    writeCase('wrong', 'path-up', {}, { files: [{ path: '../secret', role: 'policy' }] });
    const { status, lines } = await run('wrong');
    expect(lines).toEqual([
      'DISAGREE  forged: expected fail device.rootPinned; got accept',
      '          nothing fails',
      'DISAGREE  link-out: expected –; got error',
      '          report.hex leads out of the corpus',
      'DISAGREE  newer: expected –; got error',
      '          schema: Invalid input: expected "gpu-evidence-case/1"',
      'agree     partly: expected pass; got accept',
      'DISAGREE  partly strange: expected pass; got error',
      '          the change «rotate» is not understood: Invalid input',
      'DISAGREE  path-up: expected –; got error',
      '          files.0.path: expected a path below the folder of the case',
      'agree 1 of 6',
    ]);
    expect(status).toBe(1);
  }, 60_000);

  test('a folder of papers alone agrees with nothing', async () => {
    const policy = { 'p.json': { role: 'policy', bytes: utf8('{}') } };
    writeCase('papers', 'papers', policy, { evidenceFormat: 'JSON', expected: { verdict: 'n/a' } });
    const { status, lines } = await run('papers');
    expect({ status, last: lines.at(-1) }).toEqual({ status: 1, last: 'agree 0 of 0' });
  }, 60_000);
});
