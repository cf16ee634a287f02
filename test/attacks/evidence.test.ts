import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseEvidence } from '../../attestation/appraise.ts';
import {
  gpuNonce,
  reportData,
  statementDigest,
  devicesDigest,
  encodeDevices,
  encodeStatement,
} from '../../attestation/binding.ts';
import { encodeDc, decodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { encodeCpu } from '../../attestation/evidence/cpuEncoding.ts';
import { encodeDocument, parseDocument, type DocumentParts } from '../../attestation/evidence/document.ts';
import type { NonceProof } from '../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { NvidiaPolicy, Policy } from '../../attestation/policy/policy.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { redocument } from '../support/forgery.ts';
import { contextOf, failures, makeWorld, NOW, policyOf, type World } from '../support/world.ts';

// Rows of the attack table that a verifier of live evidence must catch or must say.

const NONCE = new Uint8Array(32).fill(0x5a);
let world: World;
let document: Uint8Array;
let proof: NonceProof;

beforeAll(async () => {
  world = await makeWorld({ hardware: { gpus: 2 } });
  const askers = [new Uint8Array(32).fill(1), NONCE, new Uint8Array(32).fill(2)];
  const [, answer] = await Promise.all(askers.map((nonce) => world.vouching.attest(nonce)));
  if (!answer) throw new Error('no answer');
  document = answer.head.encoded;
  proof = { nonce: NONCE, index: answer.index, path: answer.path };
});

async function judge(
  bytes: Uint8Array = document,
  changes: Partial<AppraisalContext> = {},
  nonce: NonceProof | undefined = proof,
): Promise<Verdict> {
  const context = contextOf({ collateral: world.collateral, ...changes });
  return (await appraiseEvidence(bytes, nonce, context)).verdict;
}

/** A dishonest guest with genuine hardware: makes new reports over a statement and devices of its choice. */
async function recollect(change: (parts: DocumentParts) => Partial<DocumentParts>): Promise<Uint8Array> {
  const parts = { ...parseDocument(document), ...change(parseDocument(document)) };
  const b = statementDigest(encodeStatement(parts.statement), nodeCrypto);
  const g = devicesDigest(encodeDevices(parts.devices), nodeCrypto);
  return encodeDocument({ ...parts, cpu: await world.collector.collectCpu(reportData(b, g, nodeCrypto)) });
}

function devicePolicy(
  gpus: { minimum: number; maximum: number },
  nvidia: Partial<NvidiaPolicy> = {},
): Policy {
  if (SIMULATED_POLICY.devices === 'none') throw new Error('the simulated policy has devices');
  const { devices } = SIMULATED_POLICY;
  return policyOf({ devices: { ...devices, gpus, nvidia: { ...devices.nvidia, ...nvidia } } });
}

test('genuine evidence is accepted, as a warning because it is simulated', async () => {
  const verdict = await judge();
  expect(failures(verdict)).toEqual([]);
  expect(verdict).toMatchObject({ decision: 'accepted', tier: 'warning', simulated: ['cpu', 'gpu'] });
});

test('foreign-gpu-splice', async () => {
  const other = await makeWorld({ hardware: { gpus: 2 } });
  const spliced = redocument(document, () => ({
    devices: parseDocument(other.vouching.head.encoded).devices,
  }));
  expect(failures(await judge(spliced))).toContain('gpu 0: device.nonce NONCE_MISMATCH');
});

test('gpu-swap', async () => {
  const other = await makeWorld({ hardware: { gpus: 2 } });
  const nonce = gpuNonce(statementDigest(parseDocument(document).encodedStatement, nodeCrypto), nodeCrypto);
  const devices = await other.collector.collectDevices(nonce);
  expect(failures(await judge(redocument(document, () => ({ devices }))))).toEqual([
    'cpu: cpu.binding BINDING_MISMATCH',
    'devices: devices.binding BINDING_MISMATCH',
  ]);
});

test('a CPU report of another boot', async () => {
  const other = await makeWorld({ hardware: { gpus: 2 } });
  const { cpu } = parseDocument(other.vouching.head.encoded);
  expect(failures(await judge(redocument(document, () => ({ cpu }))))).toEqual([
    'cpu: cpu.binding BINDING_MISMATCH',
    'devices: devices.binding BINDING_MISMATCH',
  ]);
});

test('gpu-relay: said as not excluded, and narrowed by a list of devices', async () => {
  const limit = (await judge()).checks.find(({ id }) => id === 'limits.relay');
  expect(limit).toMatchObject({ result: 'skip', code: 'NOT_EXCLUDED' });
  const policy = devicePolicy({ minimum: 2, maximum: 2 }, { serials: ['aa'] });
  expect(failures(await judge(document, { policy }))).toEqual([
    'gpu 0: device.identity DEVICE_NOT_ALLOWED',
    'gpu 1: device.identity DEVICE_NOT_ALLOWED',
  ]);
});

test('gpu-twice', async () => {
  const twice = await recollect(({ devices }) => ({ devices: [devices[0]!, devices[0]!] }));
  expect(failures(await judge(twice))).toEqual(['devices: devices.distinct DEVICE_DUPLICATE']);
});

test('gpu-hidden: one of two, and all of them', async () => {
  const policy = devicePolicy({ minimum: 2, maximum: 2 });
  const one = await recollect(({ devices }) => ({ devices: devices.slice(0, 1) }));
  expect(failures(await judge(one, { policy }))).toEqual(['devices: devices.count DEVICE_COUNT_MISMATCH']);
  const none = await recollect(() => ({ devices: [] }));
  expect(failures(await judge(none, { policy }))).toEqual([
    'document: document.simulated SIMULATED_HARDWARE',
    'devices: devices.count DEVICE_COUNT_MISMATCH',
  ]);
});

test('more devices than the policy takes, or any where it wants none', async () => {
  const one = devicePolicy({ minimum: 1, maximum: 1 });
  expect(failures(await judge(document, { policy: one }))).toContain(
    'devices: devices.count DEVICE_COUNT_MISMATCH',
  );
  const none = policyOf({ devices: 'none' });
  expect(failures(await judge(document, { policy: none }))).toContain(
    'devices: devices.count DEVICE_COUNT_MISMATCH',
  );
});

describe('sim-mix', () => {
  // The minted CPU root, trusted here as if it were a vendor's.
  const anchors = DEFAULT_ANCHORS.map((anchor) =>
    anchor.role === 'amd-ark' ? { ...anchor, simulated: false } : anchor,
  );

  test.each([
    ['only the CPU', ['cpu'] as const, false],
    ['both', ['cpu', 'gpu'] as const, false],
    ['nothing', [] as const, false],
    ['only the GPU', ['gpu'] as const, true],
  ])('a simulated GPU beside a trusted CPU, policy allows %s', async (_name, simulated, accepted) => {
    const verdict = await judge(document, { anchors, policy: policyOf({ simulated: [...simulated] }) });
    expect(verdict.simulated).toEqual(['gpu']);
    expect(failures(verdict)).toEqual(accepted ? [] : ['document: document.simulated SIMULATED_HARDWARE']);
    expect(verdict.tier).toBe(accepted ? 'warning' : 'contraindicated');
  });
});

test('sim-relabel: no field of the document changes what the anchor says', async () => {
  const relabelled = await recollect(({ keyset }) => ({
    keyset: { ...keyset, software: { name: 'not simulated: genuine hardware', version: '1' } },
  }));
  const verdict = await judge(relabelled, { policy: policyOf({ simulated: [] }) });
  expect(verdict.decision).toBe('refused');
  // Another keyset is refused too; what matters here is that nothing passes as genuine.
  expect(failures(verdict)).toContain('document: document.keyset KEYSET_MISMATCH');
});

test('the default policy refuses simulated hardware and judges no unknown measurement', async () => {
  const { DEFAULT_POLICY } = await import('../../attestation/policy/defaults.ts');
  const verdict = await judge(document, { policy: DEFAULT_POLICY });
  expect(failures(verdict)).toEqual([
    'document: document.simulated SIMULATED_HARDWARE',
    'cpu: cpu.measurement REFERENCE_VALUES_MISSING',
  ]);
  expect(verdict).toMatchObject({ decision: 'refused', tier: 'contraindicated' });
});

test('tpm-only', async () => {
  const map = new Map(decodeDc(document) as ReadonlyMap<string, Dc>);
  const [type, , indicator] = map.get('cpu') as readonly Dc[];
  const pcrs = { hash: 'sha256', values: new Map([[0, new Uint8Array(32)]]) } as const;
  const quote = { message: new Uint8Array(145), signature: new Uint8Array(70), pcrs, certificates: [] };
  map.set('cpu', [type!, encodeCpu({ platform: 'gcp-vtpm', tpm: quote }), indicator!]);
  const verdict = await judge(encodeDc(map));
  expect(verdict.decision).toBe('refused');
  expect(failures(verdict)).toContain('cpu: cpu.platform PLATFORM_NOT_ALLOWED');
});

test('low-vmpl', async () => {
  const low = await makeWorld({ hardware: { vmpl: 3 } });
  const verdict = await judge(low.vouching.head.encoded, { policy: policyOf({ nonce: 'optional' }) });
  expect(failures(verdict)).toContain('cpu: cpu.privilege PRIVILEGE_LEVEL_MISMATCH');
});

test('debug-snp', async () => {
  const debug = await makeWorld({ hardware: { debug: true } });
  const verdict = await judge(debug.vouching.head.encoded, { policy: policyOf({ nonce: 'optional' }) });
  expect(failures(verdict)).toContain('cpu: cpu.debug DEBUG_ENABLED');
});

describe('nonce-tree', () => {
  test.each([
    ['wrong index', () => ({ ...proof, index: 0 }), 'NONCE_MISMATCH'],
    ['index at the count', () => ({ ...proof, index: 3 }), 'NONCE_MISMATCH'],
    ['negative index', () => ({ ...proof, index: -1 }), 'NONCE_MISMATCH'],
    ['short hash', () => ({ ...proof, path: [proof.path[0]!.subarray(1)] }), 'NONCE_MISMATCH'],
    ['missing hash', () => ({ ...proof, path: [] }), 'NONCE_MISMATCH'],
    ['surplus hash', () => ({ ...proof, path: [...proof.path, NONCE] }), 'NONCE_MISMATCH'],
    ['zero nonce', () => ({ ...proof, nonce: new Uint8Array(32) }), 'NONCE_INVALID'],
    ['short nonce', () => ({ ...proof, nonce: NONCE.subarray(1) }), 'NONCE_INVALID'],
  ])('%s', async (_name, changed, code) => {
    expect(failures(await judge(document, {}, changed()))).toEqual([`document: document.nonce ${code}`]);
  });

  test('nobody can ask with a zero nonce', () => {
    expect(() => world.vouching.attest(new Uint8Array(32))).toThrow(
      expect.objectContaining({ code: 'NONCE_INVALID' }),
    );
  });
});

test('old-document: refused for a fresh nonce; without one it is said that it may be old', async () => {
  const fresh = { ...proof, nonce: new Uint8Array(32).fill(0x77) };
  expect(failures(await judge(document, {}, fresh))).toEqual(['document: document.nonce NONCE_MISMATCH']);
  const context = contextOf({ collateral: world.collateral, policy: policyOf({ nonce: 'optional' }) });
  const { verdict } = await appraiseEvidence(document, undefined, context);
  expect(verdict.checks.find(({ id }) => id === 'document.nonce')).toMatchObject({
    result: 'skip',
    code: 'NOT_REQUESTED',
  });
  const strict = await appraiseEvidence(document, undefined, contextOf({ collateral: world.collateral }));
  expect(failures(strict.verdict)).toEqual(['document: document.nonce NONCE_MISMATCH']);
});

test('a keyset past its end', async () => {
  const later = NOW + 31 * 86_400_000;
  expect(failures(await judge(document, { now: later }))).toContain('document: document.time KEYSET_EXPIRED');
});

test('missing reference values are their own answer and name the id', async () => {
  const verdict = await judge(document, { collateral: { ...world.collateral, rims: new Map() } });
  expect(verdict).toMatchObject({ decision: 'not-judged', tier: 'none' });
  const missing = verdict.checks.filter(({ code }) => code === 'REFERENCE_VALUES_MISSING');
  expect(missing.map(({ reason }) => reason).join()).toContain('NV_GPU_DRIVER_GH100_');
});

describe('stale-collateral', () => {
  const TWO_YEARS = 2 * 365 * 86_400_000;

  test('a CRL of before a revocation is out of date at the judged time', async () => {
    const { issueSimulatedCrl } = await import('../../enclave/collect/simulated/crl.ts');
    const crls = [issueSimulatedCrl(new Date(NOW - TWO_YEARS))];
    const verdict = await judge(document, { collateral: { ...world.collateral, crls } });
    expect(failures(verdict)).toContain('cpu: cpu.revocation CRL_EXPIRED');
  });

  test('withholding the CRL is refused where the policy requires one', async () => {
    if (SIMULATED_POLICY.cpu.snp === 'refused') throw new Error('the simulated policy takes SNP');
    const policy = policyOf({
      cpu: {
        ...SIMULATED_POLICY.cpu,
        snp: { ...SIMULATED_POLICY.cpu.snp, revocation: 'required' },
      },
    });
    const verdict = await judge(document, { policy, collateral: { ...world.collateral, crls: [] } });
    expect(failures(verdict)).toContain('cpu: cpu.revocation COLLATERAL_MISSING');
  });
});
