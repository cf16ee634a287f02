import { describe, expect, test } from '@jest/globals';
import { toBase64Url, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { parseNrasAnswer } from '../../../../attestation/evidence/nras/parse.ts';
import { refusalOf } from '../../../support/refusal.ts';
import {
  deviceClaims,
  encodeAnswer,
  encodePart,
  errorClaims,
  issueAnswer,
  issueTokens,
  mintDevice,
  mintKey,
  overallClaims,
  signToken,
  times,
  type Json,
  type Tokens,
} from '../../../support/nrasService.ts';

const KEY = mintKey();
const GPU = mintDevice('gpu', 1);
const TOKENS = issueTokens(KEY, [GPU]);
const OVERALL = signToken(KEY, overallClaims(TOKENS, '3.0'));

const json = (value: unknown) => utf8(JSON.stringify(value));
const codeOf = (bytes: Uint8Array) => refusalOf(() => parseNrasAnswer(bytes))?.code ?? 'parsed';
const detailOf = (bytes: Uint8Array) => refusalOf(() => parseNrasAnswer(bytes))?.message;
const withOverall = (changes: Json, tokens: Tokens = TOKENS) =>
  encodeAnswer(signToken(KEY, overallClaims(tokens, '3.0', changes)), tokens);
const withDevice = (claims: Json) => encodeAnswer(OVERALL, { 'GPU-0': signToken(KEY, claims) });

describe('an answer', () => {
  test('gives its tokens, GPUs first, each kind by its number', () => {
    const kinds = ['gpu', 'gpu', 'switch'] as const;
    const devices = kinds.map((kind, i) => mintDevice(kind, i));
    const tokens = issueTokens(KEY, devices);
    const [first = '', second = '', third = ''] = Object.keys(tokens);
    const shuffled = { [third]: tokens[third]!, [second]: tokens[second]!, [first]: tokens[first]! };
    const answer = parseNrasAnswer(issueAnswer(KEY, [], { tokens: shuffled }));
    expect(answer.devices.map(({ label, deviceKind, index }) => [label, deviceKind, index])).toEqual([
      ['GPU-0', 'gpu', 0],
      ['GPU-1', 'gpu', 1],
      ['SWITCH-0', 'switch', 0],
    ]);
    expect(answer.overall.claims).toMatchObject({ kind: 'overall', version: '3.0', result: true });
  });

  test('may have spaces around its JSON', () => {
    const spaced = utf8(`\n ${new TextDecoder().decode(issueAnswer(KEY, [GPU]))} \r\n`);
    expect(parseNrasAnswer(spaced).devices).toHaveLength(1);
  });

  test('may be an overall token alone, which names no device', () => {
    expect(parseNrasAnswer(utf8(`${OVERALL}\n`)).devices).toEqual([]);
    expect(parseNrasAnswer(encodeAnswer(OVERALL, {})).devices).toEqual([]);
  });

  test('of version 1 of the interface is named as such', () => {
    const claims = { ...deviceClaims(GPU, '2.0'), sub: 'NVIDIA-GPU-ATTESTATION', 'x-nvidia-ver': '1.0' };
    const bytes = utf8(signToken(KEY, claims));
    expect(codeOf(bytes)).toBe('UNSUPPORTED');
    expect(detailOf(bytes)).toContain('version 1 of the interface');
  });

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['no UTF-8', Uint8Array.of(0xff, 0xfe)],
    ['an empty list', json([])],
    ['no device tokens', json([['JWT', OVERALL]])],
    ['a third member', json([['JWT', OVERALL], TOKENS, {}])],
    ['another tag', json([['JWS', OVERALL], TOKENS])],
    ['two overall tokens', json([['JWT', OVERALL, OVERALL], TOKENS])],
    ['an error of the service', json({ errorCode: 4003, message: 'INVALID_NONCE' })],
    ['device tokens in a list', json([['JWT', OVERALL], Object.values(TOKENS)])],
    ['a token that is no text', json([['JWT', OVERALL], { 'GPU-0': 7 }])],
    ['a label of another kind', json([['JWT', OVERALL], { 'CPU-0': OVERALL }])],
    ['a label with a leading zero', json([['JWT', OVERALL], { 'GPU-00': OVERALL }])],
    ['a label that is too large', json([['JWT', OVERALL], { 'GPU-100': OVERALL }])],
    ['a label in small letters', json([['JWT', OVERALL], { 'gpu-0': OVERALL }])],
    ['a label twice', utf8(`[["JWT","${OVERALL}"],{"GPU-0":"${OVERALL}","GPU-0":"${OVERALL}"}]`)],
    ['bytes after its JSON', utf8(`${new TextDecoder().decode(issueAnswer(KEY, [GPU]))}x`)],
    ['bytes after a token', utf8(`${OVERALL} x`)],
    [
      'more than 64 devices',
      encodeAnswer(OVERALL, Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`GPU-${i}`, 'x']))),
    ],
    ['more than 2 MiB', new Uint8Array(2 * 1024 * 1024 + 1).fill(0x20)],
  ])('with %s is malformed', (_, bytes) => {
    expect(codeOf(bytes)).toBe('MALFORMED');
  });
});

