import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { EVENTS, registerOf } from '../../enclave/predict/boot/register.ts';
import type { ImageManifest } from '../../enclave/image/release/manifest.ts';
import { mintAuthority } from '../../scripts/vm/authority.ts';
import { differences } from '../../scripts/vm/builds.ts';
import { isEmulationFault, plainText, refusalIn } from '../../scripts/vm/console.ts';
import { imageConfig } from '../../scripts/vm/imageConfig.ts';
import { compareRegisters } from '../../scripts/vm/judging.ts';
import { tableOf } from '../../scripts/vm/report.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { splitCertificates } from '../../enclave/collect/tpm/nvCertificates.ts';
import { generateEc, spkiOf } from '../support/tpmAuthority.ts';

describe('the console of a machine', () => {
  test.each([
    ['init', 'x\ninit: INIT_COMMAND_LINE: rdinit=/bin/sh\n', 'init: INIT_COMMAND_LINE: rdinit=/bin/sh'],
    ['verity', '[ 5.0] device-mapper: verity: 254:2: data block 0 is corrupted\n', undefined],
    ['verity', '[ 5.0] Kernel panic - not syncing: dm-verity device corrupted\n', undefined],
    ['kernel', '[ 1.0] Kernel panic - not syncing: VFS\n', undefined],
    ['guest', 'guest: GUEST_SERVICE_ENDED: 8 times in a row\n', undefined],
  ])('says that %s refused', (layer, text, line) => {
    expect(refusalIn(text)).toMatchObject({ layer, ...(line !== undefined && { line }) });
  });

  test('of a machine that works says nothing of the kind', () => {
    const text =
      'device-mapper: verity: sha256 using shash "sha256-ssse3"\nguest: eth0: 10.0.2.15 for 86400 s\n';
    expect(refusalIn(text)).toBeUndefined();
    expect(isEmulationFault(text)).toBe(false);
    expect(isEmulationFault('..MP-BIOS bug: 8254 timer not connected to IO-APIC')).toBe(true);
  });

  test('is read without what moves its cursor', () => {
    expect(plainText('\u001b[2J\u001b[01;01H\u001b[=3hBdsDxe\r\n')).toBe('BdsDxe\n');
  });
});

describe('registers', () => {
  const separator = toHex(registerOf([EVENTS.separator], 'sha256', nodeCrypto));
  const zero = '00'.repeat(32);
  const profile = { platform: 'tpm', bank: 'sha256', boot: 'disk' };
  const values = [{ member: 'tpm.pcrs.sha256.4', value: 'ab'.repeat(32), from: [] }];
  const manifest = { predictions: [{ profile, values, unpredicted: [] }] } as unknown as ImageManifest;

  test('are those of the manifest, and those that no boot changes', () => {
    const seen = new Map([[4, 'ab'.repeat(32)], [2, separator], [3, separator], [6, zero]]); // prettier-ignore
    const rows = compareRegisters(manifest, seen);
    expect(rows.map(({ pcr }) => pcr)).toEqual([2, 3, 4, 6, 8, 14, 15]);
    expect(rows.filter(({ expected, seen: found }) => expected === found).map(({ pcr }) => pcr)).toEqual([
      2, 3, 4,
    ]);
  });
});

test('two builds differ in the files whose digests do', () => {
  const of = (...outputs: readonly (readonly [string, string])[]) =>
    ({ outputs: outputs.map(([file, sha256]) => ({ file, sha256 })) }) as unknown as ImageManifest;
  expect(differences(of(['a', '1'], ['b', '2']), of(['a', '1'], ['b', '3'], ['c', '4']))).toEqual(['b', 'c']);
});

test('the authority certifies keys of TPMs and itself', async () => {
  const authority = await mintAuthority();
  const spki = await spkiOf(await generateEc());
  const [leaf, own] = splitCertificates(await authority.certify(spki)).map((der) => parseCertificate(der));
  expect(leaf?.spki).toEqual(spki);
  expect(toHex(nodeCrypto.hash('sha256', own?.spki ?? new Uint8Array()))).toBe(authority.anchor);
});

test('the image demands of itself a policy that can be read, and holds no key', () => {
  const config = imageConfig('ab'.repeat(32), 'secret');
  const { policy } = config['selfCheck'] as { readonly policy: unknown };
  expect(parsePolicy(policy).cpu.tpm).toMatchObject({ pcrs: 'any' });
  expect(JSON.stringify(config)).not.toContain('secret');
});

test('a table marks what is not as expected', () => {
  const row = { what: 'a', expected: 'verity', seen: 'verity', isRight: true, detail: '', seconds: 3 };
  const lines = tableOf([row, { ...row, what: 'bb', seen: 'answers', isRight: false, detail: 'why' }]);
  expect(lines).toEqual(['✓ a   verity     3 s', '✗ bb  verity     3 s seen: answers', '    why']);
});
