import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { parsePolicy } from '../../../attestation/policy/policy.ts';
import { FILES, manifestDigest } from '../../../enclave/image/release/manifest.ts';
import { signImage } from '../../../enclave/image/release/signImage.ts';
import { type Minted, mintImage } from '../../enclave/image/release/mintedImage.ts';
import { vouchsafe } from './program.ts';

let folder: string;
let first: Minted;
let second: Minted;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-cli-image-'));
  first = await mintImage();
  second = await mintImage({ name: 'vouchsafe-1.1.0', program: 'newer', nodeVersion: '24.1.0' });
  for (const name of ['publisher', 'stranger']) {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(file(`${name}.key`), privateKey.export({ format: 'pem', type: 'pkcs8' }));
    await writeFile(file(`${name}.pem`), publicKey.export({ format: 'pem', type: 'spki' }));
    if (name === 'publisher') {
      for (const minted of [first, second])
        await signImage(minted.folder, minted.manifest, 'urn:test', privateKey);
    }
  }
});
afterAll(async () => {
  await Promise.all(
    [folder, first.folder, second.folder].map((path) => rm(path, { recursive: true, force: true })),
  );
});

const image = (...args: readonly string[]) => vouchsafe(['image', ...args]);

describe('vouchsafe image verify', () => {
  test('a good image and its publisher', async () => {
    const { code, stdout, stderr } = await image('verify', first.folder, '--key', file('publisher.pem'));
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain(toHex(manifestDigest(first.manifest)));
  });

  test('steps as JSON, and what is skipped without a key', async () => {
    const { code, stdout } = await image('verify', first.folder, '--json');
    const { good, steps } = JSON.parse(stdout) as {
      good: boolean;
      steps: { what: string; result: string }[];
    };
    expect([code, good]).toEqual([0, true]);
    expect(steps.filter(({ result }) => result !== 'good').map(({ what }) => what)).toEqual([
      'signature of the manifest',
    ]);
  });

  test('another publisher is refused', async () => {
    const { code, stdout } = await image('verify', first.folder, '--key', file('stranger.pem'), '--json');
    const { steps } = JSON.parse(stdout) as { steps: { what: string; result: string }[] };
    expect(code).toBe(2);
    expect(steps.filter(({ result }) => result === 'bad').map(({ what }) => what)).toEqual([
      'signature of the manifest',
      'provenance',
    ]);
  });

  test('a changed file is refused by name', async () => {
    const path = join(first.folder, 'root.erofs');
    const before = await readFile(path);
    await writeFile(path, Buffer.concat([before.subarray(1), Buffer.of(0)]));
    const { code, stdout } = await image('verify', first.folder);
    await writeFile(path, before);
    expect(code).toBe(2);
    expect(stdout).toMatch(/✗ file root\.erofs/);
  });

  test.each<[what: string, args: () => readonly string[], code: number]>([
    ['a file in place of a folder', () => [join(first.folder, FILES.manifest)], 64],
    ['a folder without an image', () => [folder], 4],
    ['a private key in place of a public one', () => [first.folder, '--key', file('publisher.key')], 4],
  ])('%s ends with a code of its own', async (_what, args, code) => {
    expect((await image('verify', ...args())).code).toBe(code);
  });
});

describe('vouchsafe image diff', () => {
  test('leads from the input to the measurement', async () => {
    const { code, stdout } = await image('diff', first.folder, second.folder);
    expect(code).toBe(2);
    expect(stdout).toMatch(/changed npm @scope\/node-linux-x64: 24\.0\.0\s.*->\s+24\.1\.0/s);
    expect(stdout).toMatch(/tpm\.pcrs\.sha256\.4 by unified kernel image/);
  });

  test('equal images exit 0, by manifest as well', async () => {
    const manifest = join(first.folder, FILES.manifest);
    const { code, stdout } = await image('diff', manifest, first.folder, '--json');
    expect([code, JSON.parse(stdout)]).toEqual([
      0,
      { measuresSame: true, parameters: [], inputs: [], files: null, parts: [], values: [] },
    ]);
  });
});

