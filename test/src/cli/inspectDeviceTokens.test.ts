import { describe, expect, test } from '@jest/globals';
import { toBase64Url, utf8 } from '../../../attestation/bytes/bytes.ts';
import { EXIT } from '../../../src/cli/exit.ts';
import { inspectBytes, inspectionJson } from '../../../src/cli/inspect.ts';
import * as nras from '../../support/nrasService.ts';
import * as ocsp from '../../support/ocspAuthority.ts';
import { printed, said, unreadable } from './inspectOutput.ts';

const KEY = nras.mintKey();
const DEVICES = [nras.mintDevice('gpu', 1), nras.mintDevice('gpu', 2)];
const TOKENS = nras.issueTokens(KEY, DEVICES);
const HOSTILE = '\u001b[2J\u202eevil';

const show = (bytes: Uint8Array) => said(inspectBytes(bytes, 'file'));

/** An answer with an overall token about these tokens, or about others. */
function answer(tokens: nras.Tokens, named: nras.Tokens = tokens, overall: nras.Json = {}): Uint8Array {
  return nras.encodeAnswer(nras.signToken(KEY, nras.overallClaims(named, '3.0', overall)), tokens);
}

interface Section {
  readonly title: string;
  readonly entries: readonly Record<string, string>[];
}

function entriesOf(bytes: Uint8Array, title: string): Section['entries'] {
  const { sections } = JSON.parse(inspectionJson(inspectBytes(bytes, 'file'))) as { sections: Section[] };
  return sections.find((section) => section.title === title)?.entries ?? [];
}

describe('an answer of the attestation service', () => {
  test('names its claims by groups, with their whole names for programs', () => {
    const bytes = answer(TOKENS);
    const text = show(bytes);
    for (const title of ['overall header', 'overall claims', 'overall result', 'submodules', 'GPU-0 header', 'GPU-0 claims', 'GPU-0 result', 'GPU-0 device', 'GPU-0 checks (x-nvidia-gpu-…)', 'GPU-0 report (x-nvidia-gpu-attestation-report-…)', 'GPU-0 driver RIM (x-nvidia-gpu-driver-rim-…)', 'GPU-1 VBIOS RIM (x-nvidia-gpu-vbios-rim-…)']) {
      expect(text).toContain(`${title}\n`);
    } // prettier-ignore
    expect(text).not.toContain('unknown claims');
    expect(entriesOf(bytes, 'GPU-0 driver RIM (x-nvidia-gpu-driver-rim-…)')).toContainEqual({
      claim: 'x-nvidia-gpu-driver-rim-fetched',
      value: 'true',
    });
    const times = entriesOf(bytes, 'overall claims').filter(({ claim = '' }) => claim === 'exp');
    expect(times[0]!['value']).toMatch(/^\d{10} \(2026-11-21T12:59:30Z\)$/);
  });

  test.each(['2.0', '3.0', '4.0'] as const)('knows every claim of version %s', (version) => {
    const kinds = [nras.mintDevice('gpu', 1), nras.mintDevice('switch', 2)];
    const bytes = nras.issueAnswer(KEY, kinds, { version });
    expect(show(bytes)).not.toContain('unknown claims');
    expect(show(bytes)).toContain('layout  as the service writes it');
  });

  test('shows claims that are not known here apart', () => {
    const bytes = nras.issueAnswer(KEY, DEVICES, {
      device: { 'x-nvidia-new': { a: [1] }, [HOSTILE]: HOSTILE },
    });
    const text = show(bytes);
    expect(text).toContain('GPU-0 unknown claims\nclaim  x-nvidia-new: {"a":[1]}');
    expect(printed(inspectBytes(bytes, 'file'))).not.toMatch(/[\p{Cf}]|(?!\n)\p{Cc}/u);
    expect(entriesOf(bytes, 'GPU-1 unknown claims')).toContainEqual({ claim: HOSTILE, value: HOSTILE });
  });

  test('says which tokens the overall one names', () => {
    const { 'GPU-0': first = '', 'GPU-1': second = '' } = TOKENS;
    const bytes = answer({ 'GPU-0': second, 'GPU-1': second, 'GPU-3': first }, { ...TOKENS, 'GPU-2': first });
    const states = entriesOf(bytes, 'submodules').map(({ token, state = '' }) => [
      token,
      state.replace(/[0-9a-f]{64}/, 'its digest'),
    ]);
    expect(states).toEqual([
      ['GPU-0', 'NOT that of the token, its digest'],
      ['GPU-1', 'that of the token; computed, not verified'],
      ['GPU-2', 'there is no such token here'],
      ['GPU-3', 'NOT named by the overall token'],
    ]);
  });

  test('with digests of another name, or none, says so', () => {
    const renamed = answer(TOKENS, TOKENS, { submods: nras.digestsOf(TOKENS, 'SHA256') });
    expect(show(renamed)).toContain('called SHA256, not SHA-256; that of the token');
    expect(show(answer(TOKENS, TOKENS, { submods: { 'GPU-0': 7 } }))).toContain('GPU-0  7 (no digest)');
    expect(show(answer(TOKENS, TOKENS, { submods: 'none' }))).toContain('submodules\nunreadable  MALFORMED');
    expect(show(answer(TOKENS, TOKENS, { submods: {} }))).toContain('NOT named by the overall token');
  });

  test('with a token that cannot be read shows the others', () => {
    const text = show(answer({ ...TOKENS, 'GPU-0': 'a.b', [HOSTILE]: 'x.y.z' }, TOKENS));
    expect(text).toContain('GPU-0\nunreadable  MALFORMED: the token is not three parts');
    expect(text).toContain(`token «${HOSTILE}»\nunreadable`);
    expect(text).toContain('GPU-1 result\nmeasres  success');
    expect(text).toContain('layout  the verifier refuses it');
  });

  test.each([
    ['no object of tokens', '[["JWT","a.b.c"],7]'],
    ['another first member', '[["JWT"],{}]'],
    ['a name twice', '[["JWT","a.b.c"],{"GPU-0":"a","GPU-0":"b"}]'],
    ['an overall token that is none', '[["JWT","a.b.c"],{}]'],
    ['too many tokens', JSON.stringify([['JWT', 'a.b.c'], Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`GPU-${i}`, 'a']))])],
  ])('with %s is refused', (_, text) => {
    const refused = unreadable(utf8(text));
    expect(refused?.exit).toBe(EXIT.unreadable);
    expect(refused?.message).toContain('looks like this: answer of NVIDIA’s attestation service');
  }); // prettier-ignore
});

