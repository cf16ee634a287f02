import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { fromBase64Url, fromHex, fromUtf8, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import {
  appraiseNrasAnswer,
  type NrasAppraisal,
  type NrasVerdict,
} from '../../../../attestation/evidence/nras/answer.ts';
import { parseNrasRequest } from '../../../../attestation/evidence/nras/request.ts';
import type { SentDevice } from '../../../../attestation/evidence/nras/sentDevice.ts';
import { NVIDIA_ANCHORS } from '../../../../attestation/evidence/nvidia/anchors.ts';
import { verifyDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { DEFAULT_NRAS_POLICY, type NrasPolicy } from '../../../../attestation/policy/nras.ts';
import { parsePemChain } from '../../../../attestation/x509/certificate.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  digestsOf,
  encodeAnswer,
  encodePart,
  keySet,
  mintKey,
  signToken,
  type Json,
  type Tokens,
} from '../../../support/nrasService.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';

interface Change {
  readonly verifyAt?: string;
  readonly expectedNonceHex?: string;
  readonly jwt?: 'overall';
  readonly set?: Json;
  readonly header?: Json;
  readonly signature?: string;
  readonly removeDevice?: string;
}

interface Case {
  readonly verifyAt: string;
  readonly expectedNonceHex: string;
  readonly expected: { readonly verdict: string };
  readonly variants?: readonly { readonly id: string; readonly change: Change; readonly expected: string }[];
  readonly deviceFacts?: readonly { readonly ueid: string }[];
}

type Answer = readonly [readonly ['JWT', string], Tokens];

/** The variants of `nras-v3-h200-positive`, each refused by the check that it breaks. */
const REFUSED_BY: Readonly<Record<string, string>> = {
  expired: 'answer: token.time EVIDENCE_STALE',
  'before-nbf': 'answer: token.time COLLATERAL_NOT_YET_VALID',
  'wrong-nonce': 'answer: token.nonce NONCE_MISMATCH',
  'overall-payload-edited': 'answer: token.signature SIGNATURE_INVALID',
  'device-token-removed': 'answer: token.submodules TOKEN_SUBMODULE_MISMATCH',
  'alg-none': 'answer: token.signature ALGORITHM_MISMATCH',
};
/** Claims of the day may be as old as they live, and the test service may speak where a test names it. */
const POLICY: NrasPolicy = { ...DEFAULT_NRAS_POLICY, maximumAgeSeconds: 'any' };

describeCorpus('NRAS corpus', 'evidence/gpu', (root) => {
  const text = (id: string, file: string) => readFileSync(join(root, id, file), 'utf8');
  const caseOf = (id: string) => JSON.parse(text(id, 'case.json')) as Case;
  const answerOf = (id: string, file = 'response.json') => JSON.parse(text(id, file)) as Answer;
  const requestOf = (id: string) => parseNrasRequest(utf8(text(id, 'request.json')));
  const chainOf = (id: string, kind: SentDevice['kind']): SentDevice => ({
    kind,
    certificates: parsePemChain(text(id, 'certchain.pem')).map(({ der }) => der),
  });

  const judge = (
    id: string,
    bytes: Uint8Array,
    changes: Partial<NrasAppraisal> = {},
  ): Promise<NrasVerdict> => {
    const { verifyAt, expectedNonceHex } = caseOf(id);
    return appraiseNrasAnswer(bytes, {
      nonce: fromHex(expectedNonceHex),
      devices: [],
      jwks: undefined,
      policy: POLICY,
      now: Date.parse(verifyAt),
      crypto: nodeCrypto,
      ...changes,
    });
  };
  const recorded = (
    id: string,
    changes: Partial<NrasAppraisal> = {},
    bytes = utf8(text(id, 'response.json')),
  ) => judge(id, bytes, { devices: requestOf(id).devices, jwks: utf8(text(id, 'jwks.json')), ...changes });

  for (const [name, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    describe(`with ${name}`, () => {
      const POSITIVE = 'nras-v3-h200-positive';

      test('one H200 that the service passed is accepted as a warning', async () => {
        const verdict = await recorded(POSITIVE, { crypto, policy: DEFAULT_NRAS_POLICY });
        expect(failuresOf(verdict)).toEqual([]);
        expect(verdict).toMatchObject({ decision: 'accepted', tier: 'warning' });
      });

      const { variants = [] } = caseOf(POSITIVE);
      test.each(variants)('its variant $id is refused by its check', async ({ id, change, expected }) => {
        const { verifyAt, expectedNonceHex } = { ...caseOf(POSITIVE), ...change };
        const changes = { crypto, now: Date.parse(verifyAt), nonce: fromHex(expectedNonceHex) };
        const verdict = await recorded(POSITIVE, changes, changed(answerOf(POSITIVE), change));
        expect(expected).toBe('fail');
        expect(verdict.decision).toBe('refused');
        expect(failuresOf(verdict)).toEqual([REFUSED_BY[id]]);
      });

      test('has all six variants', () => {
        expect(variants.map(({ id }) => id).toSorted()).toEqual(Object.keys(REFUSED_BY).toSorted());
      });

      test('eight GPUs of another nonce: signed, complete, in date, and the service says no', async () => {
        const verdict = await recorded('nras-v3-nonce-mismatch', { crypto });
        expect(verdict).toMatchObject({ decision: 'refused', tier: 'contraindicated' });
        const subjects = Array.from({ length: 8 }, (_, i) => `gpu ${i}`);
        expect(failuresOf(verdict)).toEqual([
          'answer: token.result TOKEN_RESULT_NEGATIVE',
          ...subjects.map((subject) => `${subject}: token.result TOKEN_RESULT_NEGATIVE`),
          ...subjects.map((subject) => `${subject}: token.devices TOKEN_RESULT_NEGATIVE`),
        ]);
        const [, first] = verdict.checks.filter(({ result }) => result === 'fail');
        expect(first?.reason).toContain('error 4010 "NONCE_NOT_MATCHING: Nonce from request');
      });

      test('an overall token of claims 4.0 alone is refused, in both of its forms', async () => {
        const id = 'nras-claims-4.0-overall';
        const overall = text(id, 'overall.jwt');
        const jwks = utf8(text(id, 'jwks.json'));
        for (const bytes of [utf8(overall), encodeAnswer(overall.trim(), {})]) {
          const verdict = await judge(id, bytes, { crypto, jwks });
          expect(verdict.decision).toBe('refused');
          expect(failuresOf(verdict)).toEqual(['answer: token.submodules TOKEN_SUBMODULE_MISMATCH']);
        }
      });

      test.each([
        ['h100-550.90.07-full', 'nras-v4-claims3.eat.json', 'gpu', '2025-06-11T00:31:00Z'],
        ['ls10-96.10.55.00.01-full', 'nras-v4-switch.eat.json', 'switch', '2025-06-28T23:58:00Z'],
      ] as const)('%s without the key set of its day is not judged', async (id, file, kind, at) => {
        const devices = [chainOf(id, kind)];
        const now = Date.parse(at);
        const verdict = await judge(id, utf8(text(id, file)), { crypto, devices, now });
        expect(verdict).toMatchObject({ decision: 'not-judged', tier: 'none' });
        expect(failuresOf(verdict)).toEqual(['answer: token.signature COLLATERAL_MISSING']);
        const another = utf8(text(POSITIVE, 'jwks.json'));
        const refused = await judge(id, utf8(text(id, file)), { crypto, devices, now, jwks: another });
        expect(failuresOf(refused)).toEqual(['answer: token.signature UNTRUSTED_KEY']);
      });
    });
  }

  describe('claims of version 3.0 as recorded, under a key of ours in place of the lost one', () => {
    const key = mintKey();
    const jwks = keySet(key.jwk);
    const resigned = (id: string, file: string): { readonly bytes: Uint8Array; readonly now: number } => {
      const [[, overall], recordedTokens] = answerOf(id, file);
      const tokens = Object.fromEntries(
        Object.entries(recordedTokens).map(([label, token]) => [label, signToken(key, payloadOf(token))]),
      );
      const claims = payloadOf(overall);
      const bytes = encodeAnswer(signToken(key, { ...claims, submods: digestsOf(tokens) }), tokens);
      return { bytes, now: 1000 * Number(claims['iat']) };
    };

    test('a GPU is accepted', async () => {
      const id = 'h100-550.90.07-full';
      const { bytes, now } = resigned(id, 'nras-v4-claims3.eat.json');
      const verdict = await judge(id, bytes, { devices: [chainOf(id, 'gpu')], jwks, now });
      expect(failuresOf(verdict)).toEqual([]);
      expect(verdict.checks.some(({ reason }) => reason.includes('every claim is known'))).toBe(true);
    });

    test('a switch of the test service is accepted where the policy names it', async () => {
      const id = 'ls10-96.10.55.00.01-full';
      const { bytes, now } = resigned(id, 'nras-v4-switch.eat.json');
      const given = { devices: [chainOf(id, 'switch')], jwks, now };
      const policy: NrasPolicy = { ...POLICY, issuers: ['staging'] };
      expect(failuresOf(await judge(id, bytes, { ...given, policy }))).toEqual([]);
      expect(failuresOf(await judge(id, bytes, given))).toEqual(['answer: token.signature UNTRUSTED_KEY']);
    });
  });

  describe('a recorded request', () => {
    const verifyAs = (id: string, nonce: Uint8Array) =>
      requestOf(id).devices.map((device) =>
        refusalOfAsync(() =>
          verifyDevice(device, {
            crypto: nodeCrypto,
            now: Date.parse(caseOf(id).verifyAt),
            anchors: NVIDIA_ANCHORS,
            nonce,
          }),
        ),
      );

    test('gives a device that verifies here', async () => {
      const request = requestOf('nras-v3-h200-positive');
      expect(request.devices).toHaveLength(1);
      expect(toHex(request.nonce)).toBe(caseOf('nras-v3-h200-positive').expectedNonceHex);
      expect(await Promise.all(verifyAs('nras-v3-h200-positive', request.nonce))).toEqual([undefined]);
    });

    test('of eight devices shows here too that their reports are for another nonce', async () => {
      const id = 'nras-v3-nonce-mismatch';
      const { nonce, devices } = requestOf(id);
      expect(devices).toHaveLength(8);
      const refusals = await Promise.all(verifyAs(id, nonce));
      expect(refusals.map((refusal) => `${String(refusal?.check)} ${String(refusal?.code)}`)).toEqual(
        Array.from({ length: 8 }, () => 'device.nonce NONCE_MISMATCH'),
      );
      const asked = devices[0]!.report.subarray(4, 36);
      expect(await Promise.all(verifyAs(id, asked))).toEqual(Array.from({ length: 8 }, () => undefined));
    });
  });
});

function failuresOf({ checks }: NrasVerdict): readonly string[] {
  return checks
    .filter(({ result }) => result === 'fail')
    .map(({ id, subject, code }) => `${subject}: ${id} ${code}`);
}

function payloadOf(token: string): Json {
  return JSON.parse(fromUtf8(fromBase64Url(token.split('.')[1] ?? ''))) as Json;
}

/** The answer with what a variant changes in its overall token, or without one of its device tokens. */
function changed([[tag, overall], tokens]: Answer, change: Change): Uint8Array {
  if (change.removeDevice !== undefined) {
    const kept = Object.entries(tokens).filter(([label]) => label !== change.removeDevice);
    return utf8(JSON.stringify([[tag, overall], Object.fromEntries(kept)]));
  }
  if (change.jwt === undefined) return encodeAnswer(overall, tokens);
  const [header = '', payload = '', signature = ''] = overall.split('.');
  const edited = [
    change.header ? encodePart(change.header) : header,
    change.set ? encodePart({ ...payloadOf(overall), ...change.set }) : payload,
    change.signature ?? signature,
  ];
  return utf8(JSON.stringify([[tag, edited.join('.')], tokens]));
}
