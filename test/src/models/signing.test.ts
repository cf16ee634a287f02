import 'reflect-metadata';
import { createPublicKey, webcrypto } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { HostingError } from '../../../src/models/hostingErrors.ts';
import { readCatalogue } from '../../../src/models/release/catalogue.ts';
import { filesOf, layoutOf } from '../../../src/models/release/layout.ts';
import { parseSigners } from '../../../src/models/signing/signers.ts';
import { verifySignature } from '../../../src/models/signing/verifySignature.ts';
import { readStore } from '../../../src/models/store.ts';
import {
  add,
  hex,
  mintKey,
  modelFiles,
  modelFolder,
  type MintedKey,
  type SignatureChanges,
  signModel,
  temporaryFolder,
} from '../../support/releases.ts';
import { makeStore } from '../../support/store.ts';
import { propertyRuns } from '../../support/runs.ts';

cryptoProvider.set(webcrypto as Crypto);

const code = (name: string): unknown => expect.objectContaining({ code: name });
const FILES = modelFiles();
const KEY = mintKey();
const SIGNERS = parseSigners([KEY.pem]);

describe('who may sign', () => {
  test('is read from PEM texts of keys and of authorities', async () => {
    const { pem } = await mintAuthority();
    const { keys, roots } = parseSigners([`${KEY.pem}${mintKey('P-384').pem}`, pem]);
    expect([keys.map(({ curve }) => curve), roots.length]).toEqual([['P-256', 'P-384'], 1]);
  });

  test.each([
    ['no PEM', () => 'hello'],
    ['a private key', () => KEY.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string],
    ['a key on P-521', () => mintKey('P-521').pem],
    ['a broken key', () => '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'],
    ['a certificate of nobody’s', () => '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----'],
  ])('is not %s', (_, text) => {
    expect(() => parseSigners([text()])).toThrow(code('SIGNER_INVALID'));
  });

  test('is no certificate of a signer', async () => {
    const { leafPem } = await mintAuthority();
    expect(() => parseSigners([leafPem])).toThrow(code('SIGNER_INVALID'));
  });
});

describe('a signature by a key', () => {
  test.each(['P-256', 'P-384'] as const)('on %s covers every file', async (curve) => {
    const key = mintKey(curve);
    const verified = await verifySignature(signModel(FILES, key), parseSigners([mintKey().pem, key.pem]));
    expect(Object.fromEntries(verified.files)).toEqual({
      'model.onnx': hex(FILES['model.onnx']!),
      'config.json': hex(FILES['config.json']!),
    });
    const spki = createPublicKey(key.pem).export({ type: 'spki', format: 'der' });
    expect(verified.signer).toEqual({ kind: 'key', spkiSha256: hex(spki) });
  });

  const wrong: readonly (readonly [string, SignatureChanges, string])[] = [
    ['over a payload that changed', { payload: (bytes) => Buffer.from(bytes.toString().replace('tiny', 'tony')) }, 'SIGNATURE_INVALID'],
    ['of another payload type', { payloadType: 'application/json' }, 'SIGNATURE_UNSUPPORTED'],
    ['in a bundle of another kind', { mediaType: 'application/json' }, 'SIGNATURE_UNSUPPORTED'],
    ['of the predicate before v1.0', { predicateType: 'https://model_signing/Digests/v0.1' }, 'SIGNATURE_UNSUPPORTED'],
    ['of no model', { predicateType: 'https://slsa.dev/provenance/v1' }, 'SIGNATURE_UNSUPPORTED'],
    ['without material', { material: {} }, 'SIGNATURE_INVALID'],
    ['without a key', { material: { certificate: { rawBytes: 'AAAA' } } }, 'SIGNATURE_UNSUPPORTED'],
    ['beside a second one', { envelope: { signatures: [{ sig: 'AAAA' }, { sig: 'AAAA' }] } }, 'SIGNATURE_INVALID'],
    ['that is missing', { envelope: { signatures: [] } }, 'SIGNATURE_INVALID'],
    ['that is no base64', { envelope: { signatures: [{ sig: '***' }] } }, 'SIGNATURE_INVALID'],
    ['that is no DER', { envelope: { signatures: [{ sig: 'AAAA' }] } }, 'SIGNATURE_INVALID'],
    ['of no statement', { statement: () => ({ _type: 'x', predicateType: 'y' }) }, 'SIGNATURE_INVALID'],
    [
      'whose subject is another digest',
      { statement: (made) => ({ ...made, subject: [{ name: 'tiny', digest: { sha256: hex('x') } }] }) },
      'SIGNATURE_INVALID',
    ],
    [
      'of pieces of files',
      { statement: (made) => withPredicate(made, { serialization: { method: 'shards', hash_type: 'sha256' } }) },
      'SIGNATURE_UNSUPPORTED',
    ],
    [
      'by another hash',
      { statement: (made) => withPredicate(made, { resources: [{ name: 'a', algorithm: 'blake2b', digest: 'ff' }] }) },
      'SIGNATURE_UNSUPPORTED',
    ],
    [
      'with a file twice',
      { statement: (made) => withPredicate(made, { resources: [...made.predicate.resources, ...made.predicate.resources] }) },
      'SIGNATURE_INVALID',
    ],
  ];
  test.each(wrong)('%s is refused', async (_, changes, wanted) => {
    await expect(verifySignature(signModel(FILES, KEY, changes), SIGNERS)).rejects.toEqual(code(wanted));
  });

  test('of nobody in the policy is refused', async () => {
    await expect(verifySignature(signModel(FILES, mintKey()), SIGNERS)).rejects.toEqual(code('SIGNATURE_INVALID'));
    const { roots } = parseSigners([(await mintAuthority()).pem]);
    const signature = verifySignature(signModel(FILES, KEY), { keys: [], roots });
    await expect(signature).rejects.toEqual(code('SIGNATURE_INVALID'));
  });

  test('changed in any byte is refused, or says the same', async () => {
    const good = signModel(FILES, KEY);
    const { files } = await verifySignature(good, SIGNERS);
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: good.length - 1 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bytes = Buffer.from(good);
        bytes[at]! ^= change;
        try {
          expect((await verifySignature(bytes, SIGNERS)).files).toEqual(files);
        } catch (error) {
          if (!(error instanceof HostingError)) throw error;
        }
      }),
      propertyRuns(300),
    );
  });
});

