import { describe, expect, test } from '@jest/globals';
import { fromBase64Url, toBase64Url, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { verifyNrasAnswer, type NrasVerifyOptions } from '../../../../attestation/evidence/nras/verify.ts';
import { DEFAULT_NRAS_POLICY, type NrasPolicy } from '../../../../attestation/policy/nras.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import {
  certificateOf,
  deviceClaims,
  digestsOf,
  encodeAnswer,
  encodePart,
  errorClaims,
  issueAnswer,
  issueTokens,
  keySet,
  mintDevice,
  mintKey,
  NONCE,
  NOW,
  overallClaims,
  PRODUCTION,
  signToken,
  STAGING,
  type Json,
  type Tokens,
} from '../../../support/nrasService.ts';

const KEY = mintKey();
const OTHER = mintKey('nv-eat-kid-prod-20261121000000000-0002');
const STAGING_KEY = mintKey('nv-eat-kid-stg-20261121000000000-0003');
const DEVICES = [mintDevice('gpu', 1), mintDevice('gpu', 2)];
const [GPU] = DEVICES as [(typeof DEVICES)[number]];
const IAT = NOW - 30_000;

interface Changes extends Partial<Omit<NrasVerifyOptions, 'policy'>> {
  readonly policy?: Partial<NrasPolicy>;
}

const options = (changes: Changes = {}): NrasVerifyOptions => ({
  crypto: nodeCrypto,
  now: NOW,
  nonce: NONCE,
  jwks: keySet(OTHER.jwk, KEY.jwk),
  ...changes,
  policy: { ...DEFAULT_NRAS_POLICY, ...changes.policy },
});

/** `check: code` of the refusal, or that the answer verifies. */
async function outcome(bytes: Uint8Array, changes: Changes = {}): Promise<string> {
  const refusal = await refusalOfAsync(() => verifyNrasAnswer(bytes, options(changes)));
  return refusal ? `${String(refusal.check)}: ${refusal.code}` : 'verified';
}

/** The answer with one token of its two signed, or written, otherwise. */
function altered(part: 'overall' | 'device', write: (claims: Json) => string): Uint8Array {
  const genuine = issueTokens(KEY, DEVICES);
  if (part === 'overall') return encodeAnswer(write(overallClaims(genuine, '3.0')), genuine);
  const tokens = { ...genuine, 'GPU-1': write(deviceClaims(DEVICES[1]!, '3.0')) };
  return encodeAnswer(signToken(KEY, overallClaims(tokens, '3.0')), tokens);
}

const PARTS = ['overall', 'device'] as const;