describe('a token', () => {
  const [header = '', payload = '', signature = ''] = OVERALL.split('.');
  const headed = (value: unknown) => `${encodePart(value)}.${payload}.${signature}`;
  const good = { alg: 'ES384', kid: KEY.kid };

  test.each<[string, string]>([
    ['of two parts', `${header}.${payload}`],
    ['of four parts', `${OVERALL}.${signature}`],
    ['with an empty header', `.${payload}.${signature}`],
    ['with padding', `${header}=.${payload}.${signature}`],
    ['in base64 of the standard alphabet', `${header}.${payload}.${signature.slice(0, -1)}+`],
    ['with a space inside', `${header}. ${payload}.${signature}`],
    ['with unused bits that are set', `${header}.${payload}.AB`],
    ['with a header that is no JSON', `${toBase64Url(utf8('{'))}.${payload}.${signature}`],
    [
      'with a header name twice',
      `${toBase64Url(utf8('{"alg":"none","alg":"ES384","kid":"k"}'))}.${payload}.${signature}`,
    ],
    ['with a payload name twice', `${header}.${toBase64Url(utf8('{"iss":"a","iss":"b"}'))}.${signature}`],
    ['with a header that is a list', headed([])],
    ['without an algorithm', headed({ kid: KEY.kid })],
    ['that brings its key', headed({ ...good, jwk: KEY.jwk })],
    ['that says where its key is', headed({ ...good, jku: 'https://attacker.example/jwks.json' })],
    ['that brings certificates', headed({ ...good, x5c: [] })],
    ['with critical extensions', headed({ ...good, crit: ['b64'], b64: false })],
    ['of another type', headed({ ...good, typ: 'dpop+jwt' })],
    ['with a key id that is no text', headed({ ...good, kid: 7 })],
    ['with an empty key id', headed({ ...good, kid: '' })],
    ['of more than 64 KiB', `${header}.${'A'.repeat(64 * 1024)}.${signature}`],
  ])('%s is malformed', (_, text) => {
    expect(codeOf(encodeAnswer(text, {}))).toBe('MALFORMED');
    expect(codeOf(encodeAnswer(OVERALL, { 'GPU-0': text }))).toBe('MALFORMED');
  });

  test.each(['JWT', 'eat+jwt'])('may say that it is of type %s', (typ) => {
    expect(codeOf(encodeAnswer(headed({ ...good, typ }), {}))).toBe('parsed');
  });
});

