import { beforeAll, describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { appraiseBundle, appraiseEvidence, appraiseReceipt } from '../../../attestation/appraise.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { CHECKS, type CheckId } from '../../../attestation/checks.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { methodOf } from '../../../attestation/verification/methods.ts';
import {
  toVerificationDocument,
  type VerificationDocument,
} from '../../../attestation/verification/document.ts';
import type { JudgedInput } from '../../../attestation/verification/parts.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { contextOf, issueBundle, makeWorld, type World } from '../../support/world.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const described = { length: z.int().min(0), sha256 };
const time = z.iso.datetime();
/** The closed schema of `vouchsafe/verification/1`, as its README has it. */
const schema = z.strictObject({
  format: z.literal('vouchsafe/verification/1'),
  decision: z.enum(['accepted', 'refused', 'not-judged']),
  tier: z.enum(['affirming', 'warning', 'contraindicated', 'none']),
  simulated: z.array(z.enum(['cpu', 'gpu'])),
  judged_at: time,
  upper: time.nullable(),
  lower: time.nullable(),
  policy_sha256: sha256,
  verifier: z.string(),
  inputs: z.array(
    z.strictObject({
      id: z.enum(['bundle', 'document', 'receipt', 'disclosure']),
      name: z.string(),
      ...described,
    }),
  ),
  parts: z.array(
    z.strictObject({
      id: z.string(),
      input: z.string().nullable(),
      offset: z.int().min(0).nullable(),
      ...described,
    }),
  ),
  anchors: z.array(
    z.strictObject({
      role: z.string(),
      name: z.string(),
      spki_sha256: sha256,
      simulated: z.boolean(),
      published: z.boolean(),
    }),
  ),
  collateral: z.array(
    z.strictObject({
      kind: z.enum(['rims', 'crls', 'certificates', 'tcbInfos', 'qeIdentities', 'ocspResponses']),
      name: z.string().nullable(),
      ...described,
    }),
  ),
  steps: z.array(
    z.strictObject({
      number: z.int().min(1),
      check: z.enum(Object.keys(CHECKS) as [CheckId, ...CheckId[]]),
      subject: z.string(),
      read: z.array(z.string()),
      compared: z.string().min(1),
      with: z.string().min(1),
      trusts: z.string().min(1),
      anchors: z.array(z.string()),
      collateral: z.array(z.string()),
      result: z.enum(['pass', 'fail', 'skip']),
      code: z.string(),
      reason: z.string().min(1),
      proves: z.string().min(1),
      advice: z.string().min(1).nullable(),
    }),
  ),
});

let world: World;
let bundle: Uint8Array;
beforeAll(async () => {
  world = await makeWorld();
  ({ bundle } = await issueBundle(world));
});

function documentOf(verdict: Verdict, inputs: readonly JudgedInput[]): VerificationDocument {
  const { collateral } = world;
  const given = { inputs, anchors: DEFAULT_ANCHORS, collateral, verifier: 'vouchsafe 0', crypto: nodeCrypto };
  const document = toVerificationDocument(verdict, given);
  const read = schema.parse(JSON.parse(JSON.stringify(document)));
  const ids = new Set(read.parts.map(({ id }) => id));
  expect(ids.size).toBe(read.parts.length);
  // Whoever has the input finds every part again by its place.
  for (const { input, offset, length, sha256: digest } of read.parts) {
    if (input === null || offset === null) continue;
    const { bytes } = inputs.find(({ kind }) => kind === input)!;
    expect(toHex(nodeCrypto.hash('sha256', bytes.subarray(offset, offset + length)))).toBe(digest);
  }
  expect(read.steps.flatMap((step) => step.read).filter((id) => !ids.has(id))).toEqual([]);
  expect(read.steps.map(({ check, code }) => [check, code])).toEqual(
    verdict.checks.map(({ id, code }) => [id, code]),
  );
  for (const { result, advice } of read.steps) if (result === 'fail') expect(advice).not.toBeNull();
  return document;
}

const stepOf = ({ steps }: VerificationDocument, check: CheckId, subject?: string) =>
  steps.find((step) => step.check === check && (subject === undefined || step.subject === subject));

describe('a verification document', () => {
  test('of an accepted bundle names for each step what was read, and where', async () => {
    const { verdict } = await appraiseBundle(bundle, {}, contextOf({ collateral: world.collateral }));
    const document = documentOf(verdict, [{ kind: 'bundle', name: 'b.cbor', bytes: bundle }]);
    expect([document.decision, document.tier, document.simulated]).toEqual([
      'accepted',
      'warning',
      ['cpu', 'gpu'],
    ]);
    expect(stepOf(document, 'cpu.binding', 'covering cpu')?.read).toEqual([
      'covering/statement',
      'covering/cpu',
      'covering/devices',
    ]);
    expect(stepOf(document, 'device.signature', 'cited gpu 0')?.read).toEqual(['cited/gpu 0']);
    expect(stepOf(document, 'receipt.signature')?.read).toEqual(['receipt', 'cited/keyset']);
    expect(stepOf(document, 'log.checkpoint')?.read).toEqual(['checkpoint', 'covering/keyset']);
    expect(stepOf(document, 'cpu.chain', 'cited cpu')?.anchors).toContain('amd-ark');
    expect(stepOf(document, 'limits.relay')).toMatchObject({ read: [], result: 'skip' });
    expect(document.parts.every(({ offset }) => offset !== null)).toBe(true);
    expect(document.collateral.map(({ kind }) => kind)).toContain('rims');
  });

  test('of a refused document says what failed, and of what was not reached that it was not', async () => {
    const { cited } = parseBundle(bundle);
    const altered = Uint8Array.from(cited);
    const { parts } = documentOf((await appraiseEvidence(cited, undefined, contextOf())).verdict, [
      { kind: 'document', name: 'd', bytes: cited },
    ]);
    // One bit of the signature, in the last quarter of an SNP report.
    const cpu = parts.find(({ id }) => id === 'cpu')!;
    altered[cpu.offset! + 0x2b0]! ^= 1;
    const { verdict } = await appraiseEvidence(altered, undefined, contextOf());
    const document = documentOf(verdict, [{ kind: 'document', name: 'd', bytes: altered }]);
    expect(document.decision).toBe('refused');
    expect(stepOf(document, 'cpu.signature')).toMatchObject({
      result: 'fail',
      code: 'SIGNATURE_INVALID',
      read: ['cpu'],
    });
    expect(stepOf(document, 'cpu.measurement')).toMatchObject({ code: 'NOT_REACHED' });
  });

  test('of a receipt and its evidence has parts of both', async () => {
    const { cited, receipt } = parseBundle(bundle);
    const { verdict } = await appraiseReceipt(
      receipt,
      cited,
      {},
      contextOf({ collateral: world.collateral }),
    );
    const document = documentOf(verdict, [
      { kind: 'receipt', name: 'r', bytes: receipt },
      { kind: 'document', name: 'd', bytes: cited },
    ]);
    expect(stepOf(document, 'receipt.evidence')?.read).toEqual(['receipt', 'document']);
    expect(stepOf(document, 'document.keyset')?.read).toEqual(['cited/keyset', 'cited/statement']);
  });

  test('of bytes that are no bundle has the whole alone', async () => {
    const bytes = Uint8Array.of(0xff, 0);
    const { verdict } = await appraiseBundle(bytes, {}, contextOf());
    const document = documentOf(verdict, [{ kind: 'bundle', name: 'x', bytes }]);
    expect(document.parts.map(({ id }) => id)).toEqual(['bundle']);
    expect(document.steps).toHaveLength(1);
    expect(document.steps[0]).toMatchObject({ result: 'fail', read: ['bundle'] });
  });

  test('every check but what none can exclude has a way in which it is made', () => {
    const without = (Object.keys(CHECKS) as CheckId[]).filter((id) => methodOf(id).reads.length === 0);
    expect(without.filter((id) => !id.startsWith('limits.'))).toEqual([]);
  });
});
