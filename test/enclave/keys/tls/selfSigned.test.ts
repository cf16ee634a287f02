import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { expect, test } from '@jest/globals';
import { equalBytes } from '../../../../attestation/bytes/bytes.ts';
import { makeSelfSigned } from '../../../../enclave/keys/tls/selfSigned.ts';
import { openTlsKeys } from '../../../../enclave/keys/tls/tlsKeys.ts';
import { evidenceNamedBy } from '../../../support/tls.ts';

const EVIDENCE = Uint8Array.from({ length: 32 }, (_, i) => i);
const now = () => Date.now();
const NOT_AFTER = Math.floor(Date.now() / 1000) + 86_400;

async function certificateOf(
  identity: Awaited<ReturnType<typeof makeSelfSigned>>,
  evidence: Uint8Array | undefined,
): Promise<X509Certificate> {
  let pem = '';
  await identity.present(evidence, ({ cert }) => (pem = String(cert)));
  return new X509Certificate(pem);
}

test('a certificate names the evidence, the hosts and the end of the keyset, and its key is the one of the keyset', async () => {
  const identity = await makeSelfSigned({
    hosts: ['node.example', '127.0.0.1', '::1'],
    notAfter: NOT_AFTER,
    now,
  });
  const certificate = await certificateOf(identity, EVIDENCE);
  expect(certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey)).toBe(true);
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  expect(identity.spki).toEqual(createHash('sha256').update(spki).digest());
  expect(evidenceNamedBy(certificate)).toEqual(Buffer.from(EVIDENCE));
  expect(certificate.checkHost('node.example')).toBe('node.example');
  expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(certificate.checkIP('::1')).toBe('::1');
  expect(Date.parse(certificate.validTo)).toBe(NOT_AFTER * 1000);
  expect(certificate.ca).toBe(false);
});

test('newer evidence makes another certificate of the same key; before the first there is none to name', async () => {
  const identity = await makeSelfSigned({ hosts: ['localhost'], notAfter: NOT_AFTER, now });
  const none = await certificateOf(identity, undefined);
  const [one, two] = [
    await certificateOf(identity, EVIDENCE),
    await certificateOf(identity, EVIDENCE.toReversed()),
  ];
  expect(evidenceNamedBy(none)).toBeUndefined();
  expect(evidenceNamedBy(two)).toEqual(Buffer.from(EVIDENCE).reverse());
  expect(one.serialNumber).not.toBe(two.serialNumber);
  expect(one.publicKey.equals(two.publicKey)).toBe(true);
});

test('the key that was handed over is wiped, also where it is not taken, and a dropped one is handed to nobody', async () => {
  const identity = await makeSelfSigned({ hosts: ['localhost'], notAfter: NOT_AFTER, now });
  const taken: Buffer[] = [];
  const take = ({ key }: SecureContextOptions): void => {
    taken.push(key as Buffer);
    expect(createPrivateKey(key as Buffer).asymmetricKeyType).toBe('ec');
    if (taken.length === 2) throw new Error('no');
  };
  await identity.present(EVIDENCE, take);
  await expect(identity.present(EVIDENCE, take)).rejects.toThrow('no');
  expect(taken.every((key) => equalBytes(key, new Uint8Array(key.length)))).toBe(true);
  identity.drop();
  await expect(identity.present(EVIDENCE, take)).rejects.toThrow();
  expect(taken).toHaveLength(2);
});

test('each generation has a key of its own, and none where TLS does not end here', async () => {
  const keys = await openTlsKeys({ enabled: true, hosts: ['localhost', '0.0.0.0', 'localhost'], now });
  const [one, two] = [await keys!(NOT_AFTER), await keys!(NOT_AFTER)];
  expect(one.spki).not.toEqual(two.spki);
  expect((await certificateOf(one, EVIDENCE)).subjectAltName).toBe('DNS:localhost');
  expect(await openTlsKeys({ enabled: false, hosts: [], now })).toBeUndefined();
});
