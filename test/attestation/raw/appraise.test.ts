import fc from 'fast-check';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat, toBase64, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { SnpEvidence } from '../../../attestation/evidence/evidence.ts';
import { parseDocument, type EvidenceDocument } from '../../../attestation/evidence/document.ts';
import { parseDeviceReport } from '../../../attestation/evidence/nvidia/parse.ts';
import { parseSnpReport } from '../../../attestation/evidence/snp/parse.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { appraiseRaw, type RawExpectation } from '../../../attestation/raw/appraise.ts';
import type { RawFile } from '../../../attestation/raw/files.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { contextOf, failures, makeWorld, policyOf, type World } from '../../support/world.ts';

let world: World;
let document: EvidenceDocument;
let cpu: SnpEvidence;

beforeAll(async () => {
  world = await makeWorld();
  document = parseDocument(world.vouching.head.encoded);
  cpu = document.cpu as SnpEvidence;
});

const ONLY_CPU = policyOf({ simulated: ['cpu'] });
const ONLY_GPU = policyOf({ simulated: ['gpu'] });

function pem(der: Uint8Array): string {
  const lines = toBase64(der)
    .match(/.{1,64}/g)!
    .join('\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

async function judge(files: readonly RawFile[], policy: Policy, expected: RawExpectation = {}) {
  const context = contextOf({ policy, collateral: world.collateral });
  const { verdict } = await appraiseRaw(files, expected, context);
  const codeOf = (id: string) => verdict.checks.find((check) => check.id === id)?.code;
  return { verdict, codeOf };
}

const cpuFiles = (): readonly RawFile[] => [
  ...cpu.certificates.toReversed().map((bytes, i) => ({ name: `${i}.der`, bytes })),
  { name: 'report.bin', bytes: cpu.report },
];

function deviceFiles(): readonly RawFile[] {
  const { report, certificates } = document.devices[0]!;
  return [{ name: 'device.bin', bytes: concat(report, utf8(certificates.map(pem).join(''))) }];
}

describe('a raw CPU report', () => {
  test('with its certificates in any order is accepted with a warning: nobody says for which keys it is', async () => {
    const { verdict, codeOf } = await judge(cpuFiles(), ONLY_CPU);
    expect(failures(verdict)).toEqual([]);
    expect([verdict.decision, verdict.tier, verdict.simulated]).toEqual(['accepted', 'warning', ['cpu']]);
    expect(codeOf('cpu.binding')).toBe('NOT_REQUESTED');
  });

  test('is held to the report data that the asker knows', async () => {
    const { reportData } = parseSnpReport(cpu.report);
    expect((await judge(cpuFiles(), ONLY_CPU, { reportData })).codeOf('cpu.binding')).toBe('OK');
    const other = { reportData: reportData.map((byte) => byte ^ 1) };
    expect((await judge(cpuFiles(), ONLY_CPU, other)).codeOf('cpu.binding')).toBe('BINDING_MISMATCH');
  });

  test('is written as hex or base64 as well', async () => {
    const [report, ...rest] = cpuFiles().toReversed();
    const text = { name: 'report.txt', bytes: utf8(toBase64(report!.bytes)) };
    expect((await judge([text, ...rest], ONLY_CPU)).verdict.decision).toBe('accepted');
  });

  test('altered, without certificates, or simulated where that is not accepted is refused by name', async () => {
    const altered = cpuFiles().map(({ name, bytes }) => {
      const copy = Uint8Array.from(bytes);
      if (name === 'report.bin') copy[0x90]! ^= 1;
      return { name, bytes: copy };
    });
    expect((await judge(altered, ONLY_CPU)).codeOf('cpu.signature')).toBe('SIGNATURE_INVALID');
    expect((await judge(cpuFiles().slice(-1), ONLY_CPU)).codeOf('cpu.chain')).toBe('CERT_MISSING');
    expect((await judge(cpuFiles(), ONLY_GPU)).codeOf('document.simulated')).toBe('SIMULATED_HARDWARE');
  });

  test('of a platform that the policy refuses is refused for that', async () => {
    const policy = policyOf({ cpu: { ...ONLY_CPU.cpu, snp: 'refused' } });
    expect((await judge(cpuFiles(), policy)).codeOf('cpu.platform')).toBe('PLATFORM_NOT_ALLOWED');
  });
});

describe('raw device reports', () => {
  test('are judged with their chain and manifests; without a nonce they may be old', async () => {
    const { verdict, codeOf } = await judge(deviceFiles(), ONLY_GPU);
    expect(failures(verdict)).toEqual([]);
    expect(verdict.simulated).toEqual(['gpu']);
    expect(codeOf('device.nonce')).toBe('NOT_REQUESTED');
    expect(codeOf('device.measurements')).toBe('OK');
  });

  test('are held to the nonce of the asker', async () => {
    const { nonce } = parseDeviceReport(document.devices[0]!.report, 'gpu');
    expect((await judge(deviceFiles(), ONLY_GPU, { nonce })).codeOf('device.nonce')).toBe('OK');
    const other = { nonce: nonce.map((byte) => byte ^ 1) };
    expect((await judge(deviceFiles(), ONLY_GPU, other)).codeOf('device.nonce')).toBe('NONCE_MISMATCH');
  });
});

describe('files that do not go together', () => {
  test.each([
    ['two CPU reports', () => [...cpuFiles(), cpuFiles().at(-1)!], 'MALFORMED'],
    [
      'a receipt beside a report',
      () => [...cpuFiles(), { name: 'r', bytes: Uint8Array.of(0xd2, 0x84) }],
      'UNSUPPORTED',
    ],
    ['certificates alone', () => cpuFiles().slice(0, 1), 'EVIDENCE_INCOMPLETE'],
    ['nothing', () => [], 'EVIDENCE_INCOMPLETE'],
    ['more files than any machine has', () => Array.from({ length: 65 }, () => cpuFiles()[0]!), 'MALFORMED'],
  ] as const)('%s', async (_name, files, code) => {
    const { verdict } = await judge(files(), ONLY_CPU);
    expect(verdict.decision).toBe('refused');
    expect(verdict.checks.find(({ result }) => result === 'fail')?.code).toBe(code);
  });
});

test(
  'no bytes make it throw',
  async () => {
    const pieces = [...cpuFiles(), ...deviceFiles()];
    const piece = fc.record({
      index: fc.nat(pieces.length - 1),
      at: fc.nat(6000),
      bit: fc.nat(7),
      cut: fc.boolean(),
    });
    const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => ({ name: 'noise', bytes }));
    const damaged = piece.map(({ index, at, bit, cut }) => {
      const { name, bytes } = pieces[index]!;
      if (cut) return { name, bytes: bytes.subarray(0, at % bytes.length) };
      const copy = Uint8Array.from(bytes);
      copy[at % copy.length]! ^= 1 << bit;
      return { name, bytes: copy };
    });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(damaged, noise), { maxLength: 4 }), async (files) => {
        const { verdict } = await judge(files, ONLY_CPU);
        expect(verdict.checks.length).toBeGreaterThan(0);
      }),
      propertyRuns(40),
    );
  },
  PROPERTY_TIMEOUT,
);
