import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { parseRuntimeClaims } from '../../../../attestation/evidence/azure/claims.ts';
import { parseHclReport, type HclReport } from '../../../../attestation/evidence/azure/parse.ts';
import {
  claimsOf,
  CONFIGURATION,
  mintHclReport,
  modulus,
  rsaJwk,
  VM_ID,
  type HclOptions,
} from '../../../support/hclReport.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const code = (bytes: Uint8Array) => refusalOf(() => parseHclReport(bytes))?.code;
const edited = (offset: number, value: number) =>
  mintHclReport({ edit: (view) => view.setUint32(offset, value, true) });
const claimsCode = (claims: Record<string, unknown>) =>
  refusalOf(() => parseRuntimeClaims(utf8(JSON.stringify(claims))))?.code;
const configured = (changes: Record<string, unknown>) =>
  claimsOf({ 'vm-configuration': { ...CONFIGURATION, ...changes } });

function parsedOrRefused(bytes: Uint8Array): HclReport | Refusal {
  try {
    return parseHclReport(bytes);
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

describe('parseHclReport', () => {
  test.each([
    ['snp', 1184, 0x50],
    ['tdx', 1024, 128],
  ] as const)('reads a report of %s', (platform, size, offset) => {
    const report = parseHclReport(mintHclReport({ platform }));
    expect(report).toMatchObject({ platform, version: 2, hash: 'sha256' });
    expect(report.hardwareReport).toHaveLength(size);
    expect(report.reportData).toEqual(report.hardwareReport.subarray(offset, offset + 64));
    expect(JSON.parse(Buffer.from(report.claimsBytes).toString())).toEqual(claimsOf());
  });

  test.each([
    ['sha256', 1],
    ['sha384', 2],
    ['sha512', 3],
  ] as const)('reads hash %s of type %i', (hash, type) => {
    expect(parseHclReport(edited(0x4cc, type)).hash).toBe(hash);
  });

  test('reads version 1, and passes over whatever follows the claims', () => {
    expect(parseHclReport(edited(0x04, 1)).version).toBe(1);
    const claims = claimsOf();
    const cut = parseHclReport(mintHclReport({ claims, padding: new Uint8Array() }));
    expect(parseHclReport(mintHclReport({ claims, padding: new Uint8Array(999).fill(0x7d) }))).toEqual(cut);
  });

  const size = mintHclReport({ padding: new Uint8Array() }).length;
  test.each<[string, Uint8Array, string]>([
    ['no bytes', new Uint8Array(), 'MALFORMED'],
    ['another signature', edited(0x00, 0x424c4348), 'MALFORMED'],
    ['version 0', edited(0x04, 0), 'UNSUPPORTED'],
    ['version 3', edited(0x04, 3), 'UNSUPPORTED'],
    ['a size of one byte less', edited(0x08, size - 1), 'MALFORMED'],
    ['a size of one byte more', edited(0x08, size + 1), 'MALFORMED'],
    ['the size of the hardware report', edited(0x08, 1184), 'MALFORMED'],
    ['request type 1, a key release', edited(0x0c, 1), 'UNSUPPORTED'],
    ['request type 3', edited(0x0c, 3), 'UNSUPPORTED'],
    ['a status', edited(0x10, 1), 'MALFORMED'],
    ['a reserved word', edited(0x1c, 1), 'MALFORMED'],
    ['runtime data of one byte less', edited(0x4c0, size - 0x4c0 - 1), 'MALFORMED'],
    ['runtime data of version 2', edited(0x4c4, 2), 'UNSUPPORTED'],
    ['no hardware report', edited(0x4c8, 0), 'UNSUPPORTED'],
    ['a VBS report', edited(0x4c8, 1), 'UNSUPPORTED'],
    ['a report of a VM without hardware protection', edited(0x4c8, 3), 'UNSUPPORTED'],
    ['an SNP report that is said to be a TDREPORT', edited(0x4c8, 4), 'MALFORMED'],
    ['hash type 0', edited(0x4cc, 0), 'UNSUPPORTED'],
    ['hash type 4', edited(0x4cc, 4), 'UNSUPPORTED'],
    ['claims of one byte less', edited(0x4d0, size - 0x4d4 - 1), 'MALFORMED'],
    ['claims of 4 GiB', edited(0x4d0, 0xffffffff), 'MALFORMED'],
    ['more than 16 KiB', mintHclReport({ padding: new Uint8Array(16 * 1024) }), 'MALFORMED'],
  ])('refuses a report with %s', (_corruption, bytes, expected) => {
    expect(code(bytes)).toBe(expected);
  });

  test('refuses sizes that agree with each other and not with the claims', () => {
    const shorter = mintHclReport({
      edit: (view) => {
        for (const offset of [0x08, 0x4c0, 0x4d0]) {
          view.setUint32(offset, view.getUint32(offset, true) - 1, true);
        }
      },
    });
    expect(code(shorter)).toBe('MALFORMED');
    const beyond = mintHclReport({
      padding: new Uint8Array(),
      edit: (view) => {
        for (const offset of [0x08, 0x4c0, 0x4d0]) {
          view.setUint32(offset, view.getUint32(offset, true) + 1, true);
        }
      },
    });
    expect(code(beyond)).toBe('MALFORMED');
  });

  test('refuses bytes between a TDREPORT and the runtime data', () => {
    for (const offset of [0x420, 0x4bf]) {
      const bytes = mintHclReport({ platform: 'tdx', edit: (view) => view.setUint8(offset, 1) });
      expect(code(bytes)).toBe('MALFORMED');
    }
  });

  test.each<HclOptions>([{ platform: 'snp' }, { platform: 'tdx' }])(
    'cut anywhere, it is refused: %o',
    (options) => {
      const bytes = mintHclReport({ ...options, padding: new Uint8Array() });
      fc.assert(
        fc.property(fc.nat(bytes.length - 1), (length) => {
          expect(code(bytes.subarray(0, length))).toBe('MALFORMED');
        }),
        propertyRuns(200),
      );
    },
  );

  test(
    'throws nothing but refusals, and reads changed claims only out of changed claims',
    () => {
      const bytes = mintHclReport();
      const original = parseHclReport(bytes);
      const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
          const forged = bytes.slice();
          for (const [offset, mask] of changes) forged[offset] = forged[offset]! ^ mask;
          const parsed = parsedOrRefused(forged);
          if (parsed instanceof Refusal) return;
          if (toHex(parsed.claimsBytes) !== toHex(original.claimsBytes)) return;
          expect(parsed.claims).toEqual(original.claims);
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'any bytes behind a good header are read or refused',
    () => {
      fc.assert(
        fc.property(fc.string({ maxLength: 300, unit: 'binary' }), (claims) => {
          expect(parsedOrRefused(mintHclReport({ claims }))).toBeInstanceOf(Refusal);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('parseRuntimeClaims', () => {
  test('reads keys, configuration and user data', () => {
    const userData = Uint8Array.from({ length: 64 }, (_, i) => i * 3);
    for (const text of [toHex(userData), toHex(userData).toUpperCase()]) {
      const claims = parseRuntimeClaims(utf8(JSON.stringify(claimsOf({ 'user-data': text }))));
      expect(claims.userData).toEqual(userData);
      expect(claims.ak).toEqual({ n: modulus(0xa0), e: Uint8Array.of(1, 0, 1) });
      expect(claims.ek?.n).toEqual(modulus(0xb0));
      expect(claims.unknown).toEqual([]);
      expect(claims.vm).toEqual({
        secureBoot: true,
        consoleEnabled: false,
        interactiveConsoleEnabled: false,
        tpmEnabled: true,
        tpmPersisted: true,
        filteredVpciDevicesAllowed: false,
        rootCertThumbprint: '',
        currentTime: undefined,
        vmUniqueId: VM_ID.toLowerCase(),
      });
    }
  });

  test('takes what early paravisors leave out, and an attestation key that may «encrypt»', () => {
    const key = { ...rsaJwk('HCLAkPub', modulus(0xa0)), key_ops: ['encrypt'] };
    const vm = { 'console-enabled': true, 'secure-boot': true, 'tpm-enabled': true, vmUniqueId: VM_ID };
    const early = { keys: [key], 'vm-configuration': { ...vm, 'current-time': 1678652405 } };
    const claims = parseRuntimeClaims(utf8(JSON.stringify(early)));
    expect(claims).toMatchObject({ ek: undefined, userData: undefined, unknown: [] });
    expect(claims.vm).toMatchObject({ currentTime: 1678652405, tpmPersisted: undefined });
  });

  test('keeps the names of claims that it does not know', () => {
    const claims = { ...configured({ 'live-migration': true }), firmware: { a: [1] } };
    const { unknown } = parseRuntimeClaims(utf8(JSON.stringify(claims)));
    expect(unknown).toEqual(['firmware', 'vm-configuration.live-migration']);
  });

  test.each<[string, Record<string, unknown>]>([
    ['no keys', claimsOf({ keys: undefined })],
    ['an empty list of keys', claimsOf({ keys: [] })],
    ['no attestation key', claimsOf({ keys: [rsaJwk('HCLEkPub', modulus(0xb0))] })],
    [
      'two attestation keys',
      claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0)), rsaJwk('HCLAkPub', modulus(0xb0))] }),
    ],
    [
      'the same key twice',
      claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0)), rsaJwk('HCLAkPub', modulus(0xa0))] }),
    ],
    [
      'three keys',
      claimsOf({ keys: ['HCLAkPub', 'HCLEkPub', 'HCLEkPub'].map((kid) => rsaJwk(kid, modulus(0xa0))) }),
    ],
    ['a key by another name', claimsOf({ keys: [rsaJwk('HCLTransferKey', modulus(0xa0))] })],
    ['a key without a name', claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), kid: undefined }] })],
    ['an elliptic key', claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), kty: 'EC' }] })],
    ['a private key', claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), d: 'AQAB' }] })],
    ['exponent 3', claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), e: 'Aw' }] })],
    ['a modulus of 2040 bits', claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0, 255))] })],
    ['a modulus of 2047 bits', claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0).with(0, 0x7f))] })],
    [
      'a modulus with a leading zero',
      claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0, 257).with(0, 0))] }),
    ],
    ['a modulus of 4097 bits', claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0, 513).with(0, 1))] })],
    ['an even modulus', claimsOf({ keys: [rsaJwk('HCLAkPub', modulus(0xa0).with(255, 2))] })],
    [
      'a modulus in padded base64',
      claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), n: 'AQAB==' }] }),
    ],
    ['an empty modulus', claimsOf({ keys: [{ ...rsaJwk('HCLAkPub', modulus(0xa0)), n: '' }] })],
    ['no configuration', claimsOf({ 'vm-configuration': undefined })],
    ['no word on Secure Boot', configured({ 'secure-boot': undefined })],
    ['Secure Boot as text', configured({ 'secure-boot': 'true' })],
    ['no word on the console', configured({ 'console-enabled': undefined })],
    ['no VM id', configured({ vmUniqueId: undefined })],
    ['a VM id that is no GUID', configured({ vmUniqueId: '0123' })],
    ['a thumbprint with a line break', configured({ 'root-cert-thumbprint': 'a\n' })],
    ['an unknown object in the configuration', configured({ x: { y: 1 } })],
    ['an unknown name with a line break', configured({ 'x\ny': 1 })],
    ['an empty unknown name', { ...claimsOf(), '': 1 }],
    ['user data of 63 bytes', claimsOf({ 'user-data': '00'.repeat(63) })],
    ['user data of 65 bytes', claimsOf({ 'user-data': '00'.repeat(65) })],
    ['empty user data', claimsOf({ 'user-data': '' })],
    ['user data that is no hex', claimsOf({ 'user-data': 'zz'.repeat(64) })],
    ['null user data', claimsOf({ 'user-data': null })],
  ])('refuses claims with %s', (_corruption, claims) => {
    expect(claimsCode(claims)).toBe('MALFORMED');
  });

  const text = JSON.stringify(claimsOf());
  test.each([
    ['no text', ''],
    ['a name twice', text.replace('"user-data"', '"user-data":"","user-data"')],
    ['a name twice, once escaped', text.replace('"user-data"', '"user\\u002ddata":"","user-data"')],
    ['a key twice in a key', text.replace('"n":', '"n":"AQAB","n":')],
    ['text after the end', `${text}{}`],
    ['a byte order mark', `\ufeff${text}`],
    ['an array', `[${text}]`],
    ['a NUL behind the end', `${text}\0`],
    ['null', 'null'],
  ])('refuses %s', (_corruption, claims) => {
    expect(refusalOf(() => parseRuntimeClaims(utf8(claims)))?.code).toBe('MALFORMED');
  });

  test('refuses what is not UTF-8', () => {
    const bytes = utf8(text);
    bytes[text.indexOf('sign')] = 0xff;
    expect(refusalOf(() => parseRuntimeClaims(bytes))?.code).toBe('MALFORMED');
  });

  test(
    'any JSON is read or refused',
    () => {
      const names = fc.constantFrom('keys', 'vm-configuration', 'user-data', 'x', 'toString', 'constructor');
      fc.assert(
        fc.property(fc.dictionary(names, fc.jsonValue()), (changes) => {
          const outcome = claimsCode({ ...claimsOf(), ...changes });
          expect([undefined, 'MALFORMED']).toContain(outcome);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
