import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { ConfigError } from '../../../src/config/errors.ts';
import { withoutSecrets } from '../../../src/processes/secrets.ts';
import { KeyReleaser } from '../../../src/receipts/keyReleaser.ts';
import { configuredKeyReleaser } from '../../../src/receipts/configuredKeyRelease.ts';
import { makeFolder, testConfig } from '../../support/service.ts';
import { makeWorld, NOW } from '../../support/world.ts';

describe('the section keyRelease', () => {
  test('is off by default: no key is asked for and none released', async () => {
    const config = testConfig();
    expect(config.keyRelease).toEqual({ from: 'none' });
    const { vouching } = await makeWorld();
    expect(await configuredKeyReleaser(config, vouching, () => NOW)).toBeUndefined();
  });

  test.each([
    ['keys without a policy', { keys: 'keys' }],
    ['a policy without keys', { policy: 'policy.json' }],
    ['nowhere to ask', { from: 'vouchsafe' as const }],
    ['an address with a password', { from: 'vouchsafe' as const, address: 'https://user:secret@host' }],
    ['Azure without its attestation', { from: 'azure' as const, address: 'https://vault.example' }],
    ['an address of another protocol', { from: 'vouchsafe' as const, address: 'ftp://host' }],
  ])('refuses %s', (_name, keyRelease) => {
    expect(() => testConfig({ keyRelease })).toThrow(ConfigError);
  });

  test('hands no secret to processes that serve HTTP', () => {
    const secrets = { apiKey: 'one', secretAccessKey: 'two', sessionToken: 'three' };
    const kept = withoutSecrets(testConfig({ keyRelease: secrets }));
    expect(kept.keyRelease).toEqual({ from: 'none' });
  });

  test('reads the policy under which keys are released', async () => {
    const folder = await makeFolder();
    const [good, bad] = [join(folder, 'policy.json'), join(folder, 'bad.json')];
    await writeFile(good, JSON.stringify(SIMULATED_POLICY));
    await writeFile(bad, '{}');
    const { vouching } = await makeWorld();
    const releaser = (policy: string) =>
      configuredKeyReleaser(testConfig({ keyRelease: { keys: folder, policy } }), vouching, () => NOW);
    expect(await releaser(good)).toBeInstanceOf(KeyReleaser);
    await expect(releaser(bad)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await writeFile(bad, 'no JSON');
    await expect(releaser(bad)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(releaser(join(folder, 'missing'))).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
  });
});
