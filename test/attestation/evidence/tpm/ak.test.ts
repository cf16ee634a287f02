import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { AnchorRole } from '../../../../attestation/anchors.ts';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { verifyAk, verifyAkCertificate, type AkClaims } from '../../../../attestation/evidence/tpm/ak.ts';
import type { TpmChainOptions } from '../../../../attestation/evidence/tpm/chain.ts';
import { verifyEkCertificate } from '../../../../attestation/evidence/tpm/ek.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import {
  AK_EXTENSIONS,
  AK_PURPOSE,
  CA_EXTENSIONS,
  CA_NAME,
  EK_PURPOSE,
  flipped,
  generateEc,
  generateRsa,
  GOOGLE_INSTANCE,
  googleInstance,
  issue,
  LEAF,
  mintTpmAuthority,
  NOW,
  padded,
  purposes,
  raw,
  ROOT_NAME,
  spkiOf,
  tpmAltName,
  usage,
  type Issuing,
  type Keys,
  type TpmAuthority,
} from '../../../support/tpmAuthority.ts';

const ROLES: readonly AnchorRole[] = ['azure-vtpm'];
const ALT_NAME = '2.5.29.17';
const CRL_DISTRIBUTION_POINTS = '2.5.29.31';

let authority: TpmAuthority;
let keys: Keys;
let rsaKeys: Keys;
let leaf: Uint8Array;
let spki: Uint8Array;
let options: TpmChainOptions;

beforeAll(async () => {
  [authority, keys, rsaKeys] = await Promise.all([mintTpmAuthority(), generateEc(), generateRsa()]);
  leaf = await authority.issueLeaf(keys);
  spki = await spkiOf(keys);
  const { anchor } = authority;
  const collateral = { certificates: [], crls: [], revocation: 'when-present' } as const;
  options = { crypto: nodeCrypto, now: NOW, anchors: [anchor], ...collateral };
});

const chainOf = (certificate: Uint8Array) => [certificate, authority.ca, authority.root];

async function refusalFor(
  certificates: readonly Uint8Array[],
  changes: Partial<TpmChainOptions> = {},
  roles = ROLES,
) {
  const refusal = await refusalOfAsync(() =>
    verifyAkCertificate(certificates, roles, { ...options, ...changes }),
  );
  if (refusal) expect(refusal.check).toBe('cpu.vtpm-key');
  return refusal?.code;
}

const leafWith = (changes: Partial<Issuing>) => authority.issueLeaf(keys, changes);

