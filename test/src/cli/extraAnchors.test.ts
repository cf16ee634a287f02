import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Collector } from '../../../enclave/collect/collector.ts';
import type { AnchoredVerdict } from '../../../src/cli/extraAnchors.ts';
import { mintDocument, NONCE } from '../../support/evidenceDocument.ts';
import { mintSnp, type SnpMachine } from '../../support/platforms.ts';
import { failures } from '../../support/world.ts';
import { startTestService, type TestService } from '../client/service.ts';
import { vouchsafe } from './program.ts';

// A machine under a root of our own, which nobody published.

let folder: string;
let machine: SnpMachine;
let digest: string;
let verify: readonly string[];
let policy: readonly string[];
const ROLE = 'amd-ark/genoa';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-anchors-'));
  machine = await mintSnp();
  digest = machine.anchors[0]!.spkiSha256;
  const snp = { ...machine.policy, revocation: 'when-present' };
  const text = JSON.stringify({ ...DEFAULT_POLICY, cpu: { ...machine.cpu, snp }, devices: 'none' });
  policy = ['--policy', write('policy.json', text)];
  const document = write('document.cbor', await mintDocument(machine.collectCpu));
  const at = ['--nonce', toHex(NONCE), '--at', new Date(machine.now).toISOString()];
  verify = ['verify', document, ...policy, ...at];
}, 60_000);
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

function named(role = ROLE): readonly string[] {
  return ['--anchor', `${role}:${digest}`];
}

interface Judged {
  readonly verdict: AnchoredVerdict;
}

describe('verify', () => {
  test('refuses a root that nobody named', async () => {
    const { code, stdout } = await vouchsafe([...verify, '--json']);
    const { verdict } = JSON.parse(stdout) as Judged;
    expect([code, failures(verdict)[0]]).toEqual([2, 'cpu: cpu.chain UNTRUSTED_ROOT']);
    expect(verdict).not.toHaveProperty('extraAnchors');
  });

  test('accepts it where it is named, with a warning that names it', async () => {
    const [human, json] = await Promise.all([
      vouchsafe([...verify, ...named(), '--verbose']),
      vouchsafe([...verify, ...named(), '--json']),
    ]);
    const { verdict } = JSON.parse(json.stdout) as Judged;
    expect([json.code, verdict.decision, verdict.tier]).toEqual([0, 'accepted', 'warning']);
    expect(verdict.extraAnchors).toEqual([`${ROLE}:${digest}`]);
    const chain = verdict.checks.find(({ id }) => id === 'cpu.chain');
    expect(chain?.reason).toContain(`EXTRA ANCHOR ${ROLE} ${digest}`);
    expect(human.code).toBe(0);
    expect(human.stdout).toMatch(new RegExp(` EXTRA ANCHOR  ${ROLE}:${digest}[^]*ACCEPTED with a warning`));
  });

  test('says it also where the evidence leads to another root, or is refused', async () => {
    const other = `intel-sgx-root:${'0c'.repeat(32)}`;
    const { code, stdout } = await vouchsafe([...verify, '--anchor', other, '--json']);
    expect([code, (JSON.parse(stdout) as Judged).verdict.extraAnchors]).toEqual([2, [other]]);
    const both = await vouchsafe([...verify, '--anchor', other, ...named()]);
    expect(both.code).toBe(0);
    expect(both.stdout.match(/ EXTRA ANCHOR {2}/g)).toHaveLength(2);
  });

  test('as EAR claims', async () => {
    const { code, stdout } = await vouchsafe([...verify, ...named(), '--ear']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      submods: {
        vouchsafe: { ear_status: 'warning', vouchsafe_extra_anchors: [`${ROLE}:${digest}`] },
      },
    });
  });

  test.each(['amd-ark/milan', 'amd-ark/turin', 'intel-sgx-root', 'tpm', 'nvidia-device'])(
    'a key named as %s is none for a Genoa chip',
    async (role) => {
      const { code, stdout } = await vouchsafe([...verify, ...named(role), '--json']);
      const [first] = failures((JSON.parse(stdout) as Judged).verdict);
      expect([code, first?.startsWith('cpu: ')]).toEqual([2, true]);
    },
  );

  test('the digest of another key is none', async () => {
    const other = digest.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
    expect((await vouchsafe([...verify, '--anchor', `${ROLE}:${other}`])).code).toBe(2);
  });

  test('a digest may be written in capitals', async () => {
    const { code, stdout } = await vouchsafe([
      ...verify,
      '--anchor',
      `${ROLE}:${digest.toUpperCase()}`,
      '--json',
    ]);
    expect([code, (JSON.parse(stdout) as Judged).verdict.extraAnchors]).toEqual([0, [`${ROLE}:${digest}`]]);
  });
});

