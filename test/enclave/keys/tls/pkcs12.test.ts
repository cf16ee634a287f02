import { createHash, X509Certificate } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { describe, expect, test } from '@jest/globals';
import { importPkcs12 } from '../../../../enclave/keys/tls/pkcs12.ts';
import { openTlsKeys } from '../../../../enclave/keys/tls/tlsKeys.ts';
import { HAS_OPENSSL, mintPkcs12 } from '../../../support/pkcs12.ts';
import { makeFolder } from '../../../support/service.ts';

const EVIDENCE = new Uint8Array(32).fill(7);
const now = () => Date.now();

async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'imported',
    (error: unknown) => (error as { readonly code?: unknown }).code,
  );
}

if (!HAS_OPENSSL) test.skip('PKCS#12: skipped: no openssl', () => undefined);
const describeOpenssl = HAS_OPENSSL ? describe : describe.skip;

describeOpenssl('a PKCS#12 file', () => {
  test.each(['rsa', 'ec'] as const)('with a key of type %s is imported', async (kind) => {
    const { certificate, ...files } = mintPkcs12(await makeFolder(), { kind });
    const identity = await importPkcs12({ ...files, now });
    const spki = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
    expect(identity.spki).toEqual(createHash('sha256').update(spki).digest());
    expect(identity.namesEvidence).toBe(false);
    let options: SecureContextOptions | undefined;
    await identity.present(EVIDENCE, (given) => {
      createSecureContext(given);
      options = given;
    });
    identity.drop();
    expect(Buffer.from(options?.pfx as Buffer).every((byte) => byte === 0)).toBe(true);
    await expect(identity.present(EVIDENCE, () => undefined)).rejects.toThrow();
  });

  test('is one key for all generations', async () => {
    const { file: pkcs12File, passwordFile } = mintPkcs12(await makeFolder());
    const keys = await openTlsKeys({ enabled: true, pkcs12File, passwordFile, hosts: [], now });
    expect(await keys!(1)).toBe(await keys!(2));
  });

  test('with another password, or none, is refused', async () => {
    const { file, passwordFile } = mintPkcs12(await makeFolder());
    expect(await codeOf(importPkcs12({ file, now }))).toBe('PKCS12_PASSWORD');
    await writeFile(passwordFile, 'another\n');
    expect(await codeOf(importPkcs12({ file, passwordFile, now }))).toBe('PKCS12_PASSWORD');
  });

  test('that is cut off, empty, or something else is refused', async () => {
    const { file, passwordFile } = mintPkcs12(await makeFolder());
    await truncate(file, (await readFile(file)).length - 100);
    expect(await codeOf(importPkcs12({ file, passwordFile, now }))).toBe('PKCS12_UNSUPPORTED');
    await writeFile(file, '');
    expect(await codeOf(importPkcs12({ file, passwordFile, now }))).toBe('PKCS12_UNSUPPORTED');
    await writeFile(file, 'not DER');
    expect(await codeOf(importPkcs12({ file, passwordFile, now }))).toBe('PKCS12_UNSUPPORTED');
  });

  test('without a private key is refused', async () => {
    const { file, passwordFile } = mintPkcs12(await makeFolder(), { extra: ['-nokeys'] });
    expect(await codeOf(importPkcs12({ file, passwordFile, now }))).toMatch(
      /^PKCS12_(?:INCOMPLETE|UNSUPPORTED)$/,
    );
  });

  test('whose certificate is out of date is refused', async () => {
    const { file, passwordFile } = mintPkcs12(await makeFolder(), { days: 1 });
    const later = () => Date.now() + 2 * 86_400_000;
    expect(await codeOf(importPkcs12({ file, passwordFile, now: later }))).toBe('PKCS12_EXPIRED');
    const earlier = () => Date.now() - 86_400_000;
    expect(await codeOf(importPkcs12({ file, passwordFile, now: earlier }))).toBe('PKCS12_EXPIRED');
  });
});

test('a file that is not there, no file, or far too large is refused', async () => {
  const folder = await makeFolder();
  const file = join(folder, 'tls.p12');
  expect(await codeOf(importPkcs12({ file, now }))).toBe('PKCS12_UNREADABLE');
  expect(await codeOf(importPkcs12({ file: folder, now }))).toBe('PKCS12_UNREADABLE');
  expect(await codeOf(importPkcs12({ file: '/dev/zero', now }))).toBe('PKCS12_UNREADABLE');
  await writeFile(file, new Uint8Array(2 * 1024 * 1024));
  expect(await codeOf(importPkcs12({ file, now }))).toBe('PKCS12_UNREADABLE');
  await writeFile(file, new Uint8Array(10));
  expect(await codeOf(importPkcs12({ file, passwordFile: join(folder, 'none'), now }))).toBe(
    'PKCS12_UNREADABLE',
  );
});
