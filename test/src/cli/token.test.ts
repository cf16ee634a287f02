import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import type { NrasVerdict } from '../../../attestation/evidence/nras/answer.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import { DEFAULT_NRAS_POLICY } from '../../../attestation/policy/nras.ts';
import { describeCorpus } from '../../support/corpus.ts';
import { mintDevice } from '../../support/nvidiaMachine.ts';
import {
  errorClaims,
  issueAnswer,
  keySet,
  mintKey,
  NONCE,
  NOW,
  PRODUCTION,
  signToken,
  type AnswerChanges,
} from '../../support/nrasService.ts';
import { issueBundle, makeWorld } from '../../support/world.ts';
import { attestation } from '../client/service.ts';
import { pem } from '../collateral/minted.ts';
import { vouchsafe, type Ran } from './program.ts';

const KEY = mintKey();
const HEX = toHex(NONCE);
/** Tokens of a day may be as old as they live. */
const ANY_AGE = JSON.stringify({ ...DEFAULT_NRAS_POLICY, maximumAgeSeconds: 'any' });
const AT = ['--at', new Date(NOW).toISOString()];

let folder: string;
let gpus: Awaited<ReturnType<typeof mintDevice>>[];
const file = (name: string) => join(folder, name);

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(file(name), content);
  return file(name);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-token-'));
  gpus = await Promise.all([mintDevice(), mintDevice()]);
  write('jwks.json', keySet(KEY.jwk));
  write('request.json', await requestBody(NONCE));
  write('answer.json', answer());
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

/** The body of a request to the service for the two GPUs. */
async function requestBody(nonce: Uint8Array): Promise<string> {
  const evidence = await Promise.all(gpus.map((gpu) => gpu.evidence(nonce)));
  const evidence_list = evidence.map(({ report, certificates }) => ({
    evidence: toBase64(report),
    certificate: toBase64(utf8(pem(...certificates))),
  }));
  return JSON.stringify({ nonce: toHex(nonce), arch: 'HOPPER', evidence_list });
}

function answer(changes: AnswerChanges = {}): Uint8Array {
  return issueAnswer(KEY, gpus, changes);
}

function judge(args: readonly string[] = [], path = file('answer.json')): Promise<Ran> {
  const keys = ['--jwks', file('jwks.json')];
  return vouchsafe(['verify-token', path, ...keys, '--nonce', HEX, ...AT, ...args]);
}

const SENT = () => ['--request', file('request.json')];

function verdictOf({ stdout }: Ran): NrasVerdict {
  return (JSON.parse(stdout) as { verdict: NrasVerdict }).verdict;
}

const failures = ({ checks }: NrasVerdict) =>
  checks.filter(({ result }) => result === 'fail').map(({ id, code }) => `${id} ${code}`);

describe('an answer for the devices that were sent', () => {
  test('is accepted with a warning, and says whose word it is', async () => {
    const { code, stdout } = await judge(SENT());
    expect(code).toBe(0);
    expect(stdout).toContain(PRODUCTION);
    expect(stdout).toContain("the word of NVIDIA's attestation service, not of the devices");
    expect(stdout).toContain('✓ token.devices');
    expect(stdout).toContain('not excluded by any check here');
    expect(stdout.trimEnd().split('\n').at(-2)).toMatch(/^ACCEPTED with a warning · \d+ passed, 0 failed/);
  });

  test('as JSON', async () => {
    const ran = await judge([...SENT(), '--json']);
    expect(ran.code).toBe(0);
    expect(verdictOf(ran)).toMatchObject({
      version: 'vouchsafe/nras-verdict/1',
      decision: 'accepted',
      tier: 'warning',
      issuer: PRODUCTION,
      judgedAt: new Date(NOW).toISOString(),
    });
  });

  test('--verbose gives reasons', async () => {
    const { stdout } = await judge([...SENT(), '--verbose']);
    expect(stdout).toContain(HEX);
  });

  test('named by a document, an attestation answer or a bundle that holds them', async () => {
    const world = await makeWorld();
    const { keyset, statement, cpu } = parseDocument(world.vouching.head.encoded);
    const devices = await Promise.all(gpus.map((gpu) => gpu.evidence()));
    const document = encodeDocument({ keyset, statement, cpu, devices });
    const named = await judge(['--devices', write('document.cbor', document), '--kind', 'gpu']);
    expect(named.code).toBe(0);
    const others = [
      write('attestation.json', (await attestation(world, new Uint8Array(32).fill(5))).body),
      write('bundle.cbor', (await issueBundle(world)).bundle),
    ];
    for (const path of others) {
      const ran = await judge(['--devices', path, '--json']);
      expect(ran.code).toBe(2);
      expect(failures(verdictOf(ran))).toContain('token.devices DEVICE_COUNT_MISMATCH');
    }
  });
});

