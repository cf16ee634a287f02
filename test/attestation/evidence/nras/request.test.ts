import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toBase64, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { parseNrasRequest } from '../../../../attestation/evidence/nras/request.ts';
import { mintDevice, NONCE, type Json } from '../../../support/nrasService.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';

const { certificates } = mintDevice('gpu', 1);
const REPORT = Uint8Array.from({ length: 400 }, (_, i) => [0x11, 0xe0, 0x01][i] ?? i % 256);
const pem = (ders: readonly Uint8Array[]) =>
  ders.map((der) => `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`).join('');
const CHAIN = toBase64(utf8(pem(certificates)));
const ENTRY = { evidence: toBase64(REPORT), certificate: CHAIN };
const REQUEST = { nonce: toHex(NONCE), arch: 'HOPPER', evidence_list: [ENTRY] };

const encode = (value: unknown) => utf8(JSON.stringify(value));
const parse = (value: unknown) => parseNrasRequest(encode(value));
const codeOf = (value: unknown) => refusalOf(() => parse(value))?.code ?? 'parsed';

describe('a request', () => {
  const device = { kind: 'gpu', report: REPORT, certificates };

  test('of versions 2 and 3 gives its devices', () => {
    const second = { ...ENTRY, arch: 'HOPPER', nonce: toHex(NONCE).toUpperCase() };
    const request = parse({ ...REQUEST, evidence_list: [ENTRY, second] });
    expect(request).toEqual({ nonce: NONCE, devices: [device, device], claimsVersion: undefined });
  });

  test('of version 4 names the version of its claims', () => {
    expect(parse({ ...REQUEST, claims_version: '3.0' }).claimsVersion).toBe('3.0');
  });

  test('of version 1 has one device', () => {
    expect(parse({ nonce: toHex(NONCE), arch: 'HOPPER', ...ENTRY }).devices).toEqual([device]);
  });

  test('may hold base64 of hex text, as old clients write', () => {
    const evidence = toBase64(utf8(toHex(REPORT)));
    expect(evidence.startsWith('MTFlMDAx')).toBe(true);
    expect(parse({ ...REQUEST, evidence_list: [{ ...ENTRY, evidence }] }).devices).toEqual([device]);
    expect(parse({ nonce: toHex(NONCE), arch: 'HOPPER', ...ENTRY, evidence }).devices).toEqual([device]);
  });

  test('may hold versions that collectors write beside: hints, and not used', () => {
    const hints = { version: '1.0', driver_version: '550.90.07', vbios_version: '96.00.9F.00.01' };
    expect(parse({ ...REQUEST, evidence_list: [{ ...ENTRY, ...hints }] }).devices).toEqual([device]);
  });

  test.each([
    ['HOPPER', 'gpu'],
    ['BLACKWELL', 'gpu'],
    ['LS10', 'switch'],
  ])('for %s is of kind %s', (arch, kind) => {
    expect(parse({ ...REQUEST, arch }).devices[0]?.kind).toBe(kind);
  });

  test.each(['RUBIN', 'hopper', '', 'constructor'])('for «%s» is not supported', (arch) => {
    expect(codeOf({ ...REQUEST, arch })).toBe('UNSUPPORTED');
  });

  const entry = (changes: Json) => ({ ...REQUEST, evidence_list: [{ ...ENTRY, ...changes }] });
  test.each<[string, unknown]>([
    ['nothing', null],
    ['a list', [ENTRY]],
    ['a text around it', JSON.stringify(REQUEST)],
    ['no nonce', { ...REQUEST, nonce: undefined }],
    ['a short nonce', { ...REQUEST, nonce: '00' }],
    ['no architecture', { ...REQUEST, arch: undefined }],
    ['no devices', { ...REQUEST, evidence_list: [] }],
    ['too many devices', { ...REQUEST, evidence_list: Array.from({ length: 65 }, () => ENTRY) }],
    ['a member that is not known', { ...REQUEST, options: {} }],
    ['both forms', { ...REQUEST, ...ENTRY }],
    ['claims of an unknown version', { ...REQUEST, claims_version: '5.0' }],
    ['a member of an entry that is not known', entry({ report: 'x' })],
    ['an entry of another architecture', entry({ arch: 'LS10' })],
    ['an entry of another nonce', entry({ nonce: '11'.repeat(32) })],
    ['an entry without a certificate', entry({ certificate: undefined })],
    ['evidence in hex', entry({ evidence: toHex(REPORT) })],
    ['evidence in base64url', entry({ evidence: `${ENTRY.evidence.slice(0, -4)}__8=` })],
    ['evidence without padding', entry({ evidence: ENTRY.evidence.replaceAll('=', '') })],
    ['evidence of another start', entry({ evidence: toBase64(Uint8Array.of(0x12, 0xe0, 0x01)) })],
    ['evidence in hex of capital letters', entry({ evidence: toBase64(utf8(toHex(REPORT).toUpperCase())) })],
    ['evidence in hex with a line end', entry({ evidence: toBase64(utf8(`${toHex(REPORT)}\n`)) })],
    ['evidence in hex of hex', entry({ evidence: toBase64(utf8(toHex(utf8(toHex(REPORT))))) })],
    [
      'a report of more than 8192 bytes',
      entry({ evidence: toBase64(new Uint8Array([...REPORT, ...new Uint8Array(8192)])) }),
    ],
    ['evidence that is too long', entry({ evidence: 'A'.repeat(30_000) })],
    ['a chain in plain PEM', entry({ certificate: pem(certificates) })],
    ['a chain that is no UTF-8', entry({ certificate: toBase64(Uint8Array.of(0xff)) })],
    ['a chain that is too long', entry({ certificate: 'A'.repeat(20_000) })],
    ['a certificate that is none', entry({ certificate: toBase64(utf8(pem([Uint8Array.of(1)]))) })],
  ])('with %s is malformed', (_, value) => {
    expect(codeOf(value)).toBe('MALFORMED');
  });

  test('without a certificate in its PEM misses one', () => {
    expect(codeOf(entry({ certificate: toBase64(utf8('no certificate')) }))).toBe('CERT_MISSING');
  });

  test('with a name twice is malformed', () => {
    const text = JSON.stringify(REQUEST).replace('{', `{"nonce":"${'00'.repeat(32)}",`);
    expect(refusalOf(() => parseNrasRequest(utf8(text)))?.code).toBe('MALFORMED');
  });

  test('of more than 4 MiB is malformed', () => {
    const bytes = new Uint8Array(4 * 1024 * 1024 + 1).fill(0x20);
    expect(refusalOf(() => parseNrasRequest(bytes))?.code).toBe('MALFORMED');
  });

  test('with any byte changed is refused with a code or parsed', () => {
    const genuine = encode(REQUEST);
    fc.assert(
      fc.property(fc.nat(genuine.length - 1), fc.integer({ min: 1, max: 255 }), (position, mask) => {
        const altered = genuine.slice();
        altered[position] = altered[position]! ^ mask;
        refusalOf(() => parseNrasRequest(altered));
      }),
      propertyRuns(300),
    );
  });
});
