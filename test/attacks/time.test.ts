import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../attestation/appraise.ts';
import { setImmediate } from 'node:timers/promises';
import { parseBundle, type Witnessed } from '../../attestation/bundle/bundle.ts';
import { toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { CheckId } from '../../attestation/checks.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { Policy } from '../../attestation/policy/policy.ts';
import type { Confirmation, Outsider } from '../../src/receipts/outsider.ts';
import { rebundle, redocument, resign } from '../support/forgery.ts';
import {
  mintTimestampAuthority,
  timestampAuthority,
  type TimestampAuthority,
} from '../support/timestampAuthority.ts';
import {
  mintWitness,
  witnessBundle,
  type Confirming,
  type MintedWitness,
} from '../support/witnessedBundle.ts';
import {
  contextOf,
  failures,
  issueBundle,
  makeWorld,
  NOW,
  policyOf,
  type Bundled,
  type World,
} from '../support/world.ts';

// What time an outsider vouches for, and what an attacker can do with it. The rows are those of the attacks' table.

const HOUR = 3_600_000;
const YEAR = 365 * 24 * HOUR;
const LATER = NOW + 3 * YEAR;
const authority = timestampAuthority();
const stranger = mintTimestampAuthority();
const [one, two, three] = [
  mintWitness('one.example'),
  mintWitness('two.example'),
  mintWitness('three.example'),
];
const stamped = (now: number): Confirming => ({ authorities: [[authority, now]] });

const trusting: Policy = policyOf({
  timestamps: {
    authorities: [{ name: 'minted', value: authority.anchor.spkiSha256 }],
    required: false,
  },
});
const quorum: Policy = policyOf({ witnesses: { quorum: 2, keys: [one.text, two.text, three.text] } });

let world: World;
let genuine: Bundled;

beforeAll(async () => {
  world = await makeWorld();
  genuine = await issueBundle(world);
});

async function judge(bundle: Uint8Array, changes: Partial<AppraisalContext> = {}) {
  const context = contextOf({ policy: trusting, ...changes });
  return (await appraiseBundle(bundle, {}, context)).verdict;
}

function confirmed(confirming: Confirming): Promise<Uint8Array> {
  return witnessBundle(world, genuine.bundle, confirming);
}

async function checkOf(bundle: Uint8Array, id: CheckId, changes: Partial<AppraisalContext> = {}) {
  return (await judge(bundle, changes)).checks.find((check) => check.id === id);
}

describe('stale-collateral', () => {
  test('collateral that was in date when a trusted authority saw the log is in date years later', async () => {
    const bundle = await confirmed(stamped(NOW + HOUR));
    const verdict = await judge(bundle, { now: LATER });
    expect(failures(verdict)).toEqual([]);
    expect(verdict.judgedAt).toBe(new Date(NOW + HOUR + 1000).toISOString());
    expect(verdict.upper).toBe(verdict.judgedAt);
  });

  test('without a timestamp it is judged for the time that you give', async () => {
    const verdict = await judge(genuine.bundle, { now: LATER });
    expect(failures(verdict)).toContain('cited cpu: cpu.revocation CRL_EXPIRED');
    expect(verdict).not.toHaveProperty('upper');
  });

  test('a timestamp made after it ran out does not help', async () => {
    const bundle = await confirmed(stamped(NOW + 2 * YEAR));
    expect(failures(await judge(bundle, { now: LATER }))).toContain('cited cpu: cpu.revocation CRL_EXPIRED');
  });
});

describe('backdate', () => {
  test('a timestamp of an authority that you do not trust moves nothing', async () => {
    const bundle = await confirmed({ authorities: [[stranger, NOW - YEAR]] });
    const verdict = await judge(bundle);
    expect(verdict.judgedAt).toBe(new Date(NOW).toISOString());
    expect(verdict.checks).toContainEqual(expect.objectContaining({ id: 'log.timestamp', result: 'skip' }));
  });

  test('a timestamp over another head of the log', async () => {
    const { keyring } = await makeWorld();
    const bundle = await confirmed(stamped(NOW));
    const foreign = authority.token(keyring.keyset.instance, NOW - YEAR);
    const forged = changeWitnessed(bundle, () => ({ tokens: [foreign] }));
    expect(failures(await judge(forged))).toEqual(['log: log.timestamp TIMESTAMP_MISMATCH']);
  });

  test('a trusted timestamp whose signature does not verify', async () => {
    const bundle = await confirmed(stamped(NOW));
    const forged = changeWitnessed(bundle, ({ tokens: [token] }) => ({
      tokens: [token!.with(-1, token!.at(-1)! ^ 1)],
    }));
    expect(failures(await judge(forged))).toEqual(['log: log.timestamp SIGNATURE_INVALID']);
  });

  test('one of two witnesses alone cannot backdate a quorum', async () => {
    const witnesses: Confirming['witnesses'] = [
      [one, NOW - YEAR],
      [two, NOW],
    ];
    const verdict = await judge(await confirmed({ witnesses }), { policy: quorum });
    expect(verdict.upper).toBe(new Date(NOW).toISOString());
  });

  test('an iat later than the time at which the receipt existed', async () => {
    const bundle = await confirmed(stamped(NOW - HOUR));
    expect(failures(await judge(bundle))).toContain('receipt: receipt.time TIME_CONTRADICTION');
  });
});

describe('proofs by hashes alone', () => {
  const flip = (hash: Uint8Array) => hash.with(0, (hash[0] ?? 0) ^ 1);
  test.each<[string, (parts: Witnessed) => Partial<Witnessed>, string]>([
    [
      'log that did not grow from it',
      ({ consistency }) => ({ consistency: consistency.map(flip) }),
      'CONSISTENCY_INVALID',
    ],
    [
      'epoch record at another index',
      ({ epoch }) => ({ epoch: { ...epoch, index: epoch.index - 1 } }),
      'INCLUSION_INVALID',
    ],
    [
      'epoch record that the log does not hold',
      ({ epoch }) => ({ epoch: { ...epoch, path: epoch.path.map(flip) } }),
      'INCLUSION_INVALID',
    ],
    [
      'checkpoint that the log did not sign',
      ({ note }) => ({ note: note.with(-20, note.at(-20)! === 65 ? 66 : 65) }),
      'SIGNATURE_INVALID',
    ],
  ])('%s', async (_, change, code) => {
    const bundle = await confirmed(stamped(NOW));
    expect(failures(await judge(changeWitnessed(bundle, change)))).toEqual([`log: log.upper ${code}`]);
  });

  test('a record of other evidence in place of the epoch record', async () => {
    const bundle = await confirmed(stamped(NOW));
    const entry = await world.log.entry(0);
    const path = await world.log.inclusionProof(0, world.log.size);
    const forged = changeWitnessed(bundle, () => ({ epoch: { entry, index: 0, path } }));
    expect(failures(await judge(forged))).toEqual(['log: log.upper EPOCH_MISMATCH']);
  });

  test('another receipt, signed by a stolen key', async () => {
    const bundle = await confirmed(stamped(NOW));
    const { keyring } = world;
    const receipt = resign(
      genuine.issued.encoded,
      { path: '/other' },
      keyring.receipt,
      keyring.keyset.instance,
    );
    const forged = rebundle(bundle, () => ({ receipt }));
    expect(failures(await judge(forged))).toContain('log: log.upper INCLUSION_INVALID');
  });
});

function changeWitnessed(bundle: Uint8Array, change: (parts: Witnessed) => Partial<Witnessed>): Uint8Array {
  return rebundle(bundle, ({ witnessed }) => ({ witnessed: { ...witnessed!, ...change(witnessed!) } }));
}

describe('split-view', () => {
  test('a quorum saw this log: it is no longer unknown', async () => {
    const bundle = await confirmed({
      witnesses: [
        [one, NOW],
        [three, NOW + HOUR],
      ],
    });
    const verdict = await judge(bundle, { policy: quorum, now: NOW + 2 * HOUR });
    expect(failures(verdict)).toEqual([]);
    expect(verdict.upper).toBe(new Date(NOW + HOUR).toISOString());
    const ids = verdict.checks.map(({ id }) => id);
    expect(ids).toContain('limits.instances');
    expect(ids).not.toContain('limits.history');
  });

  test.each<[string, Confirming['witnesses']]>([
    ['no witness', []],
    ['one of the two that are wanted', [[one, NOW]]],
    [
      'one witness twice',
      [
        [one, NOW],
        [one, NOW],
      ],
    ],
    [
      'a witness that the policy does not name',
      [
        [one, NOW],
        [mintWitness('four.example'), NOW],
      ],
    ],
    [
      'another key of the same name',
      [
        [one, NOW],
        [mintWitness('two.example'), NOW],
      ],
    ],
    [
      'a quorum that signed after the judged time',
      [
        [one, NOW],
        [two, NOW + HOUR],
      ],
    ],
  ])('%s is refused', async (_, witnesses) => {
    const verdict = await judge(await confirmed({ witnesses: witnesses ?? [] }), { policy: quorum });
    expect(failures(verdict)).toEqual(['log: log.witnesses WITNESS_QUORUM_MISSING']);
    expect(verdict.checks.map(({ id }) => id)).toContain('limits.history');
  });

  test('a bundle that no witness saw is refused, covered or not', async () => {
    const bare = rebundle(genuine.bundle, () => ({ covering: undefined }));
    for (const bundle of [genuine.bundle, bare]) {
      expect(failures(await judge(bundle, { policy: quorum }))).toEqual([
        'log: log.witnesses WITNESS_QUORUM_MISSING',
      ]);
    }
  });

  test('a cosignature over another checkpoint is refused', async () => {
    const other = await issueBundle(world);
    const [here, there] = [await confirmed({ witnesses: [[one, NOW]] }), other.bundle];
    await issueBundle(world);
    const later = await witnessBundle(world, there, { witnesses: [[two, NOW]] });
    const line = Buffer.from(witnessedOf(later).note).toString().split('\n').at(-2);
    const spliced = changeWitnessed(here, ({ note }) => ({
      note: new Uint8Array(Buffer.from(`${Buffer.from(note).toString()}${line}\n`)),
    }));
    expect(failures(await judge(spliced, { policy: quorum }))).toEqual([
      'log: log.witnesses SIGNATURE_INVALID',
    ]);
  });
});

function witnessedOf(bundle: Uint8Array): Witnessed {
  return parseBundle(bundle).witnessed!;
}

describe('reboot-rollback', () => {
  test('an instance whose log forgot what witnesses saw cannot show a quorum', async () => {
    const bundle = await confirmed({
      witnesses: [
        [one, NOW],
        [two, NOW],
      ],
    });
    const rolledBack = await makeWorld();
    const other = await issueBundle(rolledBack);
    const forged = rebundle(other.bundle, () => ({ witnessed: witnessedOf(bundle) }));
    expect(failures(await judge(forged, { policy: quorum }))).toEqual(['log: log.upper CHECKPOINT_MISMATCH']);
  });
});

describe('what a policy asks for', () => {
  const required = policyOf({
    timestamps: { authorities: [{ name: 'minted', value: authority.anchor.spkiSha256 }], required: true },
  });

  test('a timestamp that is required and missing refuses', async () => {
    const strange = await confirmed({ authorities: [[stranger, NOW]] });
    for (const bundle of [genuine.bundle, strange]) {
      expect(failures(await judge(bundle, { policy: required }))).toEqual([
        'log: log.timestamp TIMESTAMP_MISSING',
      ]);
    }
    expect(failures(await judge(await confirmed(stamped(NOW)), { policy: required }))).toEqual([]);
  });

  test('an authority among the anchors counts as one of the policy', async () => {
    const bundle = await confirmed(stamped(NOW));
    const anchors = [...DEFAULT_ANCHORS, authority.anchor];
    expect(await checkOf(bundle, 'log.timestamp', { policy: policyOf({}), anchors })).toMatchObject({
      result: 'pass',
    });
    expect(await checkOf(bundle, 'log.timestamp', { policy: policyOf({}) })).toMatchObject({
      result: 'skip',
    });
  });

  test('a policy that trusts no timestamps passes over every token', async () => {
    const bundle = changeWitnessed(await confirmed(stamped(NOW)), () => ({ tokens: [Uint8Array.of(1)] }));
    expect(
      await checkOf(bundle, 'log.timestamp', { policy: policyOf({ timestamps: 'none' }) }),
    ).toMatchObject({
      result: 'skip',
      code: 'NOT_REQUIRED',
    });
    expect(failures(await judge(bundle))).toEqual(['log: log.timestamp MALFORMED']);
  });

  test('a vkey whose key id is not that of its key is no policy', async () => {
    const keys = [one.text.replace(/\+[0-9a-f]{8}\+/, '+00000000+'), two.text];
    const policy = policyOf({ witnesses: { quorum: 1, keys } });
    const bundle = await confirmed({ witnesses: [[two, NOW]] });
    expect(failures(await judge(bundle, { policy }))).toEqual(['log: log.witnesses POLICY_INVALID']);
  });

  test('of several times the earliest counts', async () => {
    const bundle = await confirmed({
      authorities: [
        [authority, NOW + 3 * HOUR],
        [authority, NOW + 2 * HOUR],
      ],
      witnesses: [
        [one, NOW + HOUR],
        [two, NOW],
      ],
    });
    const policy = { ...trusting, witnesses: quorum.witnesses };
    const verdict = await judge(bundle, { policy, now: LATER });
    expect(verdict.upper).toBe(new Date(NOW + HOUR).toISOString());
  });

  test('a timestamp from after the time for which you judge does not count', async () => {
    const bundle = await confirmed(stamped(NOW + HOUR));
    expect(await checkOf(bundle, 'log.timestamp')).toMatchObject({ result: 'skip' });
    expect((await judge(bundle)).judgedAt).toBe(new Date(NOW).toISOString());
  });
});

describe('what a service makes whose heads are confirmed', () => {
  let bundle: Uint8Array;
  let anchored: World;
  const policy = { ...trusting, witnesses: { quorum: 1, keys: [one.text] } };

  beforeAll(async () => {
    anchored = await makeWorld({
      outsiders: () => Promise.resolve([outsiderOf(authority), outsiderOf(one)]),
    });
    // The first epoch has an anchor, which the evidence at the end of the second holds: the third cites that.
    for (let epoch = 0; epoch < 2; epoch++) await witnessedBundle(anchored);
    bundle = await witnessedBundle(anchored);
  });

  test('is bounded on both sides', async () => {
    const verdict = await judge(bundle, { policy, now: LATER });
    expect(failures(verdict)).toEqual([]);
    expect(verdict).toMatchObject({
      upper: new Date(NOW).toISOString(),
      lower: new Date(NOW - 1000).toISOString(),
    });
    expect(verdict.checks.map(({ id }) => id)).toContain('limits.instances');
  });

  test('an iat from before the evidence was made', async () => {
    const { keyring } = anchored;
    const { receipt: encoded } = parseBundle(bundle);
    const changes = { issuedAt: (NOW - HOUR) / 1000 };
    const receipt = resign(encoded, changes, keyring.receipt, keyring.keyset.instance);
    const failed = failures(
      await judge(
        rebundle(bundle, () => ({ receipt })),
        { policy, now: LATER },
      ),
    );
    expect(failed).toContain('receipt: receipt.time TIME_CONTRADICTION');
  });

  test('a time anchor that the statement does not commit to', async () => {
    const forged = rebundle(bundle, ({ cited }) => ({
      cited: redocument(cited, () => ({ timeAnchor: authority.token(Uint8Array.of(1), NOW) })),
    }));
    expect(failures(await judge(forged, { policy }))).toContain(
      'cited document: document.format BINDING_MISMATCH',
    );
  });
});

function outsiderOf(party: TimestampAuthority | MintedWitness): Outsider {
  return {
    name: 'outsider',
    kind: 'token' in party ? 'authority' : 'witness',
    confirm: ({ text }): Promise<Confirmation> =>
      Promise.resolve(
        'token' in party
          ? { kind: 'token', token: party.token(utf8(text), NOW) }
          : { kind: 'cosignature', signature: party.cosign(text, NOW) },
      ),
  };
}

/** A bundle once outsiders have confirmed its epoch, which happens in the background. */
async function witnessedBundle(from: World): Promise<Uint8Array> {
  const { draft } = await issueBundle(from);
  for (;;) {
    const encoded = await from.vouching.bundle(toHex(draft.id), draft.tenant);
    if (parseBundle(encoded).witnessed) return encoded;
    await setImmediate();
  }
}