describe('a genuine answer', () => {
  for (const [name, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
    test(`verifies with ${name}`, async () => {
      const verified = await verifyNrasAnswer(issueAnswer(KEY, DEVICES), options({ crypto }));
      expect(verified.issuer).toBe(PRODUCTION);
      expect(verified.devices.map(({ label }) => label)).toEqual(['GPU-0', 'GPU-1']);
    });
  }

  test('may be signed by several keys of the set', async () => {
    const bytes = altered('device', (claims) => signToken(OTHER, claims));
    expect(await outcome(bytes)).toBe('verified');
  });

  test('verifies though it says that a device failed: that is judged after', async () => {
    const tokens = { 'GPU-0': signToken(KEY, errorClaims()) };
    expect(await outcome(issueAnswer(KEY, [], { tokens }))).toBe('verified');
  });
});

for (const [name, crypto] of Object.entries({ nodeCrypto, portableCrypto })) {
  describe(`the signature of a token, with ${name}`, () => {
    const judge = (bytes: Uint8Array, changes: Changes = {}) => outcome(bytes, { crypto, ...changes });

    test.each(PARTS)('an %s token with the algorithm none is refused', async (part) => {
      const bytes = altered(part, (claims) => `${encodePart({ alg: 'none' })}.${encodePart(claims)}.`);
      expect(await judge(bytes)).toBe('token.signature: ALGORITHM_MISMATCH');
    });

    test.each(PARTS)('an %s token with the shared secret of a local verifier is refused', async (part) => {
      const bytes = altered(part, (claims) => signToken(KEY, claims, { alg: 'HS256', typ: 'JWT' }));
      expect(await judge(bytes)).toBe('token.signature: ALGORITHM_MISMATCH');
    });

    test.each(PARTS)('an %s token that claims another curve is refused', async (part) => {
      const bytes = altered(part, (claims) => signToken(KEY, claims, { alg: 'ES256' }));
      expect(await judge(bytes)).toBe('token.signature: ALGORITHM_MISMATCH');
    });

    test.each(PARTS)('an %s token by a key that is not in the set is refused', async (part) => {
      const stranger = mintKey('nv-eat-kid-prod-20261121000000000-9999');
      expect(await judge(altered(part, (claims) => signToken(stranger, claims)))).toBe(
        'token.signature: UNTRUSTED_KEY',
      );
    });

    test.each(PARTS)(
      'an %s token by a stranger under the id of a key of the set is refused',
      async (part) => {
        const bytes = altered(part, (claims) => signToken(mintKey(KEY.kid), claims));
        expect(await judge(bytes)).toBe('token.signature: SIGNATURE_INVALID');
      },
    );

    test.each(PARTS)('an %s token by another key of the set than it names is refused', async (part) => {
      const bytes = altered(part, (claims) => signToken(KEY, claims, { kid: OTHER.kid }));
      expect(await judge(bytes)).toBe('token.signature: SIGNATURE_INVALID');
    });

    test.each(PARTS)('an %s token without a key id is refused', async (part) => {
      const bytes = altered(part, (claims) => signToken(KEY, claims, { kid: undefined }));
      expect(await judge(bytes)).toBe('token.signature: UNTRUSTED_KEY');
    });

    test.each(PARTS)('an %s token with another payload under the old signature is refused', async (part) => {
      const bytes = altered(part, (claims) => {
        const [header = '', , signature = ''] = signToken(KEY, claims).split('.');
        return `${header}.${encodePart({ ...claims, jti: 'another' })}.${signature}`;
      });
      expect(await judge(bytes)).toBe('token.signature: SIGNATURE_INVALID');
    });

    test.each<[string, (signature: Uint8Array) => Uint8Array]>([
      ['empty', () => new Uint8Array(0)],
      ['cut', (signature) => signature.subarray(0, 95)],
      ['lengthened', (signature) => new Uint8Array([...signature, 0])],
      ['of zeros', () => new Uint8Array(96)],
      ['in DER', (signature) => new Uint8Array([0x30, 0x64, 0x02, 0x30, ...signature.subarray(0, 48)])],
    ])('a signature that is %s is refused', async (_, change) => {
      const bytes = altered('device', (claims) => {
        const [header = '', payload = '', signature = ''] = signToken(KEY, claims).split('.');
        return `${header}.${payload}.${toBase64Url(change(fromBase64Url(signature)))}`;
      });
      expect(await judge(bytes)).toBe('token.signature: SIGNATURE_INVALID');
    });

    test('a point that is not on the curve verifies nothing', async () => {
      const jwks = keySet({ ...KEY.jwk, y: toBase64Url(new Uint8Array(48).fill(1)) });
      expect(await judge(issueAnswer(KEY, DEVICES), { jwks })).toBe('token.signature: SIGNATURE_INVALID');
    });
  });
}

describe('the issuer', () => {
  const issued = (iss: string, key = KEY, only?: 'overall' | 'device') => {
    const tokens = issueTokens(key, DEVICES, '3.0', only === 'overall' ? {} : { iss });
    return issueAnswer(key, [], { tokens, overall: only === 'device' ? {} : { iss } });
  };

  test.each([
    STAGING,
    `${PRODUCTION}/`,
    'http://nras.attestation.nvidia.com',
    'https://NRAS.attestation.nvidia.com',
    'https://nras.attestation.nvidia.com.attacker.example',
    'LOCAL_GPU_VERIFIER',
    '',
  ])('«%s» is refused by a policy of production', async (iss) => {
    expect(await outcome(issued(iss))).toBe('token.signature: UNTRUSTED_KEY');
    expect(await outcome(issued(iss, KEY, 'overall'))).toBe('token.signature: UNTRUSTED_KEY');
    expect(await outcome(issued(iss, KEY, 'device'))).toBe('token.signature: UNTRUSTED_KEY');
  });

  test('of the test service is accepted only where the policy names it', async () => {
    const jwks = keySet(STAGING_KEY.jwk);
    const bytes = issued(STAGING, STAGING_KEY);
    expect(await outcome(bytes, { jwks })).toBe('token.signature: UNTRUSTED_KEY');
    expect(await outcome(bytes, { jwks, policy: { issuers: ['staging'] } })).toBe('verified');
    const verified = await verifyNrasAnswer(bytes, options({ jwks, policy: { issuers: ['staging'] } }));
    expect(verified.issuer).toBe(STAGING);
  });

  test('production under a key of the test service is refused, whatever the set says', async () => {
    const jwks = keySet(STAGING_KEY.jwk);
    const bytes = issued(PRODUCTION, STAGING_KEY);
    expect(await outcome(bytes, { jwks, policy: { issuers: ['production', 'staging'] } })).toBe(
      'token.signature: UNTRUSTED_KEY',
    );
  });
});

describe('the key set', () => {
  const answer = issueAnswer(KEY, DEVICES);
  const judge = (...jwks: readonly Json[]) => outcome(answer, { jwks: keySet(...jwks) });

  test('that is missing leaves the tokens unjudged', async () => {
    expect(await outcome(answer, { jwks: undefined })).toBe('token.signature: COLLATERAL_MISSING');
  });

  test('of another day refuses', async () => {
    expect(await judge(OTHER.jwk)).toBe('token.signature: UNTRUSTED_KEY');
  });

  test('may hold keys of other kinds beside', async () => {
    const rsa = { kty: 'RSA', kid: 'rsa', n: 'AQAB', e: 'AQAB' };
    expect(await judge(rsa, KEY.jwk)).toBe('verified');
  });

  test.each<[string, Json, string]>([
    ['a key of RSA', { kty: 'RSA' }, 'UNTRUSTED_KEY'],
    ['a shared secret', { kty: 'oct', k: 'c2VjcmV0' }, 'UNTRUSTED_KEY'],
    ['a key of another curve', { crv: 'P-256' }, 'UNTRUSTED_KEY'],
    ['a key without a curve', { crv: undefined }, 'UNTRUSTED_KEY'],
    ['a key for encryption', { use: 'enc' }, 'UNTRUSTED_KEY'],
    ['a key of another algorithm', { alg: 'ES256' }, 'UNTRUSTED_KEY'],
    ['a key without y', { y: undefined }, 'MALFORMED'],
    ['a short coordinate', { x: toBase64Url(new Uint8Array(32)) }, 'MALFORMED'],
    ['a coordinate that is no base64url', { x: '+'.repeat(64) }, 'MALFORMED'],
    ['certificates that are none', { x5c: ['AAAA'] }, 'MALFORMED'],
    ['a certificate that is no base64', { x5c: ['*'] }, 'MALFORMED'],
    ['an empty list of certificates', { x5c: [] }, 'MALFORMED'],
    ['a certificate of another key', { x5c: [certificateOf(KEY, OTHER)] }, 'UNTRUSTED_KEY'],
  ])('with %s under the id refuses', async (_, changes, code) => {
    expect(await judge({ ...KEY.jwk, ...changes })).toBe(`token.signature: ${code}`);
  });

  test('with a certificate of the key itself verifies: it vouches for nothing', async () => {
    expect(await judge({ ...KEY.jwk, x5c: [certificateOf(OTHER, KEY)], use: 'sig', alg: 'ES384' })).toBe(
      'verified',
    );
  });

  test('with one id twice is refused, whichever key is good', async () => {
    const impostor = mintKey(KEY.kid);
    for (const keys of [
      [KEY.jwk, impostor.jwk],
      [impostor.jwk, KEY.jwk],
      [KEY.jwk, KEY.jwk],
    ]) {
      expect(await judge(...keys)).toBe('token.signature: MALFORMED');
    }
  });

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no JSON', utf8('{')],
    ['a list', utf8('[]')],
    ['no keys', utf8('{"keys":[]}')],
    ['keys twice', utf8('{"keys":[],"keys":[]}')],
    ['a key without an id', keySet({ ...KEY.jwk, kid: undefined })],
    ['too many keys', keySet(...Array.from({ length: 257 }, (_, i) => ({ ...KEY.jwk, kid: `k${i}` })))],
    ['more than a mebibyte', new Uint8Array(1024 * 1024 + 1).fill(0x20)],
  ])('of %s is malformed', async (_, jwks) => {
    expect(await outcome(answer, { jwks })).toBe('token.signature: MALFORMED');
  });
});

