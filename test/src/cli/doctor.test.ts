import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { makeFolder } from '../../support/service.ts';
import { vouchsafe } from './program.ts';

interface Shown {
  readonly cpu: readonly { readonly what: string; readonly state: string; readonly detail: string }[];
  readonly service: readonly { readonly what: string; readonly state: string }[];
  readonly taken?: string;
  readonly simulated: boolean;
  readonly problem?: { readonly code: string };
  readonly verdict?: { readonly decision: string };
}

async function config(settings: object): Promise<string> {
  const file = join(await makeFolder(), 'config.json');
  await writeFile(file, JSON.stringify(settings));
  return file;
}

describe('vouchsafe doctor', () => {
  test('looks at every way and at what the service needs', async () => {
    const file = await config({ hardware: { collector: 'simulated' } });
    const { code, stdout } = await vouchsafe(['doctor', '--json', '--config', file]);
    const shown = JSON.parse(stdout) as Shown;
    expect(code).toBe(0);
    expect(shown).toMatchObject({ taken: 'simulated', simulated: true });
    expect(shown.cpu.map(({ what }) => what)).toContain('configfs-tsm');
    expect(shown.service.map(({ what, state }) => [what, state])).toContainEqual(['models', 'usable']);
  });

  test('says what is in the way, with an exit code', async () => {
    const file = await config({
      hardware: { collector: 'tpm', tpm: 'tcp://127.0.0.1:1' },
      models: { directory: '/does/not/exist' },
    });
    const { code, stdout } = await vouchsafe(['doctor', '--json', '--config', file]);
    const shown = JSON.parse(stdout) as Shown;
    expect(code).toBe(3);
    expect(shown.taken).toBeUndefined();
    expect(shown.problem?.code).toBe('DEVICE_MISSING');
    expect(shown.service.find(({ what }) => what === 'models')?.state).toBe('unusable');
    expect((await vouchsafe(['doctor', '--config', file])).stdout).toContain('DEVICE_MISSING');
  });

  test('without a TPM there is no key of one to write', async () => {
    const file = await config({ hardware: { tpm: 'tcp://127.0.0.1:1' } });
    const out = join(await makeFolder(), 'tpm.pem');
    const { code, stderr } = await vouchsafe(['doctor', '--config', file, '--tpm-key', out]);
    expect([code, stderr]).toEqual([3, expect.stringContaining('DEVICE_MISSING')]);
    await expect(readFile(out)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('a file that the configuration names and that is not there is said', async () => {
    const file = await config({ hardware: { tpmCertificates: '/does/not/exist' } });
    const { code, stderr } = await vouchsafe(['doctor', '--config', file]);
    expect([code, stderr]).toEqual([64, expect.stringContaining('hardware.tpmCertificates')]);
  });

  test('collects evidence once, keeps it, and judges it as a client would', async () => {
    const file = await config({ hardware: { collector: 'simulated', gpus: 2 } });
    const out = join(await makeFolder(), 'evidence.cbor');
    const asked = ['doctor', '--collect', '--json', '--config', file];
    const accepted = await vouchsafe([...asked, '--allow-simulated', '--out', out]);
    expect(accepted.code).toBe(0);
    expect((JSON.parse(accepted.stdout) as Shown).verdict?.decision).toBe('accepted');
    expect(parseDocument(await readFile(out)).devices).toHaveLength(2);
    expect((await vouchsafe(asked)).code).toBe(2);
  });

  test('a configuration that cannot be used is misuse', async () => {
    const file = await config({ hardware: { collector: 'tdx' } });
    expect((await vouchsafe(['doctor', '--config', file])).code).toBe(64);
  });
});
