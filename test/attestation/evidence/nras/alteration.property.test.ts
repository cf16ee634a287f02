import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseNrasAnswer } from '../../../../attestation/evidence/nras/answer.ts';
import { parseNrasAnswer } from '../../../../attestation/evidence/nras/parse.ts';
import { verifyNrasAnswer } from '../../../../attestation/evidence/nras/verify.ts';
import { DEFAULT_NRAS_POLICY } from '../../../../attestation/policy/nras.ts';
import {
  deviceClaims,
  encodeAnswer,
  encodePart,
  issueAnswer,
  issueTokens,
  keySet,
  mintDevice,
  mintKey,
  NONCE,
  NOW,
  overallClaims,
  signToken,
} from '../../../support/nrasService.ts';
import { refusalOf, refusalOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const KEY = mintKey();
const JWKS = keySet(KEY.jwk);
const DEVICES = [mintDevice('gpu', 1), mintDevice('switch', 2)];
const TOKENS = issueTokens(KEY, DEVICES);
const OVERALL = signToken(KEY, overallClaims(TOKENS, '3.0'));
const GENUINE = encodeAnswer(OVERALL, TOKENS);
const OPTIONS = { nonce: NONCE, jwks: JWKS, policy: DEFAULT_NRAS_POLICY, now: NOW, crypto: nodeCrypto };
const said = claimsOf(GENUINE);

const judge = (bytes: Uint8Array, jwks = JWKS) =>
  appraiseNrasAnswer(bytes, { ...OPTIONS, jwks, devices: DEVICES });

function claimsOf(bytes: Uint8Array): unknown {
  const { overall, devices } = parseNrasAnswer(bytes);
  return [overall.claims, ...devices.map(({ label, claims }) => [label, claims])];
}

/** Accepted is only what says exactly what the service signed. */
async function sameOrRefused(bytes: Uint8Array): Promise<void> {
  const { decision, checks } = await judge(bytes);
  if (decision === 'accepted') expect(claimsOf(bytes)).toEqual(said);
  else expect(checks.filter(({ result }) => result === 'fail').length).toBeGreaterThan(0);
}

const json = fc.jsonValue({ maxDepth: 3 });

describe('an answer', () => {
  test('as issued is accepted', async () => {
    expect((await judge(GENUINE)).decision).toBe('accepted');
  });

  test(
    'with any byte changed is refused or says the same',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.nat(GENUINE.length - 1),
          fc.integer({ min: 1, max: 255 }),
          async (position, mask) => {
            const altered = GENUINE.slice();
            altered[position] = altered[position]! ^ mask;
            await sameOrRefused(altered);
          },
        ),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'with a slice cut out, doubled or overwritten is refused or says the same',
    async () => {
      const slice = fc.tuple(fc.nat(GENUINE.length), fc.integer({ min: 1, max: 3000 }));
      const filling = fc.oneof(fc.constantFrom('cut', 'double'), fc.uint8Array({ maxLength: 64 }));
      await fc.assert(
        fc.asyncProperty(slice, filling, async ([start, length], change) => {
          const middle = GENUINE.subarray(start, start + length);
          const inner =
            change === 'cut' ? [] : change === 'double' ? [middle, middle] : [change as Uint8Array];
          const parts = [GENUINE.subarray(0, start), ...inner, GENUINE.subarray(start + length)];
          await sameOrRefused(new Uint8Array(Buffer.concat(parts)));
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'with any claim of any token changed is refused, though every part is well formed',
    async () => {
      const parts = [
        { write: (token: string) => encodeAnswer(token, TOKENS), claims: overallClaims(TOKENS, '3.0') },
        ...Object.entries(TOKENS).map(([label], i) => ({
          write: (token: string) => encodeAnswer(OVERALL, { ...TOKENS, [label]: token }),
          claims: deviceClaims(DEVICES[i]!, '3.0'),
        })),
      ];
      const part = fc
        .constantFrom(...parts)
        .chain((chosen) =>
          fc.record({ chosen: fc.constant(chosen), name: fc.constantFrom(...Object.keys(chosen.claims)) }),
        );
      await fc.assert(
        fc.asyncProperty(part, json, async ({ chosen: { claims, write }, name }, value) => {
          fc.pre(JSON.stringify(claims[name]) !== JSON.stringify(value));
          const genuine = signToken(KEY, claims).split('.');
          const edited = [genuine[0], encodePart({ ...claims, [name]: value }), genuine[2]].join('.');
          expect((await judge(write(edited))).decision).toBe('refused');
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'whose service signs anything in place of a claim never crashes, and a required claim is missed',
    async () => {
      const [gpu] = DEVICES as [(typeof DEVICES)[number]];
      const claims = deviceClaims(gpu, '3.0');
      const required = Object.keys(claims).filter((name) => name !== 'jti');
      await fc.assert(
        fc.asyncProperty(fc.constantFrom(...required), json, async (name, value) => {
          fc.pre(JSON.stringify(claims[name]) !== JSON.stringify(value));
          const bytes = issueAnswer(KEY, [gpu], { device: { [name]: value } });
          const verdict = await appraiseNrasAnswer(bytes, { ...OPTIONS, devices: [gpu] });
          const mayVary = ['x-nvidia-gpu-driver-version', 'x-nvidia-gpu-vbios-version', 'nbf', 'iat', 'exp'];
          if (!mayVary.includes(name) && !name.endsWith('cert-chain') && !isEmptyWarning(name, value)) {
            expect(verdict.decision).toBe('refused');
          }
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'of any bytes, any JSON and any claims ends in checks',
    async () => {
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        json.map((value) => utf8(JSON.stringify(value))),
        json.map((value) => encodeAnswer(signToken(KEY, value), { 'GPU-0': signToken(KEY, value) })),
        json.map((value) => encodeAnswer(OVERALL, { 'GPU-0': signToken(KEY, value) })),
        fc.nat(GENUINE.length).map((end) => GENUINE.subarray(0, end)),
      );
      await fc.assert(
        fc.asyncProperty(bytes, async (input) => {
          refusalOf(() => parseNrasAnswer(input));
          await refusalOfAsync(() => verifyNrasAnswer(input, OPTIONS));
          await sameOrRefused(input);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

/** No warning at all may be written as null or as an empty list. */
function isEmptyWarning(name: string, value: unknown): boolean {
  return name === 'x-nvidia-attestation-warning' && Array.isArray(value) && value.length === 0;
}

describe('a key set', () => {
  test(
    'with any byte changed, or of any bytes, gives the same word or none',
    async () => {
      const altered = fc
        .tuple(fc.nat(JWKS.length - 1), fc.integer({ min: 1, max: 255 }))
        .map(([position, mask]) => {
          const bytes = JWKS.slice();
          bytes[position] = bytes[position]! ^ mask;
          return bytes;
        });
      const any = fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        json.map((value) => utf8(JSON.stringify({ keys: [value] }))),
        json.map((value) => utf8(fromUtf8(JWKS).replace('"EC"', JSON.stringify(value)))),
      );
      await fc.assert(
        fc.asyncProperty(fc.oneof(altered, any), async (jwks) => {
          const { decision } = await judge(GENUINE, jwks);
          expect(['accepted', 'refused']).toContain(decision);
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
