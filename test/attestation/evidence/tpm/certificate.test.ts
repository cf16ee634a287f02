import type { Extension } from '@peculiar/x509';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import {
  certificateSpki,
  readKeyUsage,
  readPurposes,
  readTpmName,
  unpadCertificate,
} from '../../../../attestation/evidence/tpm/certificate.ts';
import { readGoogleInstance } from '../../../../attestation/evidence/tpm/google.ts';
import { parseCertificate } from '../../../../attestation/x509/certificate.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import {
  der,
  flipped,
  generateEc,
  GOOGLE_INSTANCE,
  googleInstance,
  integer,
  issue,
  LEAF,
  padded,
  purposes,
  raw,
  spkiOf,
  tpmAltName,
  usage,
  type Keys,
} from '../../../support/tpmAuthority.ts';

const ALT_NAME = '2.5.29.17';
let keys: Keys;

beforeAll(async () => {
  keys = await generateEc();
});

/** A certificate with these extensions, signed by an EC key for speed; nothing here looks at its signature. */
async function certificateWith(extensions: readonly Extension[], subject = 'CN=minted'): Promise<Uint8Array> {
  const base = { issuer: 'CN=issuer', subjectKeys: keys, signer: keys, noKeyIds: true };
  return issue({ ...base, subject, extensions, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } });
}

async function parsed(extensions: readonly Extension[], subject?: string) {
  return parseCertificate(await certificateWith(extensions, subject));
}

describe('unpadCertificate', () => {
  test('cuts zero padding at the DER length', async () => {
    const certificate = await certificateWith([LEAF]);
    expect(unpadCertificate(padded(certificate))).toEqual(certificate);
    expect(unpadCertificate(certificate)).toEqual(certificate);
    expect(certificateSpki(padded(certificate))).toEqual(await spkiOf(keys));
  });

  test('refuses other bytes behind the certificate, and no certificate', async () => {
    const certificate = padded(await certificateWith([LEAF]));
    certificate[4095] = 1;
    for (const bytes of [certificate, new Uint8Array(), new Uint8Array(16 * 1024 + 1)]) {
      expect(refusalOf(() => unpadCertificate(bytes))?.code).toBe('MALFORMED');
    }
    expect(refusalOf(() => certificateSpki(new Uint8Array(4096)))?.code).toBe('MALFORMED');
  });
});

describe('readKeyUsage and readPurposes', () => {
  test('name the uses that matter', async () => {
    const certificate = await parsed([
      usage('digitalSignature', 'keyAgreement'),
      purposes('1.2.3', '2.23.133.8.3'),
    ]);
    expect([...readKeyUsage(certificate)!]).toEqual(['digitalSignature', 'keyAgreement']);
    expect(readPurposes(certificate)).toEqual(['1.2.3', '2.23.133.8.3']);
  });

  test('are undefined where the certificate limits nothing', async () => {
    const certificate = await parsed([LEAF]);
    expect(readKeyUsage(certificate)).toBeUndefined();
    expect(readPurposes(certificate)).toBeUndefined();
  });

  test('refuse purposes that are no OIDs', async () => {
    const certificate = await parsed([raw('2.5.29.37', der(0x30, integer(1n)))]);
    expect(refusalOf(() => readPurposes(certificate))?.code).toBe('MALFORMED');
  });
});

