import { createPublicKey, generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { decode } from 'cborg';
import { jwtVerify } from 'jose';
import { parseForeignSign1, sigStructure } from '../../../attestation/cose/sign1.ts';
import { encodeEar, toEar } from '../../../attestation/verdict/ear.ts';
import { verifyCommand } from '../../../src/cli/verify.ts';
import { CliError } from '../../../src/cli/exit.ts';
import { corpusPath } from '../../support/corpus.ts';
import { issueBundle, makeWorld, NOW } from '../../support/world.ts';

let folder: string;
const file = (name: string) => join(folder, name);
const KEYS = {
  ed25519: generateKeyPairSync('ed25519').privateKey,
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-output-'));
  const { bundle } = await issueBundle(await makeWorld());
  writeFileSync(file('bundle.cbor'), bundle);
  for (const [name, key] of Object.entries(KEYS)) {
    writeFileSync(file(`${name}.pem`), key.export({ format: 'pem', type: 'pkcs8' }));
  }
});
afterEach(() => {
  process.exitCode = undefined;
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

let outputs = 0;
/** Runs the command in this process; gives what it wrote to the file, and its exit code. */
async function run(
  ...args: readonly string[]
): Promise<{ readonly content: Buffer; readonly exit: unknown }> {
  const out = file(`out-${outputs++}`);
  const all = ['bundle.cbor', '--at', new Date(NOW).toISOString(), '--out', out, ...args];
  await verifyCommand().parseAsync([file(all[0]!), ...all.slice(1)], { from: 'user' });
  return { content: readFileSync(out), exit: process.exitCode };
}

const accepted = ['--allow-simulated'];
const publicOf = (key: KeyObject) => createPublicKey(key);

describe('verify --ear', () => {
  test.each(['ed25519', 'p256'] as const)('signs a JWT with a key on %s', async (name) => {
    const { content, exit } = await run(...accepted, '--ear', 'jwt', '--ear-key', file(`${name}.pem`));
    const { payload, protectedHeader } = await jwtVerify(content.toString().trim(), publicOf(KEYS[name]), {
      currentDate: new Date(NOW),
    });
    expect(exit).toBe(0);
    expect(protectedHeader).toMatchObject({ typ: 'eat+jwt', alg: name === 'p256' ? 'ES256' : 'Ed25519' });
    expect(payload).toMatchObject({
      eat_profile: 'tag:ietf.org,2026:rats/ear#03',
      iat: NOW / 1000,
      submods: {
        vouchsafe: {
          ear_status: 'warning',
          vouchsafe_decision: 'accepted',
          vouchsafe_simulated: ['cpu', 'gpu'],
          vouchsafe_inputs: { bundle: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown },
        },
      },
    });
  });

  test.each(['ed25519', 'p256'] as const)('signs a CWT with a key on %s, also of a refusal', async (name) => {
    const { content, exit } = await run('--ear', 'cwt', '--ear-key', file(`${name}.pem`));
    expect(exit).toBe(2);
    const { protectedBytes, protectedHeader, payload, signature } = parseForeignSign1(content);
    expect([protectedHeader.get(1), protectedHeader.get(16)]).toEqual([
      name === 'p256' ? -7 : -19,
      'application/eat+cwt',
    ]);
    const key = { key: publicOf(KEYS[name]), dsaEncoding: 'ieee-p1363' as const };
    const algorithm = name === 'p256' ? 'sha256' : null;
    expect(verify(algorithm, sigStructure(protectedBytes, payload!), key, signature)).toBe(true);
    const claims = decode(payload!, { useMaps: true }) as Map<number, unknown>;
    expect([claims.get(265), claims.get(6)]).toEqual(['tag:ietf.org,2026:rats/ear#03', NOW / 1000]);
    const part = (claims.get(266) as Map<string, Map<unknown, unknown>>).get('vouchsafe')!;
    expect(part.get(1000)).toBe(96);
    expect(part.get('vouchsafe_decision')).toBe('refused');
    expect(part.get('vouchsafe_failed')).toContain('SIMULATED_HARDWARE');
  });

  test('without a form gives the claims, which nobody signed', async () => {
    const { content } = await run(...accepted, '--ear');
    expect(JSON.parse(content.toString())).toMatchObject({
      submods: { vouchsafe: { ear_status: 'warning' } },
    });
  });

  test('has the keys and shapes of the examples of the draft', () => {
    const path = corpusPath('standards/vectors/rats');
    const verdict = {
      version: 'vouchsafe/verdict/1',
      decision: 'refused',
      tier: 'contraindicated',
      simulated: [],
      policyDigest: '00'.repeat(32),
      judgedAt: '2026-01-01T00:00:00Z',
      checks: [],
    } as const;
    const claims = toEar(verdict, '1');
    const map = decode(encodeEar(claims), { useMaps: true }) as Map<number, unknown>;
    expect([...map.keys()].sort()).toEqual([1004, 265, 266, 6]);
    if (path === undefined) return;
    const { vectors } = JSON.parse(readFileSync(join(path, 'ear-draft-examples.json'), 'utf8')) as {
      vectors: { name: string; text: string }[];
    };
    const example = JSON.parse(vectors.find(({ name }) => name === 'ear-json-1.diag')!.text) as typeof claims;
    const labels = vectors.find(({ name }) => name === 'ear-cbor-1.diag')!.text;
    for (const name of Object.keys(claims)) expect(Object.keys(example)).toContain(name);
    expect(example.submods['PSA']).toMatchObject({ ear_status: claims.submods['vouchsafe']!.ear_status });
    for (const label of [...map.keys(), 1000, 1003]) expect(labels).toMatch(new RegExp(`\\b${label}:`));
  });

  test.each([
    ['a JWT without a key', ['--ear', 'jwt']],
    ['a key without a form that is signed', ['--ear', '--ear-key', 'ed25519.pem']],
    ['two forms at once', ['--ear', '--json']],
    ['a file of nothing', []],
    ['a key that cannot sign results', ['--ear', 'jwt', '--ear-key', 'p384.pem']],
    ['no key', ['--ear', 'jwt', '--ear-key', 'bundle.cbor']],
  ])('refuses %s', async (_name, args) => {
    const named = args.map((argument) => (/\.(?:pem|cbor)$/.test(argument) ? file(argument) : argument));
    await expect(run(...accepted, ...named)).rejects.toBeInstanceOf(CliError);
  });

  test('refuses a file that exists', async () => {
    const again = run(...accepted, '--json', '--out', file('bundle.cbor'));
    await expect(again).rejects.toMatchObject({ message: expect.stringContaining('EEXIST') as unknown });
  });
});

test('verify --steps gives the document, also of a refusal', async () => {
  const { content, exit } = await run('--steps');
  const document = JSON.parse(content.toString()) as { format: string; decision: string; steps: unknown[] };
  expect([document.format, document.decision, exit]).toEqual(['vouchsafe/verification/1', 'refused', 2]);
  expect(document.steps.length).toBeGreaterThan(50);
});