function withPredicate(made: { readonly predicate: object }, changes: object): object {
  return { ...made, predicate: { ...made.predicate, ...changes } };
}

const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const TLS_SERVER = '1.3.6.1.5.5.7.3.1';
const ANY_PURPOSE = '2.5.29.37.0';

interface Authority {
  readonly pem: string;
  readonly leafPem: string;
  readonly chain: readonly Uint8Array[];
  readonly key: MintedKey;
}

interface AuthorityChanges {
  readonly usage?: KeyUsageFlags;
  readonly codeSigning?: boolean;
  /** Of the signer, beside its key usage, and of the authority that issued it. */
  readonly purposes?: readonly string[];
  readonly middlePurposes?: readonly string[];
  readonly intermediateIsCa?: boolean;
  readonly expiredRoot?: boolean;
}

/** An authority, one below it, and a signer of models. */
async function mintAuthority(changes: AuthorityChanges = {}): Promise<Authority> {
  const { usage = KeyUsageFlags.digitalSignature, codeSigning = false, intermediateIsCa = true } = changes;
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const fresh = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<CryptoKeyPair>;
  const [rootKeys, middleKeys, leafKeys] = [await fresh(), await fresh(), await fresh()];
  const [rootName, middleName] = ['CN=Models Root', 'CN=Models Issuing'];
  const purposesOf = (purposes?: readonly string[]) =>
    purposes ? [new ExtendedKeyUsageExtension([...purposes], true)] : [];
  const dates = { notBefore: new Date('2025-01-01'), notAfter: new Date('2026-01-01') };
  const rootDates = changes.expiredRoot ? { ...dates, notAfter: new Date('2025-02-01') } : dates;
  const authority = (isCa: boolean) => [
    new BasicConstraintsExtension(isCa, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
  ];
  const root = await X509CertificateGenerator.createSelfSigned({
    name: rootName, keys: rootKeys, signingAlgorithm: algorithm, ...rootDates, extensions: authority(true), serialNumber: '01',
  }); // prettier-ignore
  const middle = await X509CertificateGenerator.create({
    subject: middleName, issuer: rootName, publicKey: middleKeys.publicKey, signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm, ...dates, serialNumber: '02',
    extensions: [...authority(intermediateIsCa), ...purposesOf(changes.middlePurposes)],
  }); // prettier-ignore
  const leaf = await X509CertificateGenerator.create({
    subject: 'CN=Signer', issuer: middleName, publicKey: leafKeys.publicKey, signingKey: middleKeys.privateKey,
    signingAlgorithm: algorithm, notBefore: new Date('2025-03-01'), notAfter: new Date('2025-03-02'), serialNumber: '03',
    extensions: [
      ...(codeSigning ? [] : [new KeyUsagesExtension(usage, true)]),
      ...purposesOf(codeSigning ? [CODE_SIGNING] : changes.purposes),
    ],
  }); // prettier-ignore
  const exported = await webcrypto.subtle.exportKey('pkcs8', leafKeys.privateKey);
  const { createPrivateKey } = await import('node:crypto');
  const privateKey = createPrivateKey({ key: Buffer.from(exported), format: 'der', type: 'pkcs8' });
  return {
    pem: root.toString('pem'),
    leafPem: leaf.toString('pem'),
    chain: [leaf, middle].map(({ rawData }) => new Uint8Array(rawData)),
    key: { privateKey, pem: '', hash: 'sha256' },
  };
}

describe('a signature by a certificate', () => {
  test.each<readonly [string, AuthorityChanges]>([
    ['for digital signatures', {}],
    ['for code', { codeSigning: true }],
    ['for TLS and code', { purposes: [TLS_SERVER, CODE_SIGNING] }],
    ['for any purpose', { purposes: [ANY_PURPOSE] }],
    ['for code by an authority for code', { purposes: [CODE_SIGNING], middlePurposes: [CODE_SIGNING] }],
    ['for digital signatures by an authority for code', { middlePurposes: [CODE_SIGNING] }],
  ])('%s leads to an authority of the policy', async (_, changes) => {
    const { pem, chain, key } = await mintAuthority(changes);
    const { signer } = await verifySignature(signModel(FILES, key, { chain }), parseSigners([pem]));
    expect(signer).toMatchObject({ kind: 'certificate', subject: 'CN=Signer' });
  });

  test.each<readonly [string, AuthorityChanges]>([
    ['for other purposes', { usage: KeyUsageFlags.keyAgreement }],
    ['for code and key agreement', { usage: KeyUsageFlags.keyAgreement, purposes: [CODE_SIGNING] }],
    ['for TLS servers', { purposes: [TLS_SERVER] }],
    ['of an authority for TLS servers', { middlePurposes: [TLS_SERVER] }],
    ['for code of an authority for TLS servers', { codeSigning: true, middlePurposes: [TLS_SERVER] }],
    ['below one that is no authority', { intermediateIsCa: false }],
    ['below an authority that was no longer valid', { expiredRoot: true }],
  ])('%s is refused', async (_, changes) => {
    const { pem, chain, key } = await mintAuthority(changes);
    const verified = verifySignature(signModel(FILES, key, { chain }), parseSigners([pem]));
    await expect(verified).rejects.toEqual(code('SIGNATURE_INVALID'));
  });

  test('is taken under the second of two authorities of one name', async () => {
    const [ours, theirs] = [await mintAuthority(), await mintAuthority()];
    const { signer } = await verifySignature(
      signModel(FILES, ours.key, { chain: ours.chain }),
      parseSigners([theirs.pem, ours.pem]),
    );
    expect(signer.kind).toBe('certificate');
  });

  test('of another authority, without its issuer, or by another key is refused', async () => {
    const [ours, theirs] = [await mintAuthority(), await mintAuthority()];
    const signers = parseSigners([ours.pem]);
    const attempts = [
      signModel(FILES, theirs.key, { chain: theirs.chain }),
      signModel(FILES, ours.key, { chain: ours.chain.slice(0, 1) }),
      signModel(FILES, theirs.key, { chain: ours.chain }),
      signModel(FILES, ours.key, { chain: [new Uint8Array([0x30, 0])] }),
    ];
    for (const bundle of attempts) {
      await expect(verifySignature(bundle, signers)).rejects.toEqual(code('SIGNATURE_INVALID'));
    }
  });
});

describe('a policy on signatures', () => {
  const addSigned = async (signature: Uint8Array | undefined, files = FILES) => {
    const directory = await temporaryFolder();
    const source = await makeStore({ ...files, ...(signature && { 'model.sig': signature }) });
    return { directory, added: await add({ directory, source, signers: SIGNERS }) };
  };

  test('takes what is signed, at add and at load', async () => {
    const { directory, added } = await addSigned(signModel(FILES, KEY));
    expect(added.record.signer).toMatchObject({ kind: 'key' });
    expect(added.record.files.map(({ path }) => path)).toEqual(['config.json', 'model.onnx']);
    const { models, refused } = await readStore(directory, [KEY.pem]);
    expect([models.length, refused]).toEqual([1, []]);
  });

  test('takes a signature that comes after the release', async () => {
    const directory = await temporaryFolder();
    await add({ directory, source: await modelFolder() });
    const signatureFile = join(await temporaryFolder(), 'bundle.json');
    await writeFile(signatureFile, signModel(FILES, KEY));
    const signed = await add({ directory, source: await modelFolder(), signers: SIGNERS, signatureFile });
    expect([signed.isNew, signed.record.signer?.kind]).toEqual([false, 'key']);
    const { records } = await readCatalogue(directory);
    expect(records.get('tiny@1')).toEqual(signed.record);
    expect((await readStore(directory, [KEY.pem])).models).toHaveLength(1);
    expect((await add({ directory, source: await modelFolder() })).record).toEqual(signed.record);
  });

  test('takes the signature that came with the release, before anybody wanted one', async () => {
    const directory = await temporaryFolder();
    const source = await makeStore({ ...FILES, 'model.sig': signModel(FILES, KEY) });
    expect((await add({ directory, source })).record.signer).toBeUndefined();
    expect((await add({ directory, source, signers: SIGNERS })).record.signer).toMatchObject({ kind: 'key' });
  });

  test('replaces no signature that is there', async () => {
    const directory = await temporaryFolder();
    const signed = (key: MintedKey) => makeStore({ ...FILES, 'model.sig': signModel(FILES, key) });
    await add({ directory, source: await signed(mintKey()) });
    const again = add({ directory, source: await signed(KEY), signers: SIGNERS });
    await expect(again).rejects.toEqual(code('RELEASE_EXISTS'));
    await expect(again).rejects.toThrow('a signature that the policy does not take');
  });

  test('takes a signature from another file', async () => {
    const signatureFile = join(await temporaryFolder(), 'bundle.json');
    await writeFile(signatureFile, signModel(FILES, KEY));
    const directory = await temporaryFolder();
    const added = await add({ directory, source: await modelFolder(), signers: SIGNERS, signatureFile });
    expect(added.isNew).toBe(true);
  });

  test('keeps what git keeps where that is signed', async () => {
    const files = { ...FILES, '.gitattributes': 'x' };
    const { added } = await addSigned(signModel(files, KEY), files);
    expect(added.record.files.map(({ path }) => path)).toContain('.gitattributes');
    const { added: without } = await addSigned(signModel(FILES, KEY), files);
    expect(without.record.files.map(({ path }) => path)).not.toContain('.gitattributes');
  });

  test.each([
    ['nothing', undefined, 'SIGNATURE_MISSING'],
    ['one file less', signModel({ 'model.onnx': FILES['model.onnx']! }, KEY), 'SIGNATURE_COVERAGE'],
    ['one file more', signModel({ ...FILES, 'tokenizer.json': '{}' }, KEY), 'SIGNATURE_COVERAGE'],
    ['other bytes', signModel({ ...FILES, 'config.json': '{}' }, KEY), 'SIGNATURE_COVERAGE'],
    ['another model by another key', signModel(FILES, mintKey()), 'SIGNATURE_INVALID'],
    ['noise', Buffer.from('noise'), 'SIGNATURE_INVALID'],
  ])('refuses a model of which %s is signed', async (_, signature, wanted) => {
    await expect(addSigned(signature)).rejects.toEqual(code(wanted));
  });

  test('refuses at load what was added without it, folders and files among them', async () => {
    const directory = await makeStore({ 'plain.onnx': FILES['model.onnx']! });
    await add({ directory, source: await modelFolder() });
    const { models, refused } = await readStore(directory, [KEY.pem]);
    expect(models).toEqual([]);
    expect(refused.map((error) => [error.model, error.code])).toEqual([
      ['plain', 'SIGNATURE_MISSING'],
      ['tiny', 'SIGNATURE_MISSING'],
    ]);
  });

  test('refuses at load a signature of another signer, and a record that it does not cover', async () => {
    const { directory } = await addSigned(signModel(FILES, KEY));
    expect((await readStore(directory, [mintKey().pem])).refused[0]).toMatchObject({ code: 'SIGNATURE_REFUSED' });
    const other = await makeStore({ ...modelFiles({ 'config.json': '{}' }) });
    await add({ directory, source: other, release: 'tiny@2', aliases: ['two'] });
    const signature = await readFile(join(filesOf(layoutOf(directory), 'tiny@1'), '..', 'signature.json'));
    await writeFile(join(filesOf(layoutOf(directory), 'tiny@2'), '..', 'signature.json'), signature);
    const { refused } = await readStore(directory, [KEY.pem]);
    expect(refused.map((error) => [error.model, error.code])).toEqual([['two', 'SIGNATURE_REFUSED']]);
    expect(refused[0]!.message).toContain('SIGNATURE_COVERAGE');
  });
});