describe('the claims of an overall token', () => {
  const digest = (value: unknown) => ({ submods: { 'GPU-0': value } });
  const hex = 'ab'.repeat(32);

  test.each<[string, Json]>([
    ['no subject', { sub: undefined }],
    ['another subject', { sub: 'NVIDIA-SWITCH-ATTESTATION' }],
    ['no issuer', { iss: undefined }],
    ['no result', { 'x-nvidia-overall-att-result': undefined }],
    ['a result as text', { 'x-nvidia-overall-att-result': 'true' }],
    ['no nonce', { eat_nonce: undefined }],
    ['several nonces', { eat_nonce: ['00'.repeat(32), '11'.repeat(32)] }],
    ['a short nonce', { eat_nonce: '00'.repeat(31) }],
    ['no end', { exp: undefined }],
    ['a time as text', { exp: '1793534400' }],
    ['a time with a fraction', { nbf: 1.5 }],
    ['a time before 1970', { iat: -1 }],
    ['a time after 9999', { exp: 253_402_300_800 }],
    ['no submodules', { submods: undefined }],
    ['a submodule of another kind', { submods: { 'CPU-0': ['DIGEST', ['SHA-256', hex]] } }],
    ['a submodule in place of its digest', digest(['JWT', TOKENS['GPU-0']])],
    ['a digest without an algorithm', digest(['DIGEST', [hex]])],
    ['a digest in capital letters', digest(['DIGEST', ['SHA-256', hex.toUpperCase()]])],
    ['a short digest', digest(['DIGEST', ['SHA-256', hex.slice(2)]])],
    ['two digests', digest(['DIGEST', ['SHA-256', hex], ['SHA-256', hex]])],
  ])('with %s are malformed', (_, changes) => {
    expect(codeOf(withOverall(changes))).toBe('MALFORMED');
  });

  test.each(['1.0', '2.1', '5.0', ''])('of version «%s» are not supported', (version) => {
    expect(codeOf(withOverall({ 'x-nvidia-ver': version }))).toBe('UNSUPPORTED');
  });

  test('that are no object are malformed', () => {
    for (const payload of [[], 'text', 7, null]) {
      expect(codeOf(encodeAnswer(signToken(KEY, payload), {}))).toBe('MALFORMED');
    }
  });

  test('may have more claims than are known, and a nonce in capital letters', () => {
    const nonce = 'AB'.repeat(32);
    const { overall } = parseNrasAnswer(withOverall({ eat_nonce: nonce, more: { deep: [1] } }));
    expect(overall.claims.nonce).toBe('ab'.repeat(32));
  });
});

describe('the claims of a device token', () => {
  test.each<[string, Json]>([
    ['no nonce', { eat_nonce: undefined }],
    ['a UEID in hex', { ueid: '0x53' }],
    ['a UEID as a number', { ueid: 7 }],
    ['a UEID with a leading zero', { ueid: '07' }],
    ['secure boot as text', { secboot: 'true' }],
    ['a debug status as a boolean', { dbgstat: false }],
    ['claims of another version', { 'x-nvidia-gpu-claims-version': '4.0' }],
    ['another type of device', { 'x-nvidia-device-type': 'nvswitch' }],
  ])('with %s are malformed', (_, changes) => {
    expect(codeOf(withDevice(deviceClaims(GPU, '3.0', changes)))).toBe('MALFORMED');
  });

  test('may repeat their version and kind', () => {
    const changes = { 'x-nvidia-gpu-claims-version': '3.0', 'x-nvidia-device-type': 'gpu' };
    expect(codeOf(withDevice(deviceClaims(GPU, '3.0', changes)))).toBe('parsed');
  });

  test('of an error need no nonce and no result', () => {
    const [device] = parseNrasAnswer(withDevice(errorClaims(4013, 'SIGNATURE'))).devices;
    expect(device?.claims).toMatchObject({ kind: 'error', code: 4013, message: 'SIGNATURE:' });
  });

  test('of an error without a code are malformed', () => {
    expect(codeOf(withDevice({ ...times(), 'x-nvidia-error-details': { message: 'x' } }))).toBe('MALFORMED');
    expect(codeOf(withDevice({ ...times(), 'x-nvidia-error-details': 'x' }))).toBe('MALFORMED');
  });

  test('with an error of null are those of a device', () => {
    const [device] = parseNrasAnswer(
      withDevice(deviceClaims(GPU, '3.0', { 'x-nvidia-error-details': null })),
    ).devices;
    expect(device?.claims.kind).toBe('device');
  });
});