describe('verifyAkCertificate', () => {
  test('leads to the pinned root, with the root in the evidence or among the added certificates', async () => {
    const { ca, root, anchor } = authority;
    for (const [carried, added] of [
      [[leaf, ca, root], []],
      [[leaf, root, ca], []],
      [[leaf, ca], [root]],
      [[leaf], [root, ca]],
      [[padded(leaf)], [new Uint8Array(7), root, ca]],
    ] as const) {
      const verified = await verifyAkCertificate(carried, ROLES, { ...options, certificates: added });
      expect(verified.spki).toEqual(spki);
      expect(verified.anchor).toBe(anchor);
      expect(verified.tpm).toBeUndefined();
      expect(verified.instance).toBeUndefined();
    }
  });

  test('authorities of one name are told apart by key identifier, and without one by signature', async () => {
    const otherKeys = await generateRsa();
    const other = { subject: CA_NAME, issuer: ROOT_NAME, subjectKeys: otherKeys, signer: authority.rootKeys };
    const sibling = await issue({ ...other, extensions: CA_EXTENSIONS });
    const anonymous = await issue({ ...other, extensions: CA_EXTENSIONS, noKeyIds: true });
    const plainLeaf = await leafWith({ noKeyIds: true });
    for (const certificate of [leaf, plainLeaf]) {
      const chain = [certificate, sibling, anonymous, authority.ca, authority.root];
      expect((await verifyAkCertificate(chain, ROLES, options)).spki).toEqual(spki);
      expect(await refusalFor([certificate, anonymous, authority.root])).toBe('CERT_CHAIN_INVALID');
    }
    expect(await refusalFor([leaf, sibling, authority.root])).toBe('CERT_MISSING');
    expect(await refusalFor([plainLeaf, sibling, authority.root])).toBe('CERT_CHAIN_INVALID');
  });

  test('an authority that is in date is preferred to an expired one of the same key', async () => {
    const renewed = {
      subject: CA_NAME,
      issuer: ROOT_NAME,
      subjectKeys: authority.caKeys,
      signer: authority.rootKeys,
    };
    const notAfter = new Date('2026-01-01T00:00:00Z');
    const expired = await issue({ ...renewed, extensions: CA_EXTENSIONS, notAfter });
    expect(await refusalFor([leaf, expired, authority.root])).toBe('CERT_EXPIRED');
    expect(await refusalFor([leaf, expired, authority.root, authority.ca])).toBeUndefined();
  });

  test('a look-alike root, another role, no root and no certificate are refused', async () => {
    const lookAlike = await mintTpmAuthority();
    const forged = await lookAlike.issueLeaf(keys);
    expect(await refusalFor([forged, lookAlike.ca, lookAlike.root])).toBe('UNTRUSTED_ROOT');
    expect(await refusalFor([forged, lookAlike.ca, authority.root])).toBe('CERT_MISSING');
    expect(await refusalFor([leaf, authority.ca, lookAlike.root])).toBe('CERT_MISSING');
    expect(await refusalFor(chainOf(leaf), {}, ['gcp-vtpm', 'tpm'])).toBe('UNTRUSTED_ROOT');
    expect(await refusalFor(chainOf(leaf), { anchors: [] })).toBe('UNTRUSTED_ROOT');
    expect(await refusalFor(chainOf(leaf), {}, [])).toBe('UNTRUSTED_ROOT');
    expect(await refusalFor([leaf, authority.ca])).toBe('CERT_MISSING');
    expect(await refusalFor([leaf])).toBe('CERT_MISSING');
    expect(await refusalFor([])).toBe('CERT_MISSING');
  });

  test('a certificate of the pinned key that another authority issued is no root', async () => {
    const cross = await issue({
      subject: ROOT_NAME,
      issuer: 'CN=elsewhere',
      subjectKeys: authority.rootKeys,
      signer: rsaKeys,
      extensions: CA_EXTENSIONS,
    });
    expect(await refusalFor([leaf, authority.ca, cross])).toBe('CERT_MISSING');
  });

  test('an authority signed by no authority is refused', async () => {
    const between = await generateRsa();
    const user = await leafWith({ subject: 'CN=user', subjectKeys: between });
    const below = await leafWith({ issuer: 'CN=user', signer: between });
    expect(await refusalFor([below, user, authority.ca, authority.root])).toBe('CERT_CHAIN_INVALID');
  });

  test('what the authority may issue, and how deep, is judged', async () => {
    const issueCa = (extensions: Issuing['extensions']) =>
      issue({
        subject: CA_NAME,
        issuer: ROOT_NAME,
        subjectKeys: authority.caKeys,
        signer: authority.rootKeys,
        extensions,
      });
    const [constraints] = CA_EXTENSIONS;
    const code = async (extensions: Issuing['extensions']) =>
      refusalFor([leaf, await issueCa(extensions), authority.root]);
    expect(await code([...CA_EXTENSIONS, purposes(EK_PURPOSE)])).toBeUndefined();
    expect(await code([...CA_EXTENSIONS, purposes('2.5.29.37.0')])).toBeUndefined();
    expect(await code([...CA_EXTENSIONS, purposes('1.3.6.1.5.5.7.3.1')])).toBe('CERT_CHAIN_INVALID');
    expect(await code([...CA_EXTENSIONS, raw(ALT_NAME, tpmAltName(), true)])).toBe('CERT_CHAIN_INVALID');
    expect(await code([constraints!, usage('digitalSignature')])).toBe('CERT_CHAIN_INVALID');
    expect(await code([])).toBe('CERT_CHAIN_INVALID');
  });

  test('the leaf must be for signing and for attestation, and no authority', async () => {
    const code = async (extensions: Issuing['extensions']) =>
      refusalFor(chainOf(await leafWith({ extensions })));
    const signs = usage('digitalSignature');
    expect(await code([LEAF, signs, purposes('1.3.6.1.4.1.311.10.3.12', AK_PURPOSE)])).toBeUndefined();
    expect(await code([LEAF, signs, purposes(EK_PURPOSE)])).toBe('UNTRUSTED_KEY');
    expect(await code([LEAF, signs])).toBe('UNTRUSTED_KEY');
    expect(await code([LEAF, usage('keyAgreement'), purposes(AK_PURPOSE)])).toBe('UNTRUSTED_KEY');
    expect(await code([LEAF, purposes(AK_PURPOSE)])).toBe('UNTRUSTED_KEY');
    expect(await code([...CA_EXTENSIONS, purposes(AK_PURPOSE)])).toBe('CERT_CHAIN_INVALID');
    expect(await code([...AK_EXTENSIONS, raw('1.2.3.4', new Uint8Array([5, 0]), true)])).toBe(
      'CERT_CHAIN_INVALID',
    );
  });

  test('under a root of Google, purposes may be absent or those of both kinds of key', async () => {
    const anchors = [{ ...authority.anchor, role: 'gcp-vtpm' as const }];
    const code = async (extensions: Issuing['extensions']) =>
      refusalFor(chainOf(await leafWith({ extensions })), { anchors }, ['gcp-vtpm']);
    const signs = usage('digitalSignature');
    expect(await code([LEAF, signs])).toBeUndefined();
    expect(await code([LEAF, signs, purposes(EK_PURPOSE)])).toBeUndefined();
    expect(await code([LEAF, usage('keyAgreement')])).toBe('UNTRUSTED_KEY');
    expect(await code([LEAF, signs, purposes('1.3.6.1.5.5.7.3.1')])).toBe('UNTRUSTED_KEY');
  });

  test('reads the TPM and the instance; an empty subject needs a critical name', async () => {
    const named = [...AK_EXTENSIONS, raw(GOOGLE_INSTANCE, googleInstance())];
    const critical = await leafWith({
      subject: '',
      extensions: [...named, raw(ALT_NAME, tpmAltName(), true)],
    });
    const verified = await verifyAkCertificate(chainOf(critical), ROLES, options);
    expect(verified.tpm).toEqual({ manufacturer: 'VOUC', model: 'vTPM', version: 'id:00010000' });
    expect(verified.instance?.projectNumber).toBe('4711');
    const optional = await leafWith({ subject: '', extensions: [...named, raw(ALT_NAME, tpmAltName())] });
    expect(await refusalFor(chainOf(optional))).toBe('MALFORMED');
  });

  test('weak keys and keys of other kinds are refused', async () => {
    for (const [weak, expected] of [
      [await generateRsa('rsassa', 1024), 'ALGORITHM_MISMATCH'],
      [await generateEc('P-521'), 'UNSUPPORTED'],
    ] as const) {
      expect(await refusalFor(chainOf(await authority.issueLeaf(weak)))).toBe(expected);
    }
  });

  test('each certificate must be in date', async () => {
    expect(await refusalFor(chainOf(leaf), { now: Date.parse('2024-12-31T23:59:59Z') })).toBe('CERT_EXPIRED');
    const yearly = await leafWith({ notAfter: new Date('2026-05-31T00:00:00Z') });
    expect(await refusalFor(chainOf(yearly))).toBe('CERT_EXPIRED');
  });

  test('more certificates than any chain has are refused', async () => {
    const many = Array.from({ length: 17 }, () => authority.ca);
    expect(await refusalFor([leaf, ...many.slice(1), authority.root])).toBe('MALFORMED');
    const certificates = Array.from({ length: 257 }, () => authority.ca);
    expect(await refusalFor(chainOf(leaf), { certificates })).toBe('MALFORMED');
  });

  test(
    'a mutated chain never vouches for another key, and throws nothing but refusals',
    async () => {
      const position = fc.record({
        at: fc.nat(2),
        bits: fc.array(fc.nat(8 * 900), { minLength: 1, maxLength: 2 }),
      });
      await fc.assert(
        fc.asyncProperty(position, async ({ at, bits }) => {
          const chain = chainOf(leaf).map((der, i) => (i === at ? flipped(der, ...bits) : der));
          const refusal = await refusalOfAsync(async () => {
            const verified = await verifyAkCertificate(chain, ROLES, options);
            expect(verified.spki).toEqual(spki);
            expect(verified.anchor).toBe(authority.anchor);
          });
          const isSame = chain.every((der, i) => toHex(der) === toHex(chainOf(leaf)[i]!));
          expect(refusal === undefined).toBe(isSame);
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('revocation of attestation keys', () => {
  const SERIAL = '0a';
  let listed: Uint8Array;
  const codeWith = (crls: readonly Uint8Array[], changes: Partial<TpmChainOptions> = {}) =>
    refusalFor(chainOf(listed), { crls, ...changes });

  beforeAll(async () => {
    listed = await leafWith({
      serialNumber: SERIAL,
      extensions: [...AK_EXTENSIONS, raw(CRL_DISTRIBUTION_POINTS, Uint8Array.of(0x30, 0))],
    });
  });

  test('a certificate in a list of its issuer is refused, in one of others not', async () => {
    expect(await codeWith([await authority.issueCrl({ revoked: [SERIAL] })])).toBe('CERT_REVOKED');
    expect(await codeWith([await authority.issueCrl({ revoked: ['0b'] })])).toBeUndefined();
    const sibling = await authority.issueCrl({ revoked: [SERIAL], signer: rsaKeys });
    expect(await codeWith([sibling])).toBeUndefined();
  });

  test('what was looked up is said; a required list must be there', async () => {
    const crls = [await authority.issueCrl({})];
    const verified = await verifyAkCertificate(chainOf(listed), ROLES, {
      ...options,
      crls,
      revocation: 'required',
    });
    expect(verified.revocation).toEqual({ published: 1, lookedUp: 1 });
    const without = await verifyAkCertificate(chainOf(listed), ROLES, options);
    expect(without.revocation).toEqual({ published: 1, lookedUp: 0 });
    expect(await codeWith([], { revocation: 'required' })).toBe('COLLATERAL_MISSING');
    const sibling = await authority.issueCrl({ signer: rsaKeys });
    expect(await codeWith([sibling], { revocation: 'required' })).toBe('COLLATERAL_MISSING');
  });

  test('a list must be in date, and a later one counts what had happened', async () => {
    const old = await authority.issueCrl({ nextUpdate: new Date('2026-05-01T00:00:00Z') });
    expect(await codeWith([old])).toBe('CRL_EXPIRED');
    const later = { revoked: [SERIAL], thisUpdate: new Date('2026-07-01T00:00:00Z') };
    const current = await authority.issueCrl({});
    expect(await codeWith([await authority.issueCrl(later), current])).toBe('CERT_REVOKED');
    const future = await authority.issueCrl({ ...later, revokedAt: new Date('2026-06-15T00:00:00Z') });
    expect(await codeWith([future, current])).toBeUndefined();
  });

  test('a list that is none, and more than are of use, are refused', async () => {
    expect(await codeWith([new Uint8Array(3)])).toBe('MALFORMED');
    const crl = await authority.issueCrl({});
    expect(await codeWith(Array.from({ length: 65 }, () => crl))).toBe('MALFORMED');
  });
});

describe('verifyAk', () => {
  const NOTHING: AkClaims = { certificates: [], vouched: undefined };
  const code = async (claims: Partial<AkClaims>, roles = ROLES, anchors = options.anchors) =>
    (await refusalOfAsync(() => verifyAk(spki, { ...NOTHING, ...claims }, roles, { ...options, anchors })))
      ?.code;

  test('is vouched for by a certificate, by other evidence, by both', async () => {
    const vouched = { spki, source: 'runtime claims' };
    const certificates = chainOf(leaf);
    const both = await verifyAk(spki, { certificates, vouched }, ROLES, { ...options, subject: 'vtpm' });
    expect(both).toMatchObject({ vouchedBy: 'runtime claims', anchor: authority.anchor });
    expect(both.checks).toMatchObject([{ id: 'cpu.vtpm-key', subject: 'vtpm', result: 'pass' }]);
    for (const part of [both.spkiSha256, 'runtime claims', authority.anchor.name]) {
      expect(both.checks[0]?.reason).toContain(part);
    }
    const byEvidence = await verifyAk(spki, { ...NOTHING, vouched }, [], { ...options, anchors: [] });
    expect(byEvidence.anchor).toBeUndefined();
    const byCertificate = await verifyAk(spki, { ...NOTHING, certificates }, ROLES, options);
    expect(byCertificate.certificate?.spki).toEqual(spki);
    expect(byCertificate.vouchedBy).toBeUndefined();
  });

  test('is vouched for by a pin of the key itself, in the role of TPMs alone', async () => {
    const spkiSha256 = toHex(nodeCrypto.hash('sha256', spki));
    const pin = { role: 'tpm', name: 'my TPM', spkiSha256, simulated: false } as const;
    expect((await verifyAk(spki, NOTHING, ['tpm'], { ...options, anchors: [pin] })).anchor).toBe(pin);
    expect(await code({}, ROLES, [pin])).toBe('UNTRUSTED_KEY');
    expect(await code({}, ['azure-vtpm'], [{ ...pin, role: 'azure-vtpm' }])).toBe('UNTRUSTED_KEY');
  });

  test('a bare key, and claims about another key, are refused', async () => {
    expect(await code({})).toBe('UNTRUSTED_KEY');
    const other = await spkiOf(rsaKeys);
    const certificates = chainOf(leaf);
    expect(await code({ vouched: { spki: other, source: 'elsewhere' } })).toBe('UNTRUSTED_KEY');
    expect(await code({ vouched: { spki: other, source: 'elsewhere' }, certificates })).toBe('UNTRUSTED_KEY');
    const foreign = chainOf(await authority.issueLeaf(rsaKeys));
    expect(await code({ certificates: foreign })).toBe('UNTRUSTED_KEY');
    expect(await code({ vouched: { spki, source: 'claims' }, certificates: foreign })).toBe('UNTRUSTED_KEY');
  });

  test('a broken certificate is refused though other evidence vouches', async () => {
    const vouched = { spki, source: 'runtime claims' };
    expect(await code({ vouched, certificates: [leaf] })).toBe('CERT_MISSING');
  });

  test('a key of another kind is refused though other evidence vouches', async () => {
    const weak = await spkiOf(await generateRsa('rsassa', 1024));
    const claims = { ...NOTHING, vouched: { spki: weak, source: 'runtime claims' } };
    expect((await refusalOfAsync(() => verifyAk(weak, claims, ROLES, options)))?.code).toBe(
      'ALGORITHM_MISMATCH',
    );
  });
});

describe('verifyEkCertificate', () => {
  const EK_NAME = raw(ALT_NAME, tpmAltName(), true);
  const code = async (extensions: Issuing['extensions'], subjectKeys = keys, role: AnchorRole = 'tpm') => {
    const anchors = [{ ...authority.anchor, role }];
    const certificate = await authority.issueLeaf(subjectKeys, { extensions });
    const refusal = await refusalOfAsync(() =>
      verifyEkCertificate(chainOf(certificate), [role], { ...options, anchors }),
    );
    return refusal?.code;
  };

  test('an ECC key agrees and an RSA key enciphers', async () => {
    const agrees = [LEAF, usage('keyAgreement'), purposes(EK_PURPOSE), EK_NAME];
    const enciphers = [LEAF, usage('keyEncipherment'), purposes(EK_PURPOSE), EK_NAME];
    expect(await code(agrees)).toBeUndefined();
    expect(await code(enciphers, rsaKeys)).toBeUndefined();
    expect(await code(enciphers)).toBe('UNTRUSTED_KEY');
    expect(await code(agrees, rsaKeys)).toBe('UNTRUSTED_KEY');
  });

  test.each([
    ['may sign', [usage('keyAgreement', 'digitalSignature'), purposes(EK_PURPOSE), EK_NAME]],
    ['states no use', [purposes(EK_PURPOSE), EK_NAME]],
    ['states no purpose', [usage('keyAgreement'), EK_NAME]],
    ['is for attestation', [usage('keyAgreement'), purposes(AK_PURPOSE), EK_NAME]],
    ['names no TPM', [usage('keyAgreement'), purposes(EK_PURPOSE)]],
  ])('a certificate that %s is refused', async (_difference, extensions) => {
    expect(await code([LEAF, ...extensions])).toBe('UNTRUSTED_KEY');
  });

  test('under a root of Google, the instance stands for purpose and name', async () => {
    const plain = [LEAF, usage('keyAgreement')];
    const named = [...plain, raw(GOOGLE_INSTANCE, googleInstance())];
    expect(await code(named, keys, 'gcp-vtpm')).toBeUndefined();
    expect(await code(named, keys, 'azure-vtpm')).toBe('UNTRUSTED_KEY');
    expect(await code(plain, keys, 'gcp-vtpm')).toBe('UNTRUSTED_KEY');
  });
});