describe('what is refused', () => {
  const cases: readonly (readonly [string, () => Uint8Array, string])[] = [
    [
      'a negative result',
      () => answer({ overall: { 'x-nvidia-overall-att-result': false } }),
      'token.result TOKEN_RESULT_NEGATIVE',
    ],
    [
      'another nonce',
      () => answer({ overall: { eat_nonce: '07'.repeat(32) } }),
      'token.nonce NONCE_MISMATCH',
    ],
    [
      'one device of the two',
      () => issueAnswer(KEY, gpus.slice(0, 1)),
      'token.devices DEVICE_COUNT_MISMATCH',
    ],
    [
      'a key that is not in the set',
      () => issueAnswer(mintKey('other'), gpus),
      'token.signature UNTRUSTED_KEY',
    ],
    ['an overall token alone', () => utf8(signToken(KEY, { x: 1 })), 'token.format MALFORMED'],
    [
      'error tokens',
      () =>
        answer({
          tokens: { 'GPU-0': signToken(KEY, errorClaims()), 'GPU-1': signToken(KEY, errorClaims()) },
        }),
      'token.result TOKEN_RESULT_NEGATIVE',
    ],
    ['noise', () => utf8('hello'), 'token.format MALFORMED'],
  ];
  test.each(cases)('%s', async (_what, bytes, failure) => {
    const ran = await judge([...SENT(), '--json'], write('refused.json', bytes()));
    expect(ran.code).toBe(2);
    expect(failures(verdictOf(ran))).toContain(failure);
    const human = await judge(SENT(), file('refused.json'));
    expect([human.code, human.stdout.trimEnd().split('\n').at(-2)]).toEqual([
      2,
      expect.stringContaining('REFUSED'),
    ]);
  });

  test('an hour later', async () => {
    const late = ['--at', new Date(NOW + 3_600_000).toISOString()];
    const ran = await judge([...SENT(), ...late, '--json']);
    expect([ran.code, failures(verdictOf(ran))]).toEqual([2, ['token.time EVIDENCE_STALE']]);
  });

  test('what a policy refuses', async () => {
    const policy = { ...DEFAULT_NRAS_POLICY, gpus: { minimum: 8, maximum: 8 } };
    const ran = await judge([...SENT(), '--policy', write('policy.json', JSON.stringify(policy)), '--json']);
    expect([ran.code, failures(verdictOf(ran))]).toEqual([2, ['token.devices DEVICE_COUNT_MISMATCH']]);
  });

  test('text of tokens cannot steer the terminal', async () => {
    const bytes = answer({ device: { 'x-nvidia-attestation-warning': '\u001b[2J\u202eok' } });
    const { code, stdout } = await judge([...SENT(), '--verbose'], write('hostile.json', bytes));
    expect(code).toBe(2);
    for (const character of ['\u001b', '\u202e']) expect(stdout).not.toContain(character);
  });
});

test('without a key set nothing is judged', async () => {
  const args = ['verify-token', file('answer.json'), '--nonce', HEX, ...SENT(), ...AT, '--json'];
  const ran = await vouchsafe(args);
  expect([ran.code, failures(verdictOf(ran))]).toEqual([3, ['token.signature COLLATERAL_MISSING']]);
});

