import { describe, expect, test } from '@jest/globals';
import { generateKeyPairSync } from 'node:crypto';
import type { Anchor } from '../../../attestation/anchors.ts';
import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { parseTimestamp, verifyTimestamp } from '../../../attestation/time/timestamp.ts';
import type { TimestampOptions } from '../../../attestation/time/timestamp.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import { extension, simulatedName } from '../../../enclave/collect/simulated/certificate.ts';
import * as der from '../../../enclave/collect/simulated/der.ts';
import { refusalOf, refusalOfAsync } from '../../support/refusal.ts';
import {
  algorithm,
  attribute,
  mintTimestampAuthority,
  signingCertificateV2,
  TIMESTAMP_OIDS,
  timestampAuthority,
  type AuthorityOptions,
  type SignerKind,
  type TokenChanges,
} from '../../support/timestampAuthority.ts';

const NOW = Date.parse('2026-06-01T12:00:00Z');
const DATA = utf8('example.com/vouchsafe/00\n7\nroot\n');
const authority = timestampAuthority();
const [leaf, intermediate, root] = authority.certificates;

function options(changes: Partial<TimestampOptions> = {}): TimestampOptions {
  return { data: DATA, anchors: [authority.anchor], crypto: nodeCrypto, ...changes };
}

async function codeOf(token: Uint8Array, changes: Partial<TimestampOptions> = {}) {
  return (await refusalOfAsync(() => verifyTimestamp(token, options(changes))))?.code;
}

describe('parseTimestamp', () => {
  test('reads every field', () => {
    const name = simulatedName('Timestamp signer');
    const token = authority.token(DATA, NOW + 120, {
      nonce: Uint8Array.of(0x81, 2),
      afterTime: [
        der.sequence(
          der.smallInteger(2),
          der.element(0x80, Uint8Array.of(5)),
          der.element(0x81, Uint8Array.of(1)),
        ),
        der.element(TAG.boolean, Uint8Array.of(0xff)),
      ],
      atEnd: [
        der.tagged(0, der.tagged(4, name)),
        der.element(0xa1, extension('1.2.3.4', Uint8Array.of(5, 0))),
      ],
    });
    expect(parseTimestamp(token).info).toEqual({
      policy: '1.2.3.4.1',
      imprint: { hash: 'sha256', digest: nodeCrypto.hash('sha256', DATA) },
      serial: Uint8Array.of(7, 0, (NOW + 120) & 0xff),
      time: NOW + 120,
      isFine: true,
      accuracy: 2006,
      ordering: true,
      nonce: Uint8Array.of(0x81, 2),
      tsa: name,
    });
  });

  test.each<[string, TokenChanges, string]>([
    ['indefinite length', {}, 'MALFORMED'],
    ['another version', { version: der.smallInteger(2) }, 'UNSUPPORTED'],
    [
      'SHA-1 imprint',
      { imprintAlgorithm: algorithm(TIMESTAMP_OIDS.sha1), imprint: new Uint8Array(20) },
      'UNSUPPORTED',
    ],
    ['imprint of another length', { imprint: new Uint8Array(31) }, 'MALFORMED'],
    ['genTime without Z', { genTime: '20260601120000' }, 'MALFORMED'],
    ['genTime with an offset', { genTime: '20260601120000+0100' }, 'MALFORMED'],
    ['genTime of the 13th month', { genTime: '20261301120000Z' }, 'MALFORMED'],
    ['fraction with trailing zero', { genTime: '20260601120000.10Z' }, 'MALFORMED'],
    ['fraction without digits', { genTime: '20260601120000.Z' }, 'MALFORMED'],
    [
      'milliseconds of accuracy above 999',
      { afterTime: [der.sequence(der.element(0x80, Uint8Array.of(3, 0xe8)))] },
      'MALFORMED',
    ],
    [
      'negative accuracy',
      { afterTime: [der.sequence(der.element(TAG.integer, Uint8Array.of(0xff)))] },
      'MALFORMED',
    ],
    [
      'unknown critical extension',
      { atEnd: [der.element(0xa1, extension('1.2.3.4', Uint8Array.of(5, 0), true))] },
      'UNSUPPORTED',
    ],
    ['field after the end', { atEnd: [der.tagged(5)] }, 'MALFORMED'],
    ['SignedData of version 1', { signedDataVersion: 1 }, 'UNSUPPORTED'],
    ['another content type', { contentType: '1.2.840.113549.1.7.1' }, 'MALFORMED'],
    ['no signer', { signerInfos: () => [] }, 'MALFORMED'],
    ['two signers', { signerInfos: (signer) => [signer, signer] }, 'MALFORMED'],
    ['digest by SHA-1', { digestAlgorithm: algorithm(TIMESTAMP_OIDS.sha1) }, 'UNSUPPORTED'],
    ['attribute twice', { moreAttributes: [signingCertificateV2(leaf)] }, 'MALFORMED'],
    [
      'attribute with two values',
      { moreAttributes: [attribute('1.2.3', der.smallInteger(1), der.smallInteger(2))] },
      'MALFORMED',
    ],
    ['seventeen certificates', { certificates: Array.from({ length: 17 }, () => root) }, 'MALFORMED'],
    ['a certificate of another kind', { certificates: [der.tagged(1)] }, 'UNSUPPORTED'],
  ])('refuses %s', (name, changes, code) => {
    const token = authority.token(DATA, NOW, changes);
    const bytes = name === 'indefinite length' ? indefinite(token) : token;
    expect(refusalOf(() => parseTimestamp(bytes))?.code).toBe(code);
  });

  test('refuses trailing bytes, and a token over 64 KiB', () => {
    const token = authority.token(DATA, NOW);
    expect(refusalOf(() => parseTimestamp(concat(token, Uint8Array.of(0))))?.code).toBe('MALFORMED');
    expect(refusalOf(() => parseTimestamp(new Uint8Array(64 * 1024 + 1)))?.code).toBe('MALFORMED');
  });
});

