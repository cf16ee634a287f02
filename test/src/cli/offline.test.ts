import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toBase64Url, toHex } from '../../../attestation/bytes/bytes.ts';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Verdict } from '../../../attestation/verdict/verdict.ts';
import { issueBundle, makeWorld, NOW, type Bundled, type World } from '../../support/world.ts';
import { failures } from '../../support/world.ts';
import { attestation } from '../client/service.ts';
import { vouchsafe } from './program.ts';

const AT = ['--at', new Date(NOW).toISOString()];
const SIMULATED = ['--allow-simulated', ...AT];

let folder: string;
let world: World;
let bundled: Bundled;
const file = (name: string) => join(folder, name);

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(file(name), content);
  return file(name);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-cli-'));
  world = await makeWorld();
  bundled = await issueBundle(world, { nonce: new Uint8Array(32).fill(3) });
  const { draft, bundle } = bundled;
  const { receipt, cited, covering } = parseBundle(bundle);
  write('bundle.cbor', bundle);
  write('request.bin', draft.request);
  write('response.bin', draft.response.kind === 'body' ? draft.response.body : '');
  write('key.txt', `${toBase64Url(draft.k)}\n`);
  write('receipt.cose', receipt);
  write('cited.cbor', cited);
  write('checkpoint.txt', covering!.checkpoint);
  const { cpu } = parseDocument(cited);
  write('report.bin', cpu.platform === 'snp' ? cpu.report : '');
  write('gpu.bin', parseDocument(cited).devices[0]!.report);
  write('open.cose', await world.log.entry(0));
  write('attestation.json', (await attestation(world, new Uint8Array(32).fill(5))).body);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function verdictOf(stdout: string): Verdict {
  return (JSON.parse(stdout) as { verdict: Verdict }).verdict;
}