describe('the time', () => {
  const at = (milliseconds: number, policy: Partial<NrasPolicy> = {}) =>
    outcome(issueAnswer(KEY, DEVICES), {
      now: IAT + milliseconds,
      policy: { maximumAgeSeconds: 'any', ...policy },
    });
  const HOUR = 3_600_000;

  test('is good from nbf to the millisecond before exp', async () => {
    expect(await at(0, { clockSkewSeconds: 0 })).toBe('verified');
    expect(await at(HOUR - 1, { clockSkewSeconds: 0 })).toBe('verified');
  });

  test('at exp and after is stale: the skew does not move the end', async () => {
    expect(await at(HOUR, { clockSkewSeconds: 300 })).toBe('token.time: EVIDENCE_STALE');
    expect(await at(10 * HOUR)).toBe('token.time: EVIDENCE_STALE');
  });

  test('before nbf is refused, but for the skew of the policy', async () => {
    expect(await at(-1, { clockSkewSeconds: 0 })).toBe('token.time: COLLATERAL_NOT_YET_VALID');
    expect(await at(-60_000, { clockSkewSeconds: 60 })).toBe('verified');
    expect(await at(-60_001, { clockSkewSeconds: 60 })).toBe('token.time: COLLATERAL_NOT_YET_VALID');
  });

  test('is bounded by the age that the policy accepts', async () => {
    expect(await at(600_000, { maximumAgeSeconds: 600 })).toBe('verified');
    expect(await at(600_001, { maximumAgeSeconds: 600 })).toBe('token.time: EVIDENCE_STALE');
    expect(await at(0, { maximumAgeSeconds: 0, clockSkewSeconds: 0 })).toBe('verified');
  });

  test.each(PARTS)('of an expired %s token is refused', async (part) => {
    const exp = NOW / 1000;
    const bytes = altered(part, (claims) => signToken(KEY, { ...claims, exp }));
    expect(await outcome(bytes)).toBe('token.time: EVIDENCE_STALE');
  });

  test.each(PARTS)('of an %s token from the future is refused', async (part) => {
    for (const name of ['nbf', 'iat']) {
      const bytes = altered(part, (claims) => signToken(KEY, { ...claims, [name]: NOW / 1000 + 61 }));
      expect(await outcome(bytes)).toBe('token.time: COLLATERAL_NOT_YET_VALID');
    }
  });

  test.each(PARTS)('of an %s token that ends before it begins is refused', async (part) => {
    for (const times of [
      { exp: 5, nbf: 5 },
      { exp: 5, nbf: 4, iat: 6 },
    ]) {
      const bytes = altered(part, (claims) => signToken(KEY, { ...claims, ...times }));
      expect(await outcome(bytes)).toBe('token.time: TIME_CONTRADICTION');
    }
  });

  test('of an error token counts as well', async () => {
    const tokens = { 'GPU-0': signToken(KEY, { ...errorClaims(), exp: NOW / 1000 }) };
    expect(await outcome(issueAnswer(KEY, [], { tokens }))).toBe('token.time: EVIDENCE_STALE');
  });
});