describe('readTpmName', () => {
  const attribute = (arc: number, text: string, tag = 0x0c) =>
    der(0x30, der(0x06, Uint8Array.of(0x67, 0x81, 0x05, 2, arc)), der(tag, utf8(text)));
  const inName = (...sets: readonly Uint8Array[]) => der(0x30, der(0xa4, der(0x30, ...sets)));
  const all = [attribute(1, 'id:53544D20'), attribute(2, 'ST33', 0x13), attribute(3, 'id:00490008')];

  test('reads names in one set or in several, of either string type', async () => {
    const stm = { manufacturer: 'STM ', model: 'ST33', version: 'id:00490008' };
    for (const name of [inName(der(0x31, ...all)), inName(...all.map((one) => der(0x31, one)))]) {
      expect(readTpmName(await parsed([raw(ALT_NAME, name, true)], ''))).toEqual(stm);
    }
    const short = await parsed([raw(ALT_NAME, tpmAltName({ 1: 'id:41424300', 2: '', 3: '' }))]);
    expect(readTpmName(short)?.manufacturer).toBe('ABC');
  });

  test('is undefined without the extension, or where it names no TPM', async () => {
    expect(readTpmName(await parsed([LEAF]))).toBeUndefined();
    const dns = der(0x30, der(0x82, utf8('minted.example')));
    expect(readTpmName(await parsed([raw(ALT_NAME, dns)]))).toBeUndefined();
  });

  test.each([
    ['an empty subject and no name', undefined, '', 'MALFORMED'],
    ['an empty subject and a name that is not critical', raw(ALT_NAME, tpmAltName()), '', 'MALFORMED'],
    [
      'a critical DNS name',
      raw(ALT_NAME, der(0x30, der(0x82, utf8('a'))), true),
      'CN=a',
      'CERT_CHAIN_INVALID',
    ],
    ['a critical empty name', raw(ALT_NAME, der(0x30), true), 'CN=a', 'CERT_CHAIN_INVALID'],
    ['a manufacturer alone', raw(ALT_NAME, tpmAltName({ 1: 'id:564F5543' })), 'CN=a', 'MALFORMED'],
    [
      'a manufacturer in words',
      raw(ALT_NAME, tpmAltName({ 1: 'Minted', 2: '', 3: '' })),
      'CN=a',
      'MALFORMED',
    ],
    ['a model twice', raw(ALT_NAME, inName(der(0x31, ...all, attribute(2, 'x')))), 'CN=a', 'MALFORMED'],
    ['a model as INTEGER', raw(ALT_NAME, inName(der(0x31, attribute(2, 'x', 0x02)))), 'CN=a', 'MALFORMED'],
    ['an attribute without value', raw(ALT_NAME, inName(der(0x31, der(0x30)))), 'CN=a', 'MALFORMED'],
  ])('refuses %s', async (_corruption, extension, subject, expected) => {
    const certificate = await parsed(extension ? [extension] : [LEAF], subject);
    expect(refusalOf(() => readTpmName(certificate))?.code).toBe(expected);
  });

  test('throws nothing but refusals', async () => {
    const certificate = await parsed([raw(ALT_NAME, tpmAltName(), true)], '');
    const { value } = certificate.extensions.get(ALT_NAME)!;
    fc.assert(
      fc.property(fc.array(fc.nat(8 * value.length), { minLength: 1, maxLength: 4 }), (bits) => {
        const changed = { critical: true, value: flipped(value, ...bits) };
        const extensions = new Map([[ALT_NAME, changed]]);
        refusalOf(() => readTpmName({ ...certificate, extensions }));
      }),
      propertyRuns(500),
    );
  });
});

describe('readGoogleInstance', () => {
  const read = async (value: Uint8Array) => readGoogleInstance(await parsed([raw(GOOGLE_INSTANCE, value)]));

  test('reads numbers of 64 bits and security properties', async () => {
    expect(await read(googleInstance(123_456_789n))).toEqual({
      zone: 'europe-west4-a',
      projectNumber: '123456789',
      projectId: 'minted-project',
      instanceId: '18446744073709551615',
      instanceName: 'minted-instance',
      security: {
        version: 3,
        production: true,
        tpmDataAlwaysEncrypted: false,
        suspendResumeAlwaysDisabled: false,
        vmtdAlwaysDisabled: false,
        alwaysInYarn: false,
      },
    });
    expect((await read(googleInstance(1n, false)))?.security?.production).toBe(false);
  });

  test('is undefined without the extension', async () => {
    expect(readGoogleInstance(await parsed([LEAF]))).toBeUndefined();
  });

  const text = der(0x0c, utf8('x'));
  const members = [text, integer(1n), text, integer(2n), text] as const;
  const security = (...inner: readonly Uint8Array[]) => der(0x30, ...members, der(0xa0, der(0x30, ...inner)));
  test.each([
    ['no SEQUENCE', text, 'MALFORMED'],
    ['four members', der(0x30, ...members.slice(0, 4)), 'MALFORMED'],
    ['seven members', der(0x30, ...members, text, text), 'MALFORMED'],
    ['a zone as INTEGER', der(0x30, integer(1n), ...members.slice(1)), 'MALFORMED'],
    ['a negative project', der(0x30, text, der(0x02, Uint8Array.of(0x80)), ...members.slice(2)), 'MALFORMED'],
    ['a project of 73 bits', der(0x30, text, integer(1n << 72n), ...members.slice(2)), 'MALFORMED'],
    ['an unknown tag of the properties', der(0x30, ...members, der(0xa1, der(0x30))), 'MALFORMED'],
    ['an unknown property', security(der(0xa6, der(0x01, Uint8Array.of(0xff)))), 'UNSUPPORTED'],
    ['a property twice', security(der(0xa0, integer(1n)), der(0xa0, integer(2n))), 'UNSUPPORTED'],
    ['a BOOLEAN of 1', security(der(0xa1, der(0x01, Uint8Array.of(1)))), 'MALFORMED'],
    ['a property of another type', security(der(0xa1, integer(1n))), 'MALFORMED'],
  ])('refuses %s', async (_corruption, value, expected) => {
    const certificate = await parsed([raw(GOOGLE_INSTANCE, value)]);
    expect(refusalOf(() => readGoogleInstance(certificate))?.code).toBe(expected);
  });

  test('throws nothing but refusals', async () => {
    const certificate = await parsed([LEAF]);
    const original = concat(googleInstance());
    fc.assert(
      fc.property(fc.array(fc.nat(8 * original.length), { minLength: 1, maxLength: 4 }), (bits) => {
        const extensions = new Map([
          [GOOGLE_INSTANCE, { critical: false, value: flipped(original, ...bits) }],
        ]);
        refusalOf(() => readGoogleInstance({ ...certificate, extensions }));
      }),
      propertyRuns(500),
    );
  });
});