describe('help and misuse', () => {
  test.each(['serve', 'ask', 'embed', 'verify', 'inspect', 'policy', 'config', 'key'])(
    '%s has help',
    async (name) => {
      const { code, stdout } = await vouchsafe([name, '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain(`Usage: vouchsafe ${name}`);
      if (name !== 'config' && name !== 'key') expect(stdout).toContain('Examples:');
    },
  );

  test('the program names every command and its version', async () => {
    const [help, version] = await Promise.all([vouchsafe(['--help']), vouchsafe(['--version'])]);
    expect(help.stdout).toMatch(/serve[^]*ask[^]*embed[^]*verify[^]*inspect[^]*policy[^]*config[^]*key/);
    expect([help.code, version.code]).toEqual([0, 0]);
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test.each([
    [['nope']],
    [['verify']],
    [['verify', '--nope']],
    [['inspect']],
    [['serve', '--port', 'x']],
    [['policy', 'show', 'nope']],
    [['ask', 'hi', '--unbound', '--url', 'http://example.com']],
    [['ask', 'hi', '--url', 'ftp://localhost']],
    [['key', 'new', '--name', 'a b']],
  ])('%j is misuse', async (args) => {
    const { code, stdout, stderr } = await vouchsafe(args);
    expect(code).toBe(64);
    expect(stdout).toBe('');
    expect(stderr).not.toBe('');
  });
});

describe('verify', () => {
  const content = () => [
    ['--request', file('request.bin')],
    ['--response', file('response.bin')],
    ['--commitment-key', file('key.txt')],
    ['--nonce', '03'.repeat(32)],
  ];

  test('accepts a bundle with its content under a policy that names its simulation', async () => {
    const args = ['verify', file('bundle.cbor'), ...content().flat(), ...SIMULATED];
    const [human, json] = await Promise.all([vouchsafe(args), vouchsafe([...args, '--json'])]);
    expect([human.code, json.code]).toEqual([0, 0]);
    expect(human.stdout).toContain('SIMULATED');
    const passed = verdictOf(json.stdout).checks.filter(({ result }) => result === 'pass');
    expect(passed.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['receipt.nonce', 'receipt.request', 'receipt.response', 'log.covered']),
    );
  });

  test('the default policy refuses simulated hardware', async () => {
    const { code, stdout } = await vouchsafe(['verify', file('bundle.cbor'), ...AT, '--json']);
    expect(code).toBe(2);
    expect(failures(verdictOf(stdout))).toContain('cited document: document.simulated SIMULATED_HARDWARE');
  });

  test('says so on every rendering', async () => {
    const { stdout } = await vouchsafe(['verify', file('bundle.cbor'), ...AT]);
    expect(stdout).toContain(' SIMULATED ');
    expect(stdout).toContain('✗ document.simulated');
    expect(stdout).toContain('not excluded');
  });

  test.each([0.02, 0.4, 0.9])('refuses a bundle altered at %d of its length', async (where) => {
    const altered = Buffer.from(bundled.bundle);
    const at = Math.floor(altered.length * where);
    altered[at] = altered[at]! ^ 0x40;
    const path = write(`altered-${where}.cbor`, altered);
    expect((await vouchsafe(['verify', path, ...SIMULATED])).code).toBe(2);
  });

  test('refuses other content', async () => {
    const other = ['--request', file('request.bin'), '--response', file('request.bin')];
    const key = ['--commitment-key', toBase64Url(bundled.draft.k)];
    const { code, stdout } = await vouchsafe([
      'verify',
      file('bundle.cbor'),
      ...other,
      ...key,
      ...SIMULATED,
      '--json',
    ]);
    expect(code).toBe(2);
    expect(failures(verdictOf(stdout))).toEqual(['receipt: receipt.response COMMITMENT_MISMATCH']);
  });

  test('content without its key is misuse', async () => {
    const { code } = await vouchsafe([
      'verify',
      file('bundle.cbor'),
      '--request',
      file('request.bin'),
      ...SIMULATED,
    ]);
    expect(code).toBe(64);
  });

  test('missing reference values are not judged', async () => {
    const { cpu } = SIMULATED_POLICY;
    if (cpu.snp === 'refused') throw new Error('the simulated policy takes SNP');
    const policy = { ...SIMULATED_POLICY, cpu: { ...cpu, snp: { ...cpu.snp, measurements: [] } } };
    const path = write('no-values.json', JSON.stringify(policy));
    const { code } = await vouchsafe(['verify', file('bundle.cbor'), '--policy', path, ...AT]);
    expect(code).toBe(3);
  });

  test('the judged time is the caller’s', async () => {
    const { code } = await vouchsafe([
      'verify',
      file('bundle.cbor'),
      '--allow-simulated',
      '--at',
      '2020-01-01T00:00:00Z',
    ]);
    expect(code).toBe(2);
  });

  test('a receipt needs its evidence', async () => {
    const alone = await vouchsafe(['verify', file('receipt.cose'), ...SIMULATED]);
    expect(alone.code).toBe(64);
    expect(alone.stderr).toContain('--evidence');
    const receipt = ['--receipt', file('receipt.cose'), '--evidence', file('cited.cbor')];
    const collateral = ['--collateral', file('bundle.cbor')];
    const { code } = await vouchsafe(['verify', ...receipt, ...collateral, ...SIMULATED]);
    expect(code).toBe(0);
  });

  test('an attestation answer is for the nonce of the asker', async () => {
    const judge = (nonce: string) =>
      vouchsafe(['verify', file('attestation.json'), '--nonce', nonce, ...SIMULATED]);
    expect((await judge('05'.repeat(32))).code).toBe(0);
    expect((await judge('06'.repeat(32))).code).toBe(2);
    expect((await vouchsafe(['verify', file('attestation.json'), ...SIMULATED])).code).toBe(2);
  });

  test('prints EAR claims', async () => {
    const { code, stdout } = await vouchsafe(['verify', file('bundle.cbor'), ...SIMULATED, '--ear']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ submods: { vouchsafe: { ear_status: 'warning' } } });
  });

  test.each([
    ['missing.cbor', 4],
    ['report.bin', 64],
    ['checkpoint.txt', 64],
    ['request.bin', 4],
  ])('%s exits with %i', async (name, expected) => {
    expect((await vouchsafe(['verify', file(name), ...SIMULATED])).code).toBe(expected);
  });

  test('nobody there exits with 4', async () => {
    expect((await vouchsafe(['verify', 'http://127.0.0.1:9', ...SIMULATED.slice(0, 1)])).code).toBe(4);
  });

  test('colours are for terminals and on demand', async () => {
    const args = ['verify', file('bundle.cbor'), ...SIMULATED];
    const escape = '\u001b[';
    const [plain, forced, refused] = await Promise.all([
      vouchsafe(args),
      vouchsafe(args, { FORCE_COLOR: '1' }),
      vouchsafe(args, { FORCE_COLOR: '1', NO_COLOR: '1' }),
    ]);
    expect(plain.stdout).not.toContain(escape);
    expect(forced.stdout).toContain(escape);
    expect(refused.stdout).not.toContain(escape);
    expect(Math.max(...plain.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });
});

describe('inspect', () => {
  test.each([
    ['bundle.cbor', 'bundle'],
    ['cited.cbor', 'document'],
    ['attestation.json', 'attestation'],
    ['receipt.cose', 'receipt'],
    ['open.cose', 'record'],
    ['checkpoint.txt', 'checkpoint'],
    ['report.bin', 'snp-report'],
    ['gpu.bin', 'device-report'],
  ])('%s is a %s', async (name, kind) => {
    const [human, json] = await Promise.all([
      vouchsafe(['inspect', file(name)]),
      vouchsafe(['inspect', file(name), '--json']),
    ]);
    expect([human.code, json.code]).toEqual([0, 0]);
    expect(human.stdout).toContain('nothing here is verified');
    const parsed = JSON.parse(json.stdout) as {
      kind: string;
      verified: boolean;
      sections: { title: string }[];
    };
    expect([parsed.kind, parsed.verified]).toEqual([kind, false]);
    expect(parsed.sections.length).toBeGreaterThan(0);
  });

  test('shows the digest by which receipts cite a document', async () => {
    const { stdout } = await vouchsafe(['inspect', file('cited.cbor')]);
    const digest = createHash('sha256').update(parseBundle(bundled.bundle).cited).digest('hex');
    expect(stdout).toContain(digest);
    expect(stdout).toContain(toHex(world.keyring.keyset.hpke[0]!.publicKey));
  });

  test('what is no file of ours is unreadable', async () => {
    expect((await vouchsafe(['inspect', write('noise', 'hello')])).code).toBe(4);
    expect((await vouchsafe(['inspect', folder])).code).toBe(4);
  });

  test('text of a file cannot steer the terminal', async () => {
    const path = write('hostile', '\u001b[2Jorigin\n1\nAAAA\n\n\u2014 x AAAA\n');
    const { code, stdout, stderr } = await vouchsafe(['inspect', path]);
    expect(code).toBe(4);
    expect(stdout + stderr).not.toContain('\u001b');
  });
});

describe('policy', () => {
  test('what it shows, it accepts', async () => {
    for (const name of ['default', 'simulated']) {
      const { stdout } = await vouchsafe(['policy', 'show', name]);
      const { code } = await vouchsafe(['policy', 'check', write(`${name}.json`, stdout)]);
      expect(code).toBe(0);
    }
  });

  test('lists every problem', async () => {
    const broken = { ...SIMULATED_POLICY, nonce: 'perhaps', coverage: 1, surplus: true };
    const path = write('broken.json', JSON.stringify(broken));
    const { code, stdout } = await vouchsafe(['policy', 'check', path, '--json']);
    expect(code).toBe(64);
    const { valid, problems } = JSON.parse(stdout) as { valid: boolean; problems: { member: string }[] };
    expect(valid).toBe(false);
    expect(problems.map(({ member }) => member).sort()).toEqual(['', 'coverage', 'nonce']);
  });

  test('names the member inside a form that nearly fits', async () => {
    const { cpu } = SIMULATED_POLICY;
    if (cpu.snp === 'refused') throw new Error('the simulated policy takes SNP');
    const broken = { ...SIMULATED_POLICY, cpu: { ...cpu, snp: { ...cpu.snp, vmpls: [9] } } };
    const { stdout } = await vouchsafe([
      'policy',
      'check',
      write('near.json', JSON.stringify(broken)),
      '--json',
    ]);
    const { problems } = JSON.parse(stdout) as { problems: { member: string }[] };
    expect(problems.map(({ member }) => member)).toEqual(['cpu.snp.vmpls.0']);
  });

  test.each([
    ['a member twice', JSON.stringify(SIMULATED_POLICY).replace('{', '{"coverage":"warning",')],
    [
      'a member twice, written differently',
      JSON.stringify(SIMULATED_POLICY).replace('{', '{"\\u0063overage":"warning",'),
    ],
    ['no JSON', '{"version": }'],
  ])('%s is refused, also where it is used', async (_name, text) => {
    const path = write('refused.json', text);
    expect((await vouchsafe(['policy', 'check', path])).code).toBe(64);
    expect((await vouchsafe(['verify', file('bundle.cbor'), '--policy', path])).code).toBe(64);
  });

  test('a policy and --allow-simulated exclude each other', async () => {
    const args = ['verify', file('bundle.cbor'), '--allow-simulated', '--policy', file('default.json')];
    expect((await vouchsafe(args)).code).toBe(64);
  });

  test('prints its JSON Schema', async () => {
    const { code, stdout } = await vouchsafe(['policy', 'schema']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ type: 'object', additionalProperties: false });
  });
});

describe('operators', () => {
  test('a new key comes with the entry that stands for it', async () => {
    const { code, stdout } = await vouchsafe(['key', 'new', '--name', 'tenant', '--json']);
    const { key, entry } = JSON.parse(stdout) as { key: string; entry: { name: string; sha256: string } };
    expect(code).toBe(0);
    expect(key).toMatch(/^vs_[A-Za-z0-9_-]{43}$/);
    expect(entry).toEqual({ name: 'tenant', sha256: createHash('sha256').update(key).digest('hex') });
  });

  test('a new key of another role comes with what stands for it there', async () => {
    const auditor = await vouchsafe(['key', 'new', '--role', 'auditor', '--name', 'acme']);
    expect([auditor.code, auditor.stdout.includes('"auditorKeys"')]).toEqual([0, true]);
    const admin = await vouchsafe(['key', 'new', '--role', 'admin', '--json']);
    const { key, entry } = JSON.parse(admin.stdout) as { key: string; entry: string };
    expect(entry).toBe(createHash('sha256').update(key).digest('hex'));
    expect((await vouchsafe(['key', 'new', '--role', 'owner'])).code).toBe(64);
  });

  test('config print tells where a setting comes from and hides secrets', async () => {
    const config = { keys: { apiKeys: [{ name: 'tenant', sha256: 'ab'.repeat(32) }] } };
    const path = write('config.json', JSON.stringify(config));
    const { code, stdout } = await vouchsafe(['config', 'print', '--config', path, '--json'], {
      PORT: '9000',
    });
    expect(code).toBe(0);
    expect(stdout).not.toContain('abab');
    const { settings } = JSON.parse(stdout) as {
      settings: { name: string; value: unknown; origin: string }[];
    };
    const port = settings.find(({ name }) => name === 'server.port');
    expect(port).toMatchObject({ value: 9000, origin: 'env' });
  });

  test('a configuration that cannot be used is misuse, one that is not there unreadable', async () => {
    const unknown = write('unknown.json', '{"nothing":{}}');
    expect((await vouchsafe(['config', 'print', '--config', unknown])).code).toBe(64);
    expect((await vouchsafe(['config', 'print', '--config', file('absent.json')])).code).toBe(4);
  });
});