describe('a token alone', () => {
  test.each(['none', 'HS256'])('of algorithm %s is said not to be accepted', (alg) => {
    const text = show(utf8(nras.signToken(KEY, nras.errorClaims(), { alg, kid: undefined, x5c: ['a'] })));
    expect(text).toContain(`alg  ${alg}`);
    expect(text).toContain('not accepted  only ES384');
    expect(text).toContain('other member  x5c: ["a"]');
  });

  test('of version 1 of the interface is shown', () => {
    const claims = { ...nras.times(), sub: 'NVIDIA-GPU-ATTESTATION', 'x-nvidia-attestation-detailed-result': { 'x-nvidia-gpu-arch-check': true } };
    const text = show(utf8(nras.signToken(KEY, claims)));
    expect(text).toContain('sub  NVIDIA-GPU-ATTESTATION');
    expect(text).toContain('attestation-detailed-result: x-nvidia-gpu-arch-check true');
  }); // prettier-ignore

  test('with claims of other kinds than they should be is shown as it is', () => {
    const claims = { iat: 'soon', exp: 1e300, ueid: 'x', eat_nonce: null, measres: '', oemid: [[]] };
    const text = show(utf8(nras.signToken(KEY, claims)));
    for (const says of ['iat  soon', 'exp  1e+300 (second 1e+300)', 'ueid  x', 'eat_nonce  null', 'measres  empty', 'oemid  [[]]']) {
      expect(text).toContain(says);
    }
  }); // prettier-ignore

  test.each([
    ['of two parts', 'eyJhbGciOiJFUzM4NCJ9.e30'],
    ['of four parts', 'eyJhbGciOiJFUzM4NCJ9.e30.e30.e30'],
    ['whose payload is no object', `eyJhbGciOiJFUzM4NCJ9.${toBase64Url(utf8('7'))}.`],
    ['whose payload is no base64url', 'eyJhbGciOiJFUzM4NCJ9.e3.'],
  ])('%s is refused', (_, text) => {
    expect(unreadable(utf8(text))?.message).toContain('looks like this: JSON web token. It cannot be read');
  });
});