describe('the nonce', () => {
  const other = toHex(new Uint8Array(32).fill(0x11));

  test('of another asker is refused', async () => {
    const nonce = new Uint8Array(32).fill(0x11);
    expect(await outcome(issueAnswer(KEY, DEVICES), { nonce })).toBe('token.nonce: NONCE_MISMATCH');
  });

  test.each(PARTS)('of an %s token made for another is refused', async (part) => {
    const bytes = altered(part, (claims) => signToken(KEY, { ...claims, eat_nonce: other }));
    expect(await outcome(bytes)).toBe('token.nonce: NONCE_MISMATCH');
  });

  test('may be in capital letters', async () => {
    const eat_nonce = toHex(NONCE).toUpperCase();
    const bytes = issueAnswer(KEY, DEVICES, { device: { eat_nonce }, overall: { eat_nonce } });
    expect(await outcome(bytes)).toBe('verified');
  });

  test.each([
    ['empty', new Uint8Array(0)],
    ['short', NONCE.subarray(1)],
    ['all zero', new Uint8Array(32)],
  ])('that is %s is none', async (_, nonce) => {
    expect(await outcome(issueAnswer(KEY, DEVICES), { nonce })).toBe('token.nonce: NONCE_INVALID');
  });
});

describe('the submodules', () => {
  const genuine = issueTokens(KEY, DEVICES);
  const judge = (tokens: Tokens, submods: Json) =>
    outcome(issueAnswer(KEY, [], { tokens, overall: { submods } }));
  const MISMATCH = 'token.submodules: TOKEN_SUBMODULE_MISMATCH';

  test('an overall token alone proves nothing', async () => {
    expect(await outcome(utf8(signToken(KEY, overallClaims(genuine, '3.0'))))).toBe(MISMATCH);
    expect(await judge({}, digestsOf(genuine))).toBe(MISMATCH);
    expect(await judge({}, {})).toBe(MISMATCH);
  });

  test('a device token that was removed is missed', async () => {
    const { 'GPU-0': first = '' } = genuine;
    expect(await judge({ 'GPU-0': first }, digestsOf(genuine))).toBe(MISMATCH);
  });

  test('a device token that the overall token does not name is refused', async () => {
    const { 'GPU-0': first = '' } = genuine;
    expect(await judge(genuine, digestsOf({ 'GPU-0': first }))).toBe(MISMATCH);
    expect(await judge(genuine, {})).toBe(MISMATCH);
  });

  test('device tokens that changed places are refused', async () => {
    const { 'GPU-0': first = '', 'GPU-1': second = '' } = genuine;
    expect(await judge({ 'GPU-0': second, 'GPU-1': first }, digestsOf(genuine))).toBe(MISMATCH);
  });

  test('a genuine device token of another answer is refused', async () => {
    const tokens = { ...genuine, 'GPU-1': signToken(KEY, deviceClaims(GPU, '3.0', { jti: 'another' })) };
    expect(await judge(tokens, digestsOf(genuine))).toBe(MISMATCH);
  });

  test('the same claims signed again are another token', async () => {
    const tokens = { ...genuine, 'GPU-1': signToken(KEY, deviceClaims(DEVICES[1]!, '3.0')) };
    expect(await judge(tokens, digestsOf(genuine))).toBe(MISMATCH);
  });

  test.each(['SHA256', 'sha-256', 'SHA-1', 'MD5'])('a digest named %s is refused', async (name) => {
    expect(await judge(genuine, digestsOf(genuine, name))).toBe('token.submodules: ALGORITHM_MISMATCH');
  });
});
