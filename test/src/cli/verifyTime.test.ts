import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import type { AnchoredVerdict } from '../../../src/cli/extraAnchors.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import { mintWitness, witnessBundle } from '../../support/witnessedBundle.ts';
import { failures, issueBundle, makeWorld, NOW } from '../../support/world.ts';
import { vouchsafe } from './program.ts';

// What the commands say of the time that outsiders vouch for.

const HOUR = 3_600_000;
const YEARS = 3 * 365 * 24 * HOUR;
const authority = timestampAuthority();
const witness = mintWitness('one.example');
const UPPER = new Date(NOW + HOUR + 1000).toISOString();
const LATER = ['--at', new Date(NOW + YEARS).toISOString()];
const ANCHOR = ['--anchor', `timestamp:${authority.anchor.spkiSha256}`];

let folder: string;
let bundle: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-time-'));
  const world = await makeWorld();
  const issued = await issueBundle(world);
  const confirming = {
    authorities: [[authority, NOW + HOUR]],
    witnesses: [[witness, NOW + 2 * HOUR]],
  } as const;
  bundle = write('bundle.cbor', await witnessBundle(world, issued.bundle, confirming));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
}

async function verdictOf(
  ...args: readonly string[]
): Promise<{ code: number | null; verdict: AnchoredVerdict }> {
  const { code, stdout } = await vouchsafe(['verify', bundle, ...args, '--json']);
  return { code, ...(JSON.parse(stdout) as { verdict: AnchoredVerdict }) };
}

describe('verify', () => {
  test('takes an authority among the anchors: the receipt is judged as it was then', async () => {
    const { code, verdict } = await verdictOf('--allow-simulated', ...LATER, ...ANCHOR);
    expect([code, failures(verdict)]).toEqual([0, []]);
    expect(verdict).toMatchObject({ judgedAt: UPPER, upper: UPPER, extraAnchors: [ANCHOR[1]] });
  });

  test('judges for the time that is given where no authority is trusted', async () => {
    const { code, verdict } = await verdictOf('--allow-simulated', ...LATER);
    expect(code).toBe(2);
    expect(verdict).not.toHaveProperty('upper');
  });

  test('says the time on the terminal, and in EAR', async () => {
    const args = ['verify', bundle, '--allow-simulated', ...LATER, ...ANCHOR];
    expect((await vouchsafe(args)).stdout).toContain(`it existed by ${UPPER}`);
    const { stdout } = await vouchsafe([...args, '--ear']);
    expect(JSON.parse(stdout)).toMatchObject({
      submods: { vouchsafe: { vouchsafe_upper: Math.floor(Date.parse(UPPER) / 1000) } },
    });
  });

  test('takes witnesses and authorities from a policy', async () => {
    const policy = {
      ...SIMULATED_POLICY,
      witnesses: { quorum: 1, keys: [witness.text] },
      timestamps: { authorities: [{ name: 'minted', value: authority.anchor.spkiSha256 }], required: true },
    };
    const named = ['--policy', write('policy.json', JSON.stringify(policy))];
    expect((await vouchsafe(['policy', 'check', named[1]!])).code).toBe(0);
    const { code, verdict } = await verdictOf(...named, ...LATER);
    expect([code, verdict.upper]).toEqual([0, UPPER]);
    const early = await verdictOf(...named, '--at', new Date(NOW).toISOString());
    expect(failures(early.verdict)).toEqual([
      'log: log.witnesses WITNESS_QUORUM_MISSING',
      'log: log.timestamp TIMESTAMP_MISSING',
    ]);
  });
});

test('policy check lists what is wrong with the members of time', async () => {
  const policy = { ...SIMULATED_POLICY, witnesses: { quorum: 2, keys: [witness.text] }, timestamps: 'any' };
  const path = write('wrong.json', JSON.stringify(policy));
  const { code, stdout } = await vouchsafe(['policy', 'check', path, '--json']);
  const { problems } = JSON.parse(stdout) as { problems: readonly { member: string }[] };
  expect([code, problems.map(({ member }) => member)]).toEqual([64, ['witnesses.quorum', 'timestamps']]);
});