describe('a key set', () => {
  test('shows ids and curves, which keys serve, and nothing of a private key', () => {
    const secret = { ...nras.mintKey('secret').jwk, d: 'c2VjcmV0' };
    const foreign = { ...KEY.jwk, kid: 'foreign', x5c: [nras.certificateOf(KEY, nras.mintKey())] };
    const bytes = nras.keySet(KEY.jwk, secret, { ...KEY.jwk, kid: 'p256', crv: 'P-256' }, foreign, {
      kty: 'oct',
      kid: HOSTILE,
      x5c: ['!'],
    });
    const text = show(bytes);
    expect(text).toContain('keys  5');
    expect(text).not.toContain('c2VjcmV0');
    const entries = entriesOf(bytes, 'keys');
    expect(entries.map(({ ES384 }) => ES384!.slice(0, 18))).toEqual([
      'usable',
      'usable',
      'no: UNTRUSTED_KEY:',
      'no: UNTRUSTED_KEY:',
      'no: UNTRUSTED_KEY:',
    ]);
    expect(entries[1]!['private']).toContain('nothing is shown');
    expect(entries[4]!['certificate']).toContain('unreadable');
    expect(printed(inspectBytes(bytes, 'file'))).not.toMatch(/[\p{Cf}]|(?!\n)\p{Cc}/u);
  });

  test('that the verifier refuses is shown and said', () => {
    const twice = nras.keySet(KEY.jwk, KEY.jwk);
    expect(show(twice)).toContain('layout  the verifier refuses it: MALFORMED');
    const odd = show(utf8('{"keys":[{"kty":7,"crv":{}}]}'));
    expect(odd).toContain('key 1  none (7 {}; ES384 no: the set is refused)');
  });

  test.each(['{"keys":"kty","kty":1}', '{"keys":[7],"kty":1}', '{"keys":[{"kty":'])(
    '%s is refused',
    (text) => {
      expect(unreadable(utf8(text))?.message).toContain('looks like this: JSON web key set');
    },
  );
});

describe('an OCSP response', () => {
  const { deviceRoot, deviceIdentity } = ocsp.AUTHORITY;
  const identity = ocsp.certificateOf(deviceIdentity);
  const responder = ocsp.mintResponder(deviceRoot, { purposes: [ocsp.OCSP_SIGNING, ocsp.OCSP_NO_CHECK] });
  const certId = ocsp.encodeCertId(deviceRoot, identity.serial);

  test('says who answers, when, and each status with its window', () => {
    const statements = [
      ocsp.encodeStatement({ certId }),
      ocsp.encodeStatement({ certId, status: ocsp.UNKNOWN, nextUpdate: 'none' }),
      ocsp.encodeStatement({ certId, status: ocsp.revoked(ocsp.NOW, 1) }),
    ];
    const nonce = new Uint8Array(16).fill(7);
    const bytes = ocsp.encodeResponse({ responder, statements, extensions: [ocsp.nonceExtension(nonce)] });
    const text = show(bytes);
    for (const says of ['responder  O=Vouchsafe SIMULATED, CN=OCSP responder', 'statuses  3', `nonce  ${'07'.repeat(16)}`, 'certificate status 1\nserial', 'status  unknown\nvalid  2026-06-01T11:00:00Z to no stated end', 'status  revoked since 2026-06-01T12:00:00Z (keyCompromise)', 'hash  sha384', 'OCSP signing, OCSP no check', 'responder certificate 1']) {
      expect(text).toContain(says);
    }
  }); // prettier-ignore

  test('by name, or by a key that no certificate has', () => {
    const statements = [ocsp.encodeStatement({ certId })];
    const named = { responder, statements, responderId: ocsp.byName(deviceRoot.name), certificates: [] };
    expect(show(ocsp.encodeResponse(named))).toContain('Device Identity');
    const stranger = { responder, statements, responderId: ocsp.byKey(ocsp.generateKey()) };
    expect(show(ocsp.encodeResponse(stranger))).toContain('responder  not among the certificates');
  });

  test.each([1, 2, 3, 5, 6])('that is error %i is no status', (status) => {
    expect(show(ocsp.encodeError(status))).toContain('statuses  none: an error is signed by nobody');
  });

  test('of another type is refused', () => {
    const refused = unreadable(ocsp.wrapBasic(new Uint8Array(4), '1.2.3'));
    expect(refused?.message).toContain('looks like this: OCSP response');
  });
});