test('the default policy can be printed, and is one', async () => {
  const { code, stdout } = await vouchsafe(['verify-token', '--print-policy']);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toEqual(DEFAULT_NRAS_POLICY);
  expect((await judge([...SENT(), '--policy', write('printed.json', stdout)])).code).toBe(0);
});

describe('misuse', () => {
  test.each([
    ['no answer', []],
    ['no nonce', ['answer.json', 'request']],
    ['a nonce that is none', ['answer.json', 'request', '--nonce', '00']],
    ['nothing that was sent', ['answer.json', 'nonce']],
    ['both', ['answer.json', 'nonce', 'request', '--devices', 'request.json']],
    ['another kind', ['answer.json', 'nonce', 'request', '--kind', 'cpu']],
    ['a file without devices', ['answer.json', 'nonce', '--devices', 'checkpoint']],
    ['a policy that is no JSON', ['answer.json', 'nonce', 'request', '--policy', 'checkpoint']],
    ['a policy of another kind', ['answer.json', 'nonce', 'request', '--policy', 'jwks.json']],
  ])('%s', async (_what, args) => {
    write('checkpoint', 'origin\n1\nAAAA\n\n\u2014 x y\n');
    const named: Record<string, readonly string[]> = {
      'answer.json': [file('answer.json')],
      'request.json': [file('request.json')],
      'jwks.json': [file('jwks.json')],
      checkpoint: [file('checkpoint')],
      request: SENT(),
      nonce: ['--nonce', HEX],
    };
    const { code, stdout, stderr } = await vouchsafe([
      'verify-token',
      ...args.flatMap((arg) => named[arg] ?? [arg]),
    ]);
    expect([code, stdout]).toEqual([64, '']);
    expect(stderr).not.toBe('');
  });

  test('a request with another nonce than the one given', async () => {
    const other = write('other-request.json', await requestBody(new Uint8Array(32).fill(7)));
    const { code, stderr } = await judge(['--request', other]);
    expect(code).toBe(64);
    expect(stderr).toContain('07070707');
  });

  test.each([
    ['a request that is none', ['--request', 'answer.json']],
    ['a document that is none', ['--devices', 'noise']],
    ['a key set that is not there', ['--request', 'request.json', '--jwks', 'missing']],
  ])('%s is unreadable', async (_what, args) => {
    write('noise', 'hello');
    const paths = args.map((arg) => (arg.startsWith('--') ? arg : file(arg)));
    expect((await judge(paths)).code).toBe(4);
  });
});

describeCorpus('recorded answers', 'evidence/gpu', (corpus) => {
  interface Case {
    readonly verifyAt: string;
    readonly expectedNonceHex: string;
  }

  test.each([
    ['nras-v3-h200-positive', 0, []],
    ['nras-v3-nonce-mismatch', 2, ['token.result TOKEN_RESULT_NEGATIVE']],
  ])('%s', async (id, code, expected) => {
    const path = (name: string) => join(corpus, id, name);
    const { verifyAt, expectedNonceHex } = JSON.parse(readFileSync(path('case.json'), 'utf8')) as Case;
    const ran = await vouchsafe([
      ...[
        'verify-token',
        path('response.json'),
        '--jwks',
        path('jwks.json'),
        '--request',
        path('request.json'),
      ],
      ...[
        '--nonce',
        expectedNonceHex,
        '--at',
        verifyAt,
        '--policy',
        write('any-age.json', ANY_AGE),
        '--json',
      ],
    ]);
    expect(ran.code).toBe(code);
    expect(failures(verdictOf(ran))).toEqual(expect.arrayContaining(expected));
  });
});

test('help has examples, and says where the key set is from', async () => {
  const { code, stdout } = await vouchsafe(['verify-token', '--help']);
  expect(code).toBe(0);
  expect(stdout).toContain('Examples:');
  expect(stdout).toContain('never from whoever gives you the answer');
});