describe('vouchsafe image policy', () => {
  const policyFor = (...args: readonly string[]) =>
    image('policy', first.folder, second.folder, '--platform', 'tpm', '--no-devices', ...args);

  test('is a whole policy on standard output, with what it cannot say beside it', async () => {
    const { code, stdout, stderr } = await policyFor(
      '--attestation-key',
      '11'.repeat(32),
      '--pcr',
      `7=${'22'.repeat(32)}`,
    );
    expect(code).toBe(0);
    const { cpu, devices } = parsePolicy(JSON.parse(stdout));
    expect(devices).toBe('none');
    expect(cpu.tpm).toMatchObject({
      attestationKeys: ['11'.repeat(32)],
      pcrs: { values: { 7: [{ value: '22'.repeat(32) }] } },
    });
    expect(stderr).toContain('PCR 0, 1 ');
  });

  test('with keys, every manifest must be signed by one of them', async () => {
    expect((await policyFor('--key', file('publisher.pem'))).code).toBe(0);
    expect((await policyFor('--key', file('stranger.pem'))).code).toBe(2);
  });

  test('values that were not predicted give no policy', async () => {
    const { code, stdout } = await image('policy', first.folder, '--platform', 'snp');
    expect([code, stdout]).toEqual([3, '']);
  });

  test.each<[what: string, args: readonly string[]]>([
    ['a register of the image', ['--pcr', `4=${'22'.repeat(32)}`]],
    ['a statement without a key', ['--releases', 'releases.json']],
    ['a key that is no digest', ['--attestation-key', '11']],
  ])('refuses %s', async (_what, args) => {
    expect((await policyFor(...args)).code).toBe(64);
  });
});

describe('vouchsafe image release', () => {
  const signing = (): readonly string[] => ['--sign', file('publisher.key')];
  const until = ['--until', '2999-01-01T00:00:00Z'];

  test('a release that was withdrawn is left out of policies', async () => {
    const statement = file('releases.dsse.json');
    const policyFor = async () => {
      const { code, stdout, stderr } = await image(
        'policy', first.folder, second.folder, '--platform', 'tpm', '--key', file('publisher.pem'), '--releases', statement,
      ); // prettier-ignore
      return {
        code,
        stderr,
        names: JSON.stringify(code === 0 ? parsePolicy(JSON.parse(stdout)).cpu.tpm : ''),
      };
    };
    expect((await image('release', 'add', statement, first.folder, ...until, ...signing())).code).toBe(0);
    expect((await image('release', 'add', statement, second.folder, ...until, ...signing())).code).toBe(0);
    expect((await policyFor()).names).toMatch(/vouchsafe-1\.0\.0.*vouchsafe-1\.1\.0/s);
    const withdraw = await image(
      'release',
      'withdraw',
      statement,
      'vouchsafe-1.0.0',
      '--reason',
      'a hole',
      ...signing(),
    );
    expect(withdraw.stdout).toMatch(/^statement 3 /);
    const after = await policyFor();
    expect(after.stderr).toMatch(/vouchsafe-1\.0\.0 is left out: withdrawn since .*: a hole/);
    expect(after.names).not.toContain('vouchsafe-1.0.0');
    expect((await image('release', 'renew', statement, ...signing())).stdout).toMatch(/^statement 4 /);
    expect((await image('release', 'show', statement, '--key', file('publisher.pem'))).code).toBe(0);
    expect((await image('release', 'show', statement, '--key', file('stranger.pem'))).code).toBe(2);
  });

  test.each<[what: string, args: (statement: string) => readonly string[], code: number]>([
    [
      'a name that is not there',
      (statement) => ['withdraw', statement, 'nothing', '--reason', 'x', ...signing()],
      64,
    ],
    ['a release twice', (statement) => ['add', statement, first.folder, ...until, ...signing()], 64],
    ['the key of a stranger', (statement) => ['renew', statement, '--sign', file('stranger.key')], 2],
    [
      'an end that was',
      (statement) => ['add', statement, second.folder, '--until', '2020-01-01T00:00:00Z', ...signing()],
      64,
    ],
  ])('refuses %s', async (_what, args, code) => {
    const statement = file('kept.dsse.json');
    await image('release', 'add', statement, first.folder, ...until, ...signing());
    expect((await image('release', ...args(statement))).code).toBe(code);
  });
});

describe('vouchsafe image build', () => {
  test.each<[what: string, config: string | undefined, code: number]>([
    ['no configuration', undefined, 64],
    ['a configuration that is none', '[]', 64],
    ['a setting that there is not', '{"server":{"colour":"red"}}', 64],
    ['an open door without keys', '{}', 64],
  ])('refuses %s before it fetches anything', async (_what, config, code) => {
    await writeFile(file('config.json'), config ?? '');
    const named = config === undefined ? [] : ['--config', file('config.json')];
    const ran = await image('build', '--out', file('out'), '--cache', file('cache'), '--offline', ...named);
    expect([ran.code, ran.stdout]).toEqual([code, '']);
  });

  test('without a network and without a cache there is no image', async () => {
    await writeFile(file('config.json'), '{"keys":{"required":"never"}}');
    const ran = await image(
      'build',
      '--out',
      file('out'),
      '--cache',
      file('cache'),
      '--offline',
      '--config',
      file('config.json'),
    );
    expect(ran.code).toBe(4);
    expect(ran.stderr).toContain('IMAGE_INPUT_UNAVAILABLE');
  });
});