describe('misuse', () => {
  test.each([
    ['a digest without a role', () => digest, 'no role stands before a colon'],
    ['a role that is none', () => `amd:${digest}`, 'amd is no role'],
    ['AMD without a product', () => `amd-ark:${digest}`, 'amd-ark is no role'],
    ['a role of the prototype', () => `constructor:${digest}`, 'constructor is no role'],
    ['half a digest', () => `tpm:${digest.slice(32)}`, 'no 64 hex digits'],
    ['a digest that is no hex', () => `tpm:${'g'.repeat(64)}`, 'no 64 hex digits'],
    ['nothing behind the role', () => 'tpm:', 'no 64 hex digits'],
  ])('%s', async (_name, given, problem) => {
    const { code, stdout, stderr } = await vouchsafe([...verify, '--anchor', given()]);
    expect([code, stdout]).toEqual([64, '']);
    const text = stderr.replace(/\s+/g, ' ');
    expect(text).toContain(problem);
    for (const role of ['amd-ark/milan', 'intel-sgx-root', 'aws-nitro', 'gcp-vtpm', 'tpm', 'nvidia-rim'])
      expect(text).toContain(role);
  });

  test('a simulated root is none under any role: it would pass as real', async () => {
    for (const { spkiSha256 } of DEFAULT_ANCHORS.filter(({ simulated }) => simulated)) {
      const { code, stderr } = await vouchsafe([...verify, '--anchor', `tpm:${spkiSha256}`]);
      expect(code).toBe(64);
      expect(stderr).toContain('--allow-simulated');
    }
  });

  test('a published root needs no naming', async () => {
    const { spkiSha256 } = DEFAULT_ANCHORS.find(({ role }) => role === 'intel-sgx-root')!;
    const { code, stderr } = await vouchsafe([...verify, '--anchor', `intel-sgx-root:${spkiSha256}`]);
    expect([code, stderr.includes('leave it out')]).toEqual([64, true]);
  });
});

describe('ask and embed', () => {
  let service: TestService;
  beforeAll(async () => {
    const collector: Collector = {
      name: 'minted',
      collectDevices: () => Promise.resolve([]),
      collectCpu: machine.collectCpu,
      collateral: () => Promise.resolve(NO_COLLATERAL),
    };
    service = await startTestService(collector);
  });
  afterAll(() => service.stop());

  function embed(...args: readonly string[]) {
    return vouchsafe(['embed', 'hello', ...policy, ...args], { VOUCHSAFE_URL: service.url });
  }

  test('nothing is sent to a machine under a root that nobody named', async () => {
    service.requests.length = 0;
    const { code, stderr } = await embed();
    expect([code, service.requests]).toEqual([2, ['/v1/attestation']]);
    expect(stderr).toContain('UNTRUSTED_ROOT');
  });

  test('nothing is asked where the anchor is malformed', async () => {
    service.requests.length = 0;
    const { code } = await embed('--anchor', 'amd:00');
    expect([code, service.requests]).toEqual([64, []]);
  });

  test('a refusal says what was named', async () => {
    const { code, stderr } = await embed(...named('amd-ark/milan'));
    expect(code).toBe(2);
    expect(stderr).toContain(` EXTRA ANCHOR  amd-ark/milan:${digest}`);
  });

  test('both verdicts say that the root was named, and what was saved verifies by it alone', async () => {
    const saved = join(folder, 'saved');
    const { code, stdout, stderr } = await embed(...named(), '--save', saved);
    expect([code, stdout]).toEqual([0, '[0.25,-0.5,1]\n']);
    expect(stderr).toMatch(new RegExp(` EXTRA ANCHOR  ${ROLE}:${digest}[^]*ACCEPTED with a warning`));
    const line = `vouchsafe verify ${policy.join(' ')} ${named().join(' ')} ${saved}`;
    expect(stderr).toContain(`saved: ${line}\n`);
    const [again, without] = await Promise.all([
      vouchsafe(['verify', ...policy, ...named(), saved]),
      vouchsafe(['verify', ...policy, saved]),
    ]);
    expect([again.code, without.code]).toEqual([0, 2]);
  });

  test('ask says it as JSON', async () => {
    const args = ['ask', 'hello', ...policy, ...named(), '--json'];
    const { code, stdout } = await vouchsafe(args, { VOUCHSAFE_URL: service.url });
    const { evidence, receipt } = JSON.parse(stdout) as Record<'evidence' | 'receipt', AnchoredVerdict>;
    expect(code).toBe(0);
    for (const verdict of [evidence, receipt]) {
      expect(verdict).toMatchObject({ tier: 'warning', extraAnchors: [`${ROLE}:${digest}`] });
    }
  });
});