/** BER: the outermost length left open, ended by two zero bytes. */
function indefinite(token: Uint8Array): Uint8Array {
  return concat(Uint8Array.of(0x30, 0x80), token.subarray(4), Uint8Array.of(0, 0));
}

describe('verifyTimestamp', () => {
  test.each<SignerKind>(['rsa', 'rsa-named', 'rsa-pss', 'ecdsa-p256', 'ecdsa-p384', 'ecdsa-p521', 'ed25519'])(
    'accepts a token signed with %s',
    async (kind) => {
      const other = mintTimestampAuthority({ kind });
      for (const crypto of [nodeCrypto, portableCrypto]) {
        const anchors = [other.anchor];
        const verified = await verifyTimestamp(other.token(DATA, NOW), options({ anchors, crypto }));
        expect(verified).toMatchObject({ time: NOW, anchor: other.anchor });
        expect(verified.chain).toHaveLength(3);
      }
    },
  );

  test.each(['root', 'intermediate', 'signer'] as const)('accepts a pinned %s', async (which) => {
    const anchors = [authority.anchors[which]];
    const verified = await verifyTimestamp(authority.token(DATA, NOW), options({ anchors }));
    expect(verified.anchor).toEqual(anchors[0]);
  });

  test('a signer that is named by its key identifier', async () => {
    expect(await codeOf(authority.token(DATA, NOW, { byKeyId: true }))).toBeUndefined();
  });

  test('certificates that the token lacks come from the caller', async () => {
    const token = authority.token(DATA, NOW, { certificates: [] });
    expect(await codeOf(token)).toBe('UNTRUSTED_ROOT');
    expect(await codeOf(token, { certificates: authority.certificates })).toBeUndefined();
  });

  test('one second either way is assumed where no accuracy is stated', async () => {
    const verified = await verifyTimestamp(authority.token(DATA, NOW), options());
    expect([verified.earliest, verified.latest]).toEqual([NOW - 1000, NOW + 1000]);
  });

  test('the stated accuracy widens the time, and a fraction is rounded away from it', async () => {
    const accuracy = der.sequence(der.smallInteger(3));
    const token = authority.token(DATA, NOW, { genTime: '20260601120000.1239Z', afterTime: [accuracy] });
    const verified = await verifyTimestamp(token, options());
    expect([verified.earliest, verified.latest]).toEqual([NOW + 123 - 3000, NOW + 124 + 3000]);
  });

  test('the nonce, with leading zeros as without', async () => {
    const token = authority.token(DATA, NOW, { nonce: Uint8Array.of(9, 8) });
    expect(await codeOf(token, { nonce: Uint8Array.of(0, 9, 8) })).toBeUndefined();
    expect(await codeOf(token, { nonce: Uint8Array.of(9, 9) })).toBe('NONCE_MISMATCH');
    expect(await codeOf(authority.token(DATA, NOW), { nonce: Uint8Array.of(9) })).toBe('NONCE_MISMATCH');
  });

  test('other data refuses, and is not asked for where only the time is wanted', async () => {
    const token = authority.token(DATA, NOW);
    expect(await codeOf(token, { data: utf8('other') })).toBe('TIMESTAMP_MISMATCH');
    expect(await codeOf(token, { data: 'any' })).toBeUndefined();
  });

  test('an authority that is not pinned, or is pinned in another role', async () => {
    const token = authority.token(DATA, NOW);
    const elsewhere: Anchor = { ...authority.anchor, role: 'nvidia-rim' };
    expect(await codeOf(token, { anchors: [] })).toBe('UNTRUSTED_ROOT');
    expect(await codeOf(token, { anchors: [elsewhere] })).toBe('UNTRUSTED_ROOT');
    expect(await codeOf(mintTimestampAuthority().token(DATA, NOW))).toBe('UNTRUSTED_ROOT');
  });

  const digestOf = (digest: Uint8Array) => attribute(TIMESTAMP_OIDS.messageDigest, der.octetString(digest));
  const type = attribute(TIMESTAMP_OIDS.contentType, der.oid(TIMESTAMP_OIDS.tstInfo));
  test.each<[string, TokenChanges, string]>([
    [
      'signed by another key',
      { signedBy: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey },
      'SIGNATURE_INVALID',
    ],
    [
      'another signed digest',
      {
        attributes: (digest, own) => [
          type,
          digestOf(digest.map((byte) => byte ^ 1)),
          signingCertificateV2(own),
        ],
      },
      'SIGNATURE_INVALID',
    ],
    ['no signed digest', { attributes: (_, own) => [type, signingCertificateV2(own)] }, 'SIGNATURE_INVALID'],
    [
      'no signed content type',
      { attributes: (digest, own) => [digestOf(digest), signingCertificateV2(own)] },
      'MALFORMED',
    ],
    ['no named certificate', { attributes: (digest) => [type, digestOf(digest)] }, 'MALFORMED'],
    [
      'certificate named by SHA-1 alone',
      {
        attributes: (digest) => [
          type,
          digestOf(digest),
          attribute(TIMESTAMP_OIDS.signingCertificate, der.sequence()),
        ],
      },
      'UNSUPPORTED',
    ],
    [
      'another named certificate',
      { attributes: (digest) => [type, digestOf(digest), signingCertificateV2(intermediate)] },
      'CERT_CHAIN_INVALID',
    ],
    [
      'signature algorithm of SHA-1',
      { signatureAlgorithm: der.sequence(der.oid('1.2.840.10045.4.1')) },
      'UNSUPPORTED',
    ],
    [
      'RSA named over an EC key',
      { signatureAlgorithm: algorithm('1.2.840.113549.1.1.1') },
      'SIGNATURE_INVALID',
    ],
  ])('refuses: %s', async (_, changes, code) => {
    expect(await codeOf(authority.token(DATA, NOW, changes))).toBe(code);
  });

  test('the information exchanged for another of the same length', async () => {
    const token = authority.token(DATA, NOW);
    const at = Buffer.from(token).indexOf('20260601120000Z');
    const backdated = Uint8Array.from(token);
    backdated.set(utf8('2025'), at);
    expect(await codeOf(backdated)).toBe('SIGNATURE_INVALID');
  });

  test.each<[string, AuthorityOptions, string]>([
    ['without a purpose', { purposes: [] }, 'CERT_CHAIN_INVALID'],
    ['of another purpose', { purposes: [TIMESTAMP_OIDS.codeSigning] }, 'CERT_CHAIN_INVALID'],
    [
      'of two purposes',
      { purposes: [TIMESTAMP_OIDS.timeStamping, TIMESTAMP_OIDS.codeSigning] },
      'CERT_CHAIN_INVALID',
    ],
    ['whose purpose is not critical', { critical: false }, 'CERT_CHAIN_INVALID'],
    [
      'below an authority of another purpose',
      { authorityPurposes: [TIMESTAMP_OIDS.codeSigning] },
      'CERT_CHAIN_INVALID',
    ],
    ['that had expired at genTime', { notAfter: new Date(NOW - 1000) }, 'CERT_EXPIRED'],
    ['that was not yet valid at genTime', { notBefore: new Date(NOW + 1000) }, 'CERT_EXPIRED'],
  ])('refuses a signing certificate %s', async (_, changes, code) => {
    const other = mintTimestampAuthority(changes);
    expect(await codeOf(other.token(DATA, NOW), { anchors: [other.anchor] })).toBe(code);
  });

  test('accepts an authority that is restricted to timestamps', async () => {
    const other = mintTimestampAuthority({ authorityPurposes: [TIMESTAMP_OIDS.timeStamping] });
    expect(await codeOf(other.token(DATA, NOW), { anchors: [other.anchor] })).toBeUndefined();
  });

  test('a signing certificate that was revoked by then is refused; one superseded later was valid then', async () => {
    const token = authority.token(DATA, NOW);
    const day = 86_400_000;
    const superseded = 4;
    const crl = (since: number, thisUpdate: number) => ({
      crls: [authority.crl(since, thisUpdate, superseded)],
    });
    expect(await codeOf(token, crl(NOW - day, NOW - day))).toBe('CERT_REVOKED');
    expect(await codeOf(token, crl(NOW - day, NOW + day))).toBe('CERT_REVOKED');
    expect(await codeOf(token, crl(NOW + day, NOW + 2 * day))).toBeUndefined();
  });

  test('lists of other issuers say nothing, forged ones refuse', async () => {
    const token = authority.token(DATA, NOW);
    const list = authority.crl(NOW - 1000, NOW);
    expect(await codeOf(token, { crls: [list.with(-1, list.at(-1)! ^ 1)] })).not.toBeUndefined();
    const other = mintTimestampAuthority();
    const foreign = { anchors: [other.anchors.signer], crls: [list] };
    expect(await codeOf(other.token(DATA, NOW), foreign)).toBeUndefined();
  });
});
